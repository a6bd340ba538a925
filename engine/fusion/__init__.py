"""The joint space: projections of texts, pictures and sounds into one space, fitted on pairs."""

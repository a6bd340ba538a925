"""The engine's own model definitions: one file per architecture, with a row in `registry`."""

"""The engine's own model definitions: one file an architecture, named in `registry`."""

"""Where SQL meets the engine and the store: every scalar function, table macro and view, one topic a file."""

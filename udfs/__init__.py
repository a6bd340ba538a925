"""Where SQL meets the engine and the store: all scalar functions, macros and views, one topic per file."""

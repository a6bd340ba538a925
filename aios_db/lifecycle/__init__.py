"""The life of a memory: what becomes of it after it was written."""

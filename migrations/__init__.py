"""Numbered, forward, resumable migrations: of a database, and of model directories from V1 to V2."""

"""Numbered, forward, resumable migrations: of the database, and of weights V1 to V2."""

"""An embedded memory database for AI agents, asked in SQL."""

__version__ = "0.1.0"

"""How much sources are trusted, what they may change for it, and what reads like an instruction."""

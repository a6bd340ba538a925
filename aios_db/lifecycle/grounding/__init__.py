"""Whether a text says what its sources say."""

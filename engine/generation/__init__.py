"""Causal language models: texts read and scored, and continued."""

"""Converters from Hugging Face directories to model directories."""

"""Memories in fewer bytes."""

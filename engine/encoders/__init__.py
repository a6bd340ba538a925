"""Encoders: models that turn texts, sounds and pictures into unit vectors."""

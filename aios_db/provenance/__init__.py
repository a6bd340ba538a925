"""Quarantine, taking a source back, and the audit of a memory."""

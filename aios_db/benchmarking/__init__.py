"""Benchmarks of a database and its engine: strategies side by side in one run, with accuracy beside speed."""

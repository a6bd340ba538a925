"""Statements before and after DuckDB runs them: calls, parameters, plans, rows, errors and writes."""

"""The inner loops of a search, compiled; `aios_db.search.portable` has the same ones in NumPy."""

"""The inner loops of a search in NumPy: what `aios_db.search.native` computes where it is compiled."""

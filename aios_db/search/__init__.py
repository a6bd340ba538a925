"""The search index: vectors, BM25 and the link graph, derived from the Lance tables."""

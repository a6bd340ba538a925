"""The life of a memory: heat, consolidation, what supersedes what, compression and eviction."""

-- The life of a memory: how warm it is, and what becomes of it.

-- A row per consolidation, refused ones and those that were broken off included.
CREATE VIEW consolidation_log AS FROM lance_consolidation_log;

-- Memories that are kept and not recalled: text that reads like an instruction, from a source that is not trusted enough
-- (`trust.quarantine_below`). `Connection.release` and `aios quarantine --release` let one out, `forget` deletes it.
CREATE VIEW quarantined AS SELECT unnest(aios_quarantined('all'), recursive := true);

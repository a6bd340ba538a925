-- What this process has done on the database since it opened it: a row per operation, with how often, how long, and how many
-- memories or links it returned or wrote. A recall is a search_memory; percentiles are at most a quarter of a doubling (19 %) too high.
CREATE VIEW metrics AS SELECT unnest(aios_metrics(true), recursive := true);

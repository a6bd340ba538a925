-- LoRA cards: their versions in this database, what is in them, and their exchange with other agents.

-- A row per version, without its bytes; of each name the highest number is the head.
CREATE VIEW lora_cards AS SELECT * EXCLUDE (card, delta) FROM lance_lora_cards;

-- The factors of a version, or of the head of a name: module, rank, inputs, outputs, dtype, and the norms of A and B.
CREATE MACRO card_modules(name) AS TABLE
SELECT unnest(aios_card_modules(name), max_depth := 2);

-- A row per exchange, failed ones included.
CREATE VIEW sync_log AS FROM lance_sync_log;

-- What exchanges cost, by card and kind: their number, errors, megabytes both ways, the share that full transfers
-- would have cost more, and seconds.
CREATE MACRO sync_metrics() AS TABLE
SELECT
    card,
    side,
    kind,
    count(*) AS syncs,
    count(error) AS errors,
    sum(bytes_sent + bytes_received) / 1e6 AS megabytes,
    1 - sum(bytes_sent + bytes_received) / nullif(sum(bytes_full), 0) AS saved,
    median(duration_s) AS median_s,
    max(started_at) AS last_at
FROM lance_sync_log
GROUP BY ALL
ORDER BY ALL;

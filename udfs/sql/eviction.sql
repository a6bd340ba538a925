-- What is to be forgotten, and why, the first to go first. Per tier there may be so many memories, and so many bytes of
-- their texts and media (0 is no limit); those trusted least go first, and of these those used least, by their heat or by
-- when they were used last. What is less important than `least_importance` goes, too, and what is pinned never. 'evict' hides
-- a memory from now on, 'grace' is hidden, and 'erase' has been for `grace_s`: no file is to hold it any more.
CREATE MACRO eviction_plan(
    short_rows := 0, long_rows := 0, archived_rows := 0, short_bytes := 0, long_bytes := 0, archived_bytes := 0,
    least := 'heat', least_importance := 0.0, grace_s := 604800.0
) AS TABLE
WITH weighed AS (
    SELECT
        one.memory_id, one.tier, pinned, importance, expires_at, heat, used_at, aios_trust(one.memory_id) AS trust,
        (strlen(text) + coalesce(strlen(title), 0) + coalesce(octet_length(media), 0))::BIGINT AS bytes
    FROM lance_memories AS one JOIN memory_heat() AS warmth ON warmth.memory_id = one.memory_id
),
kept AS (
    SELECT
        *,
        row_number() OVER warmest AS place,
        sum(bytes) OVER (warmest ROWS UNBOUNDED PRECEDING) AS filled,
        CASE tier WHEN 'short' THEN short_rows WHEN 'long' THEN long_rows ELSE archived_rows END AS most_rows,
        CASE tier WHEN 'short' THEN short_bytes WHEN 'long' THEN long_bytes ELSE archived_bytes END AS most_bytes
    FROM weighed
    WHERE expires_at IS NULL OR expires_at > now()
    WINDOW warmest AS (
        PARTITION BY tier
        ORDER BY trust DESC, pinned DESC, CASE WHEN least = 'heat' THEN heat ELSE epoch(used_at) END DESC, memory_id DESC
    )
),
planned AS (
    SELECT
        memory_id, tier, 'evict' AS action,
        CASE
            WHEN importance < least_importance
                THEN format('its importance is {:.2f}, and the least is {:.2f}', importance, least_importance)
            WHEN most_rows > 0 AND place > most_rows
                THEN format('number {} of the tier by {}, which has room for {} memories', place, least, most_rows)
            WHEN most_bytes > 0 AND filled > most_bytes
                THEN format('byte {} of the tier by {}, which has room for {} bytes', filled::BIGINT, least, most_bytes)
        END AS reason,
        heat, used_at, bytes, expires_at
    FROM kept
    WHERE NOT pinned
    UNION ALL
    SELECT
        memory_id, tier, CASE WHEN expires_at <= now() - to_seconds(grace_s) THEN 'erase' ELSE 'grace' END,
        'it expired', heat, used_at, bytes, expires_at
    FROM weighed
    WHERE expires_at <= now() AND NOT pinned
)
FROM planned
WHERE reason IS NOT NULL
ORDER BY action, tier, CASE WHEN least = 'heat' THEN heat ELSE epoch(used_at) END, memory_id;

-- Carries `eviction_plan` out, in one change that can be undone until what it hides is erased; a row for each memory that it
-- hides or erases. With `dry_run` nothing is changed.
CREATE MACRO evict(dry_run := false) AS TABLE
SELECT unnest(aios_evict(
    struct_extract({'written': (SELECT list(due) FROM eviction_plan() AS due WHERE action <> 'grace')}, aios_writes('evict')),
    dry_run::BOOLEAN, aios_call('evict')), recursive := true);

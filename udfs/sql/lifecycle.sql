-- The life of a memory: how warm it is, and what becomes of it.

-- A row per consolidation, refused ones and those that were broken off included.
CREATE VIEW consolidation_log AS FROM lance_consolidation_log;

-- How warm each memory is, from 0 to 1: a weighted mean of recency (when it was recalled last, or stored: it halves in
-- half_life_s), frequency (how often it was recalled, on a logarithmic scale, against the one recalled most) and content
-- (TF-IDF: how rare its words are in this store). `temperature` is hot, warm or cold by the two thresholds.
CREATE MACRO memory_heat(
    half_life_s := 604800.0, recency_weight := 0.5, frequency_weight := 0.3, content_weight := 0.2, hot := 0.5, cold := 0.2
) AS TABLE
WITH given AS MATERIALIZED (
    SELECT *, greatest(recency_share + frequency_share + content_share, 1e-300) AS all_shares
    FROM (VALUES (
        finite_number('half_life_s', half_life_s, 1), finite_number('recency_weight', recency_weight, 0),
        finite_number('frequency_weight', frequency_weight, 0), finite_number('content_weight', content_weight, 0),
        finite_number('hot', hot, 0), finite_number('cold', cold, 0)
    )) AS arguments(halving_s, recency_share, frequency_share, content_share, hot_from, cold_below)
),
occurring AS (
    SELECT memory_id, unnest(regexp_extract_all(lower(concat_ws(' ', title, text)), '[\p{L}\p{N}]+')) AS word
    FROM lance_memories
),
counted AS (
    SELECT memory_id, word, count(*) AS times
    FROM occurring
    GROUP BY memory_id, word
),
rarity AS (
    SELECT word, ln(1 + (SELECT count(*) FROM lance_memories) / count(*)) AS idf
    FROM counted
    GROUP BY word
),
weighed AS (
    SELECT memory_id, sum(times * idf) / sum(times) / ln(1 + (SELECT count(*) FROM lance_memories)) AS content
    FROM counted JOIN rarity USING (word)
    GROUP BY memory_id
),
used AS (
    SELECT
        memory_id, tier, kind, access_count,
        coalesce(last_access_at, created_at) AS used_at,
        exp(-ln(2) * greatest(epoch(now()) - epoch(used_at), 0) / halving_s) AS recency,
        ln(1 + access_count) / nullif(max(ln(1 + access_count)) OVER (), 0) AS frequency
    FROM lance_memories, given
)
SELECT
    memory_id,
    recency_share / all_shares * recency + frequency_share / all_shares * coalesce(frequency, 0)
        + content_share / all_shares * coalesce(content, 0) AS heat,
    CASE WHEN heat >= hot_from THEN 'hot' WHEN heat < cold_below THEN 'cold' ELSE 'warm' END AS temperature,
    recency, coalesce(frequency, 0) AS frequency, coalesce(content, 0) AS content,
    tier, kind, access_count, used_at
FROM used CROSS JOIN given LEFT JOIN weighed USING (memory_id);

-- Each memory with its tier (short, long, archived), and whether it is hot, warm or cold, by the configuration.
CREATE VIEW tiers AS SELECT memory_id, tier, temperature, heat FROM memory_heat();

-- What a consolidation would make principles of, the hottest first: a row per cluster of short-term memories of one owner
-- that are trusted alike. Links make clusters (turns that follow each other, likeness, shared names, what was recalled
-- together), the strongest first, of at most max_cluster memories. Principles and what else is derived from memories are
-- not made into others.
CREATE MACRO consolidation_plan(
    min_age_s := 0.0, min_cluster := 3, max_cluster := 12, min_affinity := 0.4, max_clusters := 100000
) AS TABLE
WITH given AS MATERIALIZED (
    FROM (VALUES (
        finite_number('min_age_s', min_age_s, 0), whole_number('min_cluster', min_cluster),
        whole_number('max_cluster', max_cluster), finite_number('min_affinity', min_affinity, 0),
        whole_number('max_clusters', max_clusters)
    )) AS arguments(least_age_s, least, most, least_affinity, most_clusters)
),
candidates AS MATERIALIZED (
    SELECT
        memory_id, user_id, agent_id, session_id, aios_trust(memory_id) AS trust,
        coalesce(occurred_at, created_at) AS happened_at
    FROM lance_memories, given
    WHERE tier = 'short' AND NOT pinned AND derived_from IS NULL AND valid_until IS NULL AND expires_at IS NULL
        AND kind <> 'principle' AND regexp_matches(text, '[^\s\p{Z}]')
        AND epoch(created_at) <= epoch(now()) - least_age_s
        AND memory_id NOT IN (SELECT memory_id FROM (SELECT unnest(aios_quarantined('all'), recursive := true)))
),
pairs AS MATERIALIZED (
    SELECT
        least(source_id, target_id) AS first, greatest(source_id, target_id) AS second,
        sum(weight * CASE kind WHEN 'next_in_session' THEN 0.5 WHEN 'derived_from' THEN 0 ELSE 1 END) AS affinity,
        list(DISTINCT kind) AS kinds
    FROM lance_association_links
    JOIN candidates AS one ON one.memory_id = source_id
    JOIN candidates AS other ON other.memory_id = target_id
    WHERE one.user_id IS NOT DISTINCT FROM other.user_id AND one.agent_id IS NOT DISTINCT FROM other.agent_id
        AND one.trust = other.trust
    GROUP BY ALL
    HAVING affinity >= (SELECT least_affinity FROM given)
),
clustered AS MATERIALIZED (
    SELECT unnest(aios_clusters(list({'first': first, 'second': second, 'affinity': affinity}), any_value(most)),
        recursive := true)
    FROM pairs, given
),
joining AS (
    SELECT one.cluster, unnest(kinds) AS kind
    FROM pairs
    JOIN clustered AS one ON one.memory_id = first
    JOIN clustered AS other ON other.memory_id = second AND other.cluster = one.cluster
),
reasons AS (
    SELECT cluster, string_agg(format('{} {}', links, kind), ', ' ORDER BY links DESC, kind) AS links
    FROM (SELECT cluster, kind, count(*) AS links FROM joining GROUP BY ALL)
    GROUP BY cluster
)
SELECT
    row_number() OVER (ORDER BY avg(heat) DESC, min(memory_id)) AS cluster,
    any_value(user_id) AS user_id, any_value(agent_id) AS agent_id,
    count(*) AS memories, avg(heat) AS heat,
    list(memory_id ORDER BY happened_at, memory_id) AS sources,
    min(happened_at) AS first_at, max(happened_at) AS last_at,
    format('{} memories of {} sessions, joined by {}', count(*), count(DISTINCT session_id), any_value(links)) AS because
FROM clustered
JOIN candidates USING (memory_id)
JOIN memory_heat() USING (memory_id)
JOIN reasons USING (cluster)
GROUP BY clustered.cluster
HAVING count(*) >= (SELECT least FROM given)
QUALIFY row_number() OVER (ORDER BY avg(heat) DESC, min(memory_id)) <= (SELECT most_clusters FROM given)
ORDER BY 1;

-- The sentences that say most of what a list of texts says, as they stand there, at most so many: by their centrality, names,
-- numbers and denials first. No model but the encoder is asked. SUMMARIZE
-- is a word of DuckDB's, so the name is written in double quotes.
CREATE MACRO "summarize"(texts, sentences := 3) AS aios_summarize(texts::VARCHAR[], whole_number('sentences', sentences));

-- Makes a principle of each cluster of `consolidation_plan`, and archives what it was made of; a row for each commit, of the
-- memories of one owner. With `dry_run` nothing is written. What own past queries would lose too much by is refused.
CREATE MACRO consolidate(
    dry_run := false, min_age_s := NULL, min_cluster := NULL, max_cluster := NULL, min_affinity := NULL,
    max_clusters := NULL, policy := NULL
) AS TABLE
SELECT unnest(aios_consolidate(struct_extract({'written': {
    'dry_run': dry_run::BOOLEAN, 'min_age_s': min_age_s::DOUBLE, 'min_cluster': min_cluster::BIGINT,
    'max_cluster': max_cluster::BIGINT, 'min_affinity': min_affinity::DOUBLE, 'max_clusters': max_clusters::BIGINT,
    'policy': policy::VARCHAR
}}, aios_writes('consolidate')), aios_call('consolidate')), recursive := true);

-- What `consolidate` would do, and how much of what own past queries had found would be found before and after; nothing is
-- written.
CREATE MACRO consolidation_report() AS TABLE
SELECT unnest(aios_consolidation_report({
    'dry_run': true, 'min_age_s': NULL::DOUBLE, 'min_cluster': NULL::BIGINT, 'max_cluster': NULL::BIGINT,
    'min_affinity': NULL::DOUBLE, 'max_clusters': NULL::BIGINT, 'policy': NULL::VARCHAR
}), recursive := true);

-- Takes a consolidation back: its principles go, and what they were made of is as it was; one row, as `undo`.
CREATE MACRO undo_consolidation(consolidation, confirm := false) AS TABLE
SELECT unnest(aios_undo_consolidation(struct_extract({'written': consolidation::VARCHAR}, aios_writes('undo_consolidation')),
    confirm::BOOLEAN, aios_call('undo_consolidation')), recursive := true)
LIMIT 1 + 0 * coalesce(len(consolidation::VARCHAR), 0);

-- What `supersede` would note: of each memory that states a fact of one value (where somebody lives, what something costs), and
-- of which a newer one of the same user and agent, trusted as much, states another value: both, and the two values.
CREATE MACRO supersessions() AS TABLE SELECT unnest(aios_supersessions(true), recursive := true);

-- Notes of what no longer holds until when it did (`valid_until`) and what is so instead (`superseded_by`), in one commit; a
-- row for each. Where it is in doubt, nothing is noted.
CREATE MACRO supersede() AS TABLE
SELECT unnest(aios_supersede(struct_extract({'written': true}, aios_writes('supersede')), aios_call('supersede')), recursive := true);

-- What `fold` would make one memory of: of memories that say the same in the same words, the newest, those that say the
-- same before it, and how often it was said.
CREATE MACRO near_duplicates() AS TABLE SELECT unnest(aios_near_duplicates(true), recursive := true);

-- Makes one memory of those that say the same in the same words, in one commit: the newest counts them (`occurrences`,
-- `times`), the others expire; a row for each.
CREATE MACRO fold() AS TABLE
SELECT unnest(aios_fold(struct_extract({'written': true}, aios_writes('fold')), aios_call('fold')), recursive := true);

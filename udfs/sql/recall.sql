-- Retrieval. `recall` is a query over smaller table functions that can be used alone; copy it to write your own.
-- Memories are named by memory_id throughout. Filters are equalities on a column, or since <= time < until, where
-- time is occurred_at, or created_at where that is missing; NULL does not restrict.

-- What a search is restricted to: one argument for all of them.
CREATE MACRO memory_filter(
    session_id := NULL, agent_id := NULL, user_id := NULL, since := NULL, until := NULL, tier := NULL
) AS {
    'session_id': session_id::VARCHAR, 'agent_id': agent_id::VARCHAR, 'user_id': user_id::VARCHAR,
    'since': since::TIMESTAMPTZ, 'until': until::TIMESTAMPTZ, 'tier': tier::VARCHAR
};

-- The k memories nearest to a vector by cosine, best first: memory_id, score, and standard_score, the number of
-- standard deviations that the score lies above the mean of all memories.
CREATE MACRO vector_search(
    vector, k, session_id := NULL, agent_id := NULL, user_id := NULL, since := NULL, until := NULL, tier := NULL,
    filter := NULL
) AS TABLE
SELECT unnest(aios_vector_search(vector::FLOAT[], k::BIGINT, coalesce(filter,
    memory_filter(session_id, agent_id, user_id, since, until, tier))), recursive := true);

-- The k memories with the highest BM25 score for a text, best first; only such as hold a word of it.
CREATE MACRO keyword_search(
    content, k, session_id := NULL, agent_id := NULL, user_id := NULL, since := NULL, until := NULL, tier := NULL,
    filter := NULL
) AS TABLE
SELECT unnest(aios_keyword_search(content, k::BIGINT, coalesce(filter,
    memory_filter(session_id, agent_id, user_id, since, until, tier))), recursive := true);

-- Standardised vector and keyword scores of given memories.
CREATE MACRO score_memories(vector, content, ids) AS TABLE
SELECT unnest(aios_score(vector::FLOAT[], content, ids), recursive := true);

-- Lets the scores of given memories flow over their links, `hops` links far: every memory given or reached, with the
-- score that arrived there (graph_score), its distance in links, when it happened and its age in seconds. `most`
-- leaves only that many of those that were not given, the ones where most arrived.
CREATE MACRO spread(
    ids, scores, hops := 1,
    session_id := NULL, agent_id := NULL, user_id := NULL, since := NULL, until := NULL, tier := NULL,
    filter := NULL, most := NULL
) AS TABLE
SELECT unnest(aios_spread(ids, scores, hops, coalesce(filter,
    memory_filter(session_id, agent_id, user_id, since, until, tier)), coalesce(most, -1)), recursive := true);

-- The memories up to `hops` links away from one, nearest first.
CREATE MACRO neighbors(id, hops := 1) AS TABLE
SELECT unnest(aios_neighbors(id, hops), recursive := true);

-- The rows of given memories, by key: no scan of the table, however large.
CREATE MACRO memories_by_id(ids) AS TABLE
SELECT unnest(aios_memories(ids), recursive := true);

-- How many memories each search of `recall` looks at: 100 at least, since what is good in one and fair in the
-- other should win.
CREATE MACRO search_depth(k) AS greatest(least(k::BIGINT, 10000), 100);

-- The k memories that answer a query best.
--   0. asked:      the query and the filter, each argument once: a plan can then be run with other values
--   1. candidates: the best by vector and the best by keyword, filters applied
--   2. scored:     both standardised scores of every candidate, so that they can be added, and their weighted sum
--   3. fused:      the candidates that are better than average
--   4. reached:    what arrives from them over links
--   5. ranked:     the sum of all parts, cut to k; ties by memory_id, that is by time
--   6.             their rows; that they were recalled together is counted, and strengthens their links
CREATE MACRO recall(
    query, k := 10, hops := 1,
    session_id := NULL, agent_id := NULL, user_id := NULL, since := NULL, until := NULL, tier := NULL,
    vector_weight := 1.0, keyword_weight := 1.0, graph_weight := 1.0, recency_weight := 0.0
) AS TABLE
WITH asked AS MATERIALIZED (
    SELECT content, embed(left(content, 8192)) AS vector, search_depth(k) AS depth,
        memory_filter(session_id, agent_id, user_id, since, until, tier) AS filter
    FROM (SELECT query::VARCHAR AS content)
),
candidates AS MATERIALIZED (
    SELECT list(memory_id) AS ids FROM (
        SELECT memory_id FROM asked, vector_search(vector, depth, filter := filter)
        UNION ALL
        SELECT memory_id FROM asked, keyword_search(content, depth, filter := filter)
    )
),
scored AS MATERIALIZED (
    SELECT memory_id, vector_score, keyword_score,
        vector_weight::DOUBLE * vector_score + keyword_weight::DOUBLE * keyword_score AS fused_score
    FROM asked, candidates, score_memories(vector, content, ids)
),
fused AS MATERIALIZED (
    SELECT list(memory_id) AS ids, list(greatest(fused_score, 0)) AS scores FROM scored
),
reached AS (
    SELECT content, memory_id, graph_score, distance, age
    FROM asked, fused, spread(ids, scores, hops::INTEGER, filter := filter, most := depth)
),
ranked AS (
    SELECT content, memory_id, distance,
        coalesce(vector_score, 0) AS vector_score, coalesce(keyword_score, 0) AS keyword_score, graph_score,
        exp(-greatest(age, 0) / (30 * 86400)) AS recency_score,
        coalesce(fused_score, 0) + graph_weight::DOUBLE * graph_score + recency_weight::DOUBLE * recency_score
            AS score
    FROM reached LEFT JOIN scored USING (memory_id)
    ORDER BY score DESC, memory_id
    LIMIT coalesce(k::BIGINT, 0) -- NULL alone would be no limit
)
SELECT memory_id, memory.text, score, vector_score, keyword_score, graph_score, recency_score, distance AS hops,
    memory.* EXCLUDE (memory_id, text)
FROM (SELECT * EXCLUDE (content), aios_recalled(content, memory_id) AS memory FROM ranked)
WHERE memory IS NOT NULL;

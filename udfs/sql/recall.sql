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
-- standard deviations that the score lies above the mean of all memories; with `content`, also how well each answers
-- that text, keyword_score, standardised too.
CREATE MACRO vector_search(
    vector, k, session_id := NULL, agent_id := NULL, user_id := NULL, since := NULL, until := NULL, tier := NULL,
    filter := NULL, content := NULL
) AS TABLE
SELECT unnest(aios_vector_search(vector::FLOAT[], k::BIGINT, coalesce(filter,
    memory_filter(session_id, agent_id, user_id, since, until, tier)), content), recursive := true);

-- The k memories with the highest BM25 score for a text, best first; only such as hold a word of it. With `vector`, also
-- how near each is to that, vector_score, standardised.
CREATE MACRO keyword_search(
    content, k, session_id := NULL, agent_id := NULL, user_id := NULL, since := NULL, until := NULL, tier := NULL,
    filter := NULL, vector := NULL
) AS TABLE
SELECT unnest(aios_keyword_search(content, k::BIGINT, coalesce(filter,
    memory_filter(session_id, agent_id, user_id, since, until, tier)), vector::FLOAT[]), recursive := true);

-- Standardised vector and keyword scores of given memories.
CREATE MACRO score_memories(vector, content, ids) AS TABLE
SELECT unnest(aios_score(vector::FLOAT[], content, ids), recursive := true);

-- Lets the scores of given memories flow over their links, `hops` links far: every memory given or reached, with the
-- score that arrived there (graph_score), its distance in links, when it happened, its age in seconds, and as `given`
-- which of the given ones it is, from 1. Of one given twice the first score counts. `most` leaves only that many of
-- those that were not given, the ones where most arrived.
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
--   1. candidates: the best by vector and the best by keyword, filters applied, each with both standardised scores, so
--                  that they can be added
--   2. fused:      all of them, with their weighted sums
--   3. reached:    what arrives over links from those that are better than average
--   4. ranked:     the sum of all parts, cut to k; ties by memory_id, that is by time
--   5.             their rows; that they were recalled together is counted, and strengthens their links
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
    SELECT memory_id, standard_score AS vector_score, keyword_score
    FROM asked, vector_search(vector, depth, filter := filter, content := content)
    UNION ALL
    SELECT memory_id, vector_score, standard_score AS keyword_score
    FROM asked, keyword_search(content, depth, filter := filter, vector := vector)
),
fused AS MATERIALIZED (
    SELECT list(memory_id) AS ids, list(vector_score) AS vector_scores, list(keyword_score) AS keyword_scores,
        list(vector_weight::DOUBLE * vector_score + keyword_weight::DOUBLE * keyword_score) AS scores
    FROM candidates
),
reached AS MATERIALIZED (
    SELECT content, memory_id, graph_score, distance, age, coalesce(scores[given], 0) AS fused_score,
        coalesce(vector_scores[given], 0) AS vector_score, coalesce(keyword_scores[given], 0) AS keyword_score
    FROM asked, fused, spread(ids, scores, hops::INTEGER, filter := filter, most := depth)
),
ranked AS (
    SELECT content, memory_id, distance, vector_score, keyword_score, graph_score,
        exp(-greatest(age, 0) / (30 * 86400)) AS recency_score,
        fused_score + graph_weight::DOUBLE * graph_score + recency_weight::DOUBLE * recency_score AS score
    FROM reached
    ORDER BY score DESC, memory_id
    LIMIT coalesce(k::BIGINT, 0) -- NULL alone would be no limit
)
SELECT memory_id, memory.text, score, vector_score, keyword_score, graph_score, recency_score, distance AS hops,
    memory.* EXCLUDE (memory_id, text)
FROM (SELECT * EXCLUDE (content), aios_recalled(content, memory_id) AS memory FROM ranked)
WHERE memory IS NOT NULL;

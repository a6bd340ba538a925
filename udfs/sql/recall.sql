-- Retrieval. `recall` is a query over smaller table functions that can be used alone; copy it to write your own.
-- Memories are named by memory_id throughout. The filters of schema/filters.py stand here as /* filters */:
-- session_id := NULL, since := NULL and so on. Each takes a value or a list of values; NULL does not restrict, and an
-- empty list lets nothing pass.

-- Each argument occurs once in the body of its macro; where it is needed more often, it becomes the element of a list:
-- DuckDB plans a prepared query anew whenever a parameter occurs twice in it.

-- A number that counts something, or an error: whole, and not negative.
CREATE MACRO whole_number(name, number) AS list_transform([number::DOUBLE], lambda given:
    CASE WHEN given BETWEEN 0 AND 2147483647 AND given = floor(given) THEN given::BIGINT
    ELSE error(printf('%s is %s; give a whole number that is not negative, 2147483647 at most', name,
        coalesce(printf('%g', given), 'NULL'))) END)[1];

-- A number that is at least `least`, and finite, or an error.
CREATE MACRO finite_number(name, number, least) AS list_transform([number::DOUBLE], lambda given:
    CASE WHEN given >= least AND isfinite(given) THEN given
    ELSE error(printf('%s is %s; give a finite number, %g at least', name,
        coalesce(printf('%g', given), 'NULL'), least::DOUBLE)) END)[1];

-- Filters as one value: those that are given by name, together with those of another such value.
CREATE MACRO memory_filter(/* filters */, filter := NULL) AS
aios_filter(/* given filters */, filter);

-- A vector of any scale as one of unit length; an error where it has no direction (zeros, NaN, infinity).
CREATE MACRO unit_vector(vector) AS aios_unit_vector(vector::DOUBLE[]);

-- The k memories nearest to a vector by cosine, best first: memory_id, score, and standard_score, the number of
-- standard deviations by which the score exceeds the mean over all memories. With `content`, keyword_score says how well
-- each memory answers that text, standardised too. With `by_trust` there are k memories of each class of trust
-- (security.md), so that less trusted ones crowd nothing out. Means and deviations are taken over the memories that are
-- trusted at least as much as the one that is scored.
CREATE MACRO vector_search(vector, k, /* filters */, filter := NULL, content := NULL, by_trust := false) AS TABLE
SELECT unnest(aios_vector_search(unit_vector(vector), whole_number('k', k),
    aios_filter(/* given filters */, filter), content, by_trust::BOOLEAN), recursive := true);

-- The k memories with the highest BM25 scores for a text, best first, among those that contain a word of it. With
-- `vector`, vector_score says how near each memory is to it, standardised. `by_trust` as in `vector_search`.
CREATE MACRO keyword_search(content, k, /* filters */, filter := NULL, vector := NULL, by_trust := false) AS TABLE
SELECT unnest(aios_keyword_search(content, whole_number('k', k),
    aios_filter(/* given filters */, filter), unit_vector(vector), by_trust::BOOLEAN), recursive := true);

-- Standardised vector and keyword scores of given memories.
CREATE MACRO score_memories(vector, content, ids) AS TABLE
SELECT unnest(aios_score(unit_vector(vector), content, ids), recursive := true);

-- Lets the scores of given memories flow along links, up to `hops` links far. Returns every memory that was given or
-- reached, with the score that arrived there (graph_score), its distance in links, when it happened, its age in seconds,
-- and `given`: its place, from 1, among the memories given, NULL for the others. Of a memory given twice the first score
-- counts. `ceiling` is the limit that the trust in a memory sets to its score: infinity where it is trusted fully.
-- `most` limits the memories that were not given, in each class of trust, to those where most arrived. Scores flow to
-- memories that are trusted as much or less, never to those that are trusted more. `archived` says that a memory is in
-- that tier, `superseded` that it does not hold, now or at the time that the filter looks back to.
CREATE MACRO spread(ids, scores, hops := 1, /* filters */, filter := NULL, most := NULL) AS TABLE
SELECT unnest(aios_spread(ids, scores, whole_number('hops', hops)::INTEGER,
    aios_filter(/* given filters */, filter), coalesce(most, -1)), recursive := true);

-- The memories up to `hops` links away from one, nearest first.
CREATE MACRO neighbors(id, hops := 1) AS TABLE
SELECT unnest(aios_neighbors(id, whole_number('hops', hops)::INTEGER), recursive := true);

-- The rows of given memories, by key: no scan of the table, however large.
CREATE MACRO memories_by_id(ids) AS TABLE
SELECT unnest(aios_memories(ids), recursive := true);

-- All memories as they were in a version (a whole number) or at a time.
CREATE MACRO memories_at(point) AS TABLE
SELECT unnest(aios_memories_at(list_transform([point::VARCHAR], lambda given:
    [CASE WHEN regexp_full_match(given, '-?\d{1,18}') THEN given::BIGINT END, epoch_us(TRY_CAST(given AS TIMESTAMPTZ))])[1]),
    recursive := true);

-- The versions of the memories that are kept, the oldest first: version, written_at.
CREATE MACRO memory_versions() AS TABLE
SELECT unnest(aios_memory_versions(0), recursive := true);

-- How many memories each search of `recall` returns: at least 100, since a memory that is good by one score and fair by
-- the other should win.
CREATE MACRO search_depth(k) AS greatest(k::BIGINT, 100);

-- As much of a question as is embedded, in characters: more than any text model reads (512 tokens).
CREATE MACRO embeddable(content) AS left(content, 8192);

-- The first k of a ranked list. Where some sources are not trusted fully, `best_of_sources.sql` replaces it, which limits
-- how many of them one source may have.
CREATE MACRO best_of(ranked, k, filter := NULL) AS ranked[:k];

-- The k memories that answer a query best.
--   0. asked:      the arguments, each once and checked, so that the plan can be run with other values
--   1. candidates: the best memories by vector, by keyword and in the joint space (multimodal.sql), of each class of
--                  trust and within the filters, with standardised scores, which can be added. For a text alone, the
--                  joint space is searched for pictures and sounds only, since texts are found by their own vectors
--   2. fused:      all candidates with the weighted sums of their scores
--   3. reached:    the memories that the links of those above average lead to, with the score that arrives there
--   4. ranked:     the sum of all parts, less the penalties for principles and for what no longer holds, under the
--                  ceiling of what is not trusted fully (schema/trust.py), cut to k. Among equals archived memories come
--                  last, then the order is that of memory_id, that is of time
--   5.             their rows. The memories are counted as recalled together, which strengthens their links
CREATE MACRO recall(
    query := NULL, k := 10, hops := 1, /* filters */, filter := NULL, min_score := NULL,
    vector_weight := 1.5, keyword_weight := 1.0, graph_weight := 1.0, recency_weight := 0.0, recency_days := 30.0, superseded_penalty := 4.0,
    principle_penalty := 4.0, joint_weight := 2.5, image := NULL, audio := NULL
) AS TABLE
WITH asked AS MATERIALIZED (
    SELECT *, aios_joint_question(embeddable(content), vector, picture, sound) AS question, search_depth(most) AS depth,
        {'content': content, 'vector': vector} AS besides
    FROM (SELECT *, embed(embeddable(content)) AS vector
    FROM (SELECT * REPLACE (CASE WHEN wordy OR regexp_matches(content, '[^\s\p{Z}]') THEN content END AS content)
    FROM (SELECT *, coalesce(picture.file IS NULL AND picture.uri IS NULL
        AND sound.file IS NULL AND sound.uri IS NULL, true) AS wordy FROM (VALUES (
        query::VARCHAR, medium(image), medium(audio), aios_filter(/* given filters */, filter), whole_number('k', k), whole_number('hops', hops),
        finite_number('min_score', coalesce(min_score::DOUBLE, -1e300), -1e300),
        {
            'vector': finite_number('vector_weight', vector_weight, 0),
            'keyword': finite_number('keyword_weight', keyword_weight, 0),
            'graph': finite_number('graph_weight', graph_weight, 0),
            'recency': finite_number('recency_weight', recency_weight, 0),
            'recency_s': finite_number('recency_days', recency_days, 1e-6) * 86400,
            'superseded': finite_number('superseded_penalty', superseded_penalty, 0),
            'principle': finite_number('principle_penalty', principle_penalty, 0),
            'joint': finite_number('joint_weight', joint_weight, 0)
        }
    )) AS given(content, picture, sound, conditions, most, links, least, weights))))
    WHERE CASE WHEN content IS NULL THEN NOT wordy WHEN regexp_matches(content, '[^\s\p{Z}]') THEN true
        ELSE error('recall: the query is blank; give words to look for') END
),
candidates AS MATERIALIZED (
    SELECT memory_id, standard_score AS vector_score, keyword_score
    FROM (SELECT unnest(aios_vector_search(vector, depth, conditions, content, true), recursive := true) FROM asked)
    UNION ALL
    SELECT memory_id, vector_score, standard_score AS keyword_score
    FROM (SELECT unnest(aios_keyword_search(content, depth, conditions, vector, true), recursive := true) FROM asked)
    UNION ALL
    SELECT memory_id, vector_score, keyword_score
    FROM (SELECT unnest(aios_joint_search(question, depth, conditions, wordy, besides), recursive := true)
        FROM asked WHERE question IS NOT NULL)
),
found AS MATERIALIZED (
    SELECT list(memory_id) AS ids, list(vector_score) AS vector_scores, list(keyword_score) AS keyword_scores FROM candidates
),
fused AS MATERIALIZED (
    SELECT *, list_transform(ids, lambda each, place: weights.vector * coalesce(vector_scores[place], 0)
        + weights.keyword * coalesce(keyword_scores[place], 0) + weights.joint * joint_scores[place]) AS scores
    FROM (SELECT found.*, weights, CASE WHEN question IS NULL THEN list_transform(ids, lambda each: 0.0::DOUBLE)
        ELSE aios_joint_scores(question, wordy, ids, conditions) END AS joint_scores FROM found, asked)
),
reached AS MATERIALIZED (
    SELECT content, conditions, most, least, memory_id, distance, graph_score, archived,
        coalesce(vector_scores[given], 0) AS vector_score, coalesce(keyword_scores[given], 0) AS keyword_score,
        coalesce(joint_scores[given], 0) AS joint_score,
        exp(-greatest(age, 0) / weights.recency_s) AS recency_score,
        coalesce(scores[given], 0) + weights.graph * graph_score + weights.recency * recency_score
            - CASE WHEN superseded THEN weights.superseded ELSE 0 END
            - CASE WHEN principle THEN weights.principle ELSE 0 END AS uncapped,
        uncapped / (1 + greatest(uncapped, 0) / ceiling) AS score
    FROM (
        SELECT * EXCLUDE (ids), unnest(aios_spread(ids, scores, links::INTEGER, conditions, depth), recursive := true)
        FROM (SELECT content, conditions, most, least, links, depth FROM asked), fused
    )
),
ranked AS MATERIALIZED (
    SELECT best_of(list({
        'content': content, 'conditions': conditions, 'memory_id': memory_id, 'score': score, 'vector_score': vector_score,
        'keyword_score': keyword_score, 'graph_score': graph_score, 'recency_score': recency_score, 'joint_score': joint_score,
        'links': distance
    } ORDER BY score DESC, archived, memory_id), any_value(most), filter := any_value(conditions)) AS best
    FROM reached
    WHERE score >= least
)
SELECT memory_id, memory.text, score, vector_score, keyword_score, graph_score, recency_score, links AS hops, joint_score,
    memory.* EXCLUDE (memory_id, text)
FROM (
    SELECT * EXCLUDE (content, conditions), aios_recalled(content, memory_id, conditions) AS memory
    FROM (SELECT unnest(best, recursive := true) FROM ranked)
)
WHERE memory IS NOT NULL;

SELECT text AS "Who moved the key, and where does it hang?", round(score, 1) AS score,
    round(vector_score, 1) AS vector, round(keyword_score, 1) AS keyword, round(graph_score, 1) AS graph
FROM recall('Who moved the key, and where does it hang?', k := 3);

SELECT text AS "Which colleague of Noor plays in a quartet?", round(score, 1) AS score,
    round(vector_score, 1) AS vector, round(keyword_score, 1) AS keyword, round(graph_score, 1) AS graph
FROM recall('Which colleague of Noor plays in a quartet?', k := 3, hops := 2);

SELECT text AS "Who discovered comets?", session_id, round(score, 1) AS score
FROM recall('Who discovered comets?', k := 3, since := '2024-09-01');

SELECT text AS "Who is afraid of water? (by meaning alone)", round(score, 2) AS cosine
FROM vector_search(embed('Who is afraid of water?'), 2) JOIN memories USING (memory_id) ORDER BY score DESC;

SELECT speaker AS "Who talks about the engine?", count(*) AS turns, min(occurred_at)::DATE AS first
FROM recall('the engine of the boat', k := 20) GROUP BY ALL ORDER BY turns DESC LIMIT 3;

SELECT kind AS "What links the memories?", count(*) AS links, round(avg(weight), 2) AS weight
FROM association_links GROUP BY ALL ORDER BY links DESC;

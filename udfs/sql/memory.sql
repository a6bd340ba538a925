-- Stores a memory and returns its memory_id. The same content in one scope (user, agent, session) is one memory.
CREATE MACRO remember(
    content, title := NULL, kind := NULL, session_id := NULL, agent_id := NULL, user_id := NULL, speaker := NULL,
    occurred_at := NULL, tier := NULL, importance := NULL, source := NULL, metadata := NULL
) AS aios_remember({
    'text': content::VARCHAR, 'title': title::VARCHAR, 'kind': kind::VARCHAR, 'session_id': session_id::VARCHAR,
    'agent_id': agent_id::VARCHAR, 'user_id': user_id::VARCHAR, 'speaker': speaker::VARCHAR,
    'occurred_at': occurred_at::TIMESTAMPTZ, 'tier': tier::VARCHAR, 'importance': importance::FLOAT,
    'source': source::VARCHAR, 'metadata': metadata::VARCHAR
});

-- Deletes a memory and its links; true when there was one.
CREATE MACRO forget(memory_id) AS aios_forget(memory_id);

-- Links two memories, or strengthens the link they have; true.
CREATE MACRO link(source_id, target_id, kind := 'user', weight := 1.0) AS aios_link(source_id, target_id, kind, weight);

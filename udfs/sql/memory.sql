-- Writing. `remember`, `forget`, `erase` and `link` are output columns of a SELECT: what is written is what the statement returns,
-- at its end, in one commit. `remember_all`, `update_all`, `forget_all`,
-- `erase_all` and `link_all` take a list and write when they are called.
-- `aios_writes` is evaluated when a statement is bound: it sees every call, and refuses those that cannot be carried out.
-- `aios_call` gives each call a token, by which a call that DuckDB left out is found.
-- A LIMIT cannot depend on another table's row, so that a list per row, of which some might be written, is an error.

-- Stores a memory and returns its memory_id. The same content in one scope is one memory, but for turns of a session;
-- with an external_id it replaces the memory of that name. `image` and `audio` are bytes, a path or a URI. docs/python.md says more, under "Identity".
CREATE MACRO remember(
    content, title := NULL, kind := NULL, session_id := NULL, agent_id := NULL, user_id := NULL, speaker := NULL,
    occurred_at := NULL, tier := NULL, importance := NULL, source := NULL, metadata := NULL,
    trust := NULL, external_id := NULL, valid_until := NULL, superseded_by := NULL, expires_at := NULL, pinned := NULL,
    image := NULL, audio := NULL
) AS struct_extract({'written': {'aios remember': {
    'text': content::VARCHAR, 'title': title::VARCHAR, 'kind': kind::VARCHAR, 'session_id': session_id::VARCHAR,
    'agent_id': agent_id::VARCHAR, 'user_id': user_id::VARCHAR, 'speaker': speaker::VARCHAR,
    'occurred_at': occurred_at::TIMESTAMPTZ, 'tier': tier::VARCHAR, 'importance': importance::FLOAT,
    'source': source::VARCHAR, 'metadata': metadata::JSON::VARCHAR, 'trust': trust::FLOAT, 'external_id': external_id::VARCHAR,
    'image': medium(image), 'audio': medium(audio),
    'valid_until': valid_until::TIMESTAMPTZ, 'superseded_by': superseded_by::VARCHAR,
    'expires_at': expires_at::TIMESTAMPTZ, 'pinned': pinned::BOOLEAN
}}}, aios_writes('remember'));

-- Deletes a memory and its links; true when there was one. A statement that deletes more of them than
-- storage.confirm_forget is an error unless `confirm` is true.
CREATE MACRO forget(memory_id, confirm := false) AS struct_extract({'written': {'aios forget': {
    'memory_id': memory_id::VARCHAR, 'confirm': confirm::BOOLEAN
}}}, aios_writes('forget'));

-- Deletes a memory and its links, so that no file of the database holds its text any more; true when there was one.
CREATE MACRO erase(memory_id) AS
    struct_extract({'written': {'aios erase': memory_id::VARCHAR}}, aios_writes('erase'));

-- Links two memories, or strengthens the link they have; true.
CREATE MACRO link(source_id, target_id, kind := 'user', weight := 1.0) AS struct_extract({'written': {'aios link': {
    'source_id': source_id::VARCHAR, 'target_id': target_id::VARCHAR, 'kind': kind::VARCHAR, 'weight': weight::FLOAT
}}}, aios_writes('link'));

-- Stores a list of structs whose fields are columns of `memories`; one row per struct, its memory_id.
CREATE MACRO remember_all(memories) AS TABLE
SELECT unnest(aios_remember_all(struct_extract({'written': to_json(memories)::VARCHAR}, aios_writes('remember_all')), aios_call('remember_all')),
    recursive := true) LIMIT coalesce(len(memories), 0) + 1;

-- Changes memories by a list of structs: a memory_id, and the columns to change, of which NULL empties one; one row, how many.
CREATE MACRO update_all(memories) AS TABLE
SELECT unnest(aios_update_all(struct_extract({'written': to_json(memories)::VARCHAR}, aios_writes('update_all')), aios_call('update_all')),
    recursive := true) LIMIT coalesce(len(memories), 0) + 1;

-- Deletes the memories of a list of memory_ids and their links; one row, how many there were. More of them than
-- storage.confirm_forget are an error unless `confirm` is true.
CREATE MACRO forget_all(memory_ids, confirm := false) AS TABLE
SELECT unnest(aios_forget_all(struct_extract({'written': memory_ids::VARCHAR[]}, aios_writes('forget_all')), confirm::BOOLEAN,
    aios_call('forget_all')),
    recursive := true) LIMIT coalesce(len(memory_ids), 0) + 1;

-- Deletes the memories of a list of memory_ids so that no file holds their texts, nor what was deleted before; one row, how
-- many there were.
CREATE MACRO erase_all(memory_ids) AS TABLE
SELECT unnest(aios_erase_all(struct_extract({'written': memory_ids::VARCHAR[]}, aios_writes('erase_all')), aios_call('erase_all')),
    recursive := true) LIMIT coalesce(len(memory_ids), 0) + 1;

-- Links memories by a list of structs with source_id, target_id, kind and weight; one row, how many links were given.
CREATE MACRO link_all(links) AS TABLE
SELECT unnest(aios_link_all(struct_extract({'written': to_json(links)::VARCHAR}, aios_writes('link_all')), aios_call('link_all')),
    recursive := true) LIMIT coalesce(len(links), 0) + 1;

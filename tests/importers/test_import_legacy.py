from __future__ import annotations

import json
from datetime import datetime, timezone

import pyarrow as pa

from aios_db.importers import Row, read_path


def experiences():
    entities = {"persons": ["Ada"], "locations": [], "dates": [], "numbers": [], "keywords": ["loom"]}
    return pa.table(
        {
            "memory_id": ["m1", "m2", "m3"],
            "timestamp": pa.array([1_700_000_000_000_000] * 3, pa.timestamp("us")),
            "context": ["Ada asked", "", None],
            "intent": ["help", "", None],
            "action": ["answered", "", None],
            "outcome": ["happy", "", None],
            "success": [True, False, True],
            "embedding": pa.array([[0.5, 0.25]] * 3, pa.list_(pa.float32())).cast(pa.list_(pa.float16())),
            "related_memories": [["m2", "m9"], [], ["m1"]],
            "is_compressed": [False, True, True],
            "entities": [entities, entities, None],
            "key_tokens": [[], ["weaving"], []],
        }
    )


def test_experiences(write):
    rows, rejected = write("core/experiences.parquet", experiences())
    assert [row.fields["text"] for row in rows] == [
        "Ada asked\nIntent: help\nAction: answered\nOutcome: happy",
        "weaving, Ada, loom",
    ]
    assert rows[0].fields["kind"] == "experience"
    assert rows[0].fields["occurred_at"] == datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)
    assert (rows[0].key, rows[0].related) == ("m1", ("m2", "m9"))
    metadata = json.loads(rows[0].fields["metadata"])
    assert (metadata["memory_id"], metadata["success"]) == ("m1", True)
    assert metadata["entities"]["persons"] == ["Ada"]
    assert "text_embedding" not in rows[0].fields
    assert [record.location for record in rejected] == ["experiences.parquet:3"]


def test_every_file_of_a_store(write, tmp_path):
    write("core/experiences.parquet", experiences())
    write("core/preferences.parquet", pa.table({"key": ["tea"], "value": ["green"], "weight": [0.5]}))
    write("core/summaries.parquet", pa.table({"summary": ["It went well."], "timestamp": [1_700_000_000]}))
    write("core/notes.parquet", pa.table({"text": ["a plain table"]}))
    write("working/context.parquet", pa.table({"content": ["now"]}))
    images = {
        "embedding_id": ["e1", "e2"],
        "embedding": pa.FixedSizeListArray.from_arrays(pa.nulls(1024, pa.float16()).fill_null(0), 512),
        "model": ["clip"] * 2,
        "timestamp": [1_700_000_000] * 2,
        "metadata": ['{"caption": "a red boat", "path": "boat.jpg"}', "not json"],
        "image_id": ["i1", "i2"],
    }
    write("vision/embeddings.parquet", pa.table(images))
    sounds = {"embedding_id": ["e3"], "embedding": [[0.0]], "source_id": ["s1"], "modality": ["audio"]}
    write("clip/embeddings.parquet", pa.table(sounds))

    rows = [row.fields for row in read_path(tmp_path) if isinstance(row, Row)]
    assert [(row["source"], row.get("kind"), row["text"]) for row in rows] == [
        ("clip/embeddings.parquet", "observation", "audio s1"),
        ("core/experiences.parquet", "experience", rows[1]["text"]),
        ("core/experiences.parquet", "experience", rows[2]["text"]),
        ("core/notes.parquet", None, "a plain table"),
        ("core/preferences.parquet", "observation", "key: tea\nvalue: green"),
        ("core/summaries.parquet", "summary", "It went well."),
        ("vision/embeddings.parquet", "observation", "a red boat"),
        ("vision/embeddings.parquet", "observation", "not json"),
        ("working/context.parquet", "message", "now"),
    ]
    assert rows[6]["media_uri"] == "boat.jpg"
    assert json.loads(rows[6]["metadata"])["model"] == "clip"

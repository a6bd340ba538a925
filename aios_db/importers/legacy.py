"""The older memory store: Parquet files in `core/`, `working/`, `vision/`, `audio/` and `clip/`.

`core/experiences.parquet` becomes experiences: text from what happened and what came of it, the rest in the
metadata, `related_memories` as links. The other files of `core/` and `working/` become one memory a row, from
their text columns. `{vision,audio,clip}/embeddings.parquet` become one memory an item, described by its
metadata and found by that description. The stored vectors are left behind: their weights are unknown, so text
is embedded anew, and the 512 numbers of a picture or sound belong to no space of this database.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from aios_db.importers.base import Format, Record, Source, UnreadableError
from aios_db.importers.records import make_record

_STORY = (("context", ""), ("intent", "Intent: "), ("action", "Action: "), ("outcome", "Outcome: "))
_EXPERIENCE = frozenset(column for column, _ in _STORY)
_ITEM_IDS = ("image_id", "audio_id", "source_id")
_KINDS = MappingProxyType(
    {"identity": "observation", "preferences": "observation", "summaries": "summary", "context": "message"}
)
# Descriptions that item metadata is known or likely to carry, the most telling first.
_DESCRIPTIONS = ("caption", "transcript", "description", "text", "title", "label")
_PLACES = ("path", "file", "uri", "url", "source")
_BULKY = frozenset({"embedding", "sparse_vector", "sparse_indices", "token_scores", "diff_data"})
BATCH = 1024


def detect(source: Source) -> bool:
    """Return whether a Parquet file has the columns, or the place and neighbours, of the old store."""
    return source.suffix == ".parquet" and _converter(source) is not None


def read(source: Source) -> Iterator[Record]:
    """Yield one record a row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    convert = _converter(source)
    assert convert is not None
    number = 0
    try:
        with pq.ParquetFile(source.path) as file:
            total = file.metadata.num_rows
            columns = [name for name in file.schema_arrow.names if name not in _BULKY]
            for batch in file.iter_batches(batch_size=BATCH, columns=columns):
                for record in batch.to_pylist():
                    number += 1
                    location, progress = f"{source.name}:{number}", number / total
                    key, related = record.get("memory_id"), record.get("related_memories") or ()
                    yield make_record(
                        source,
                        convert(record),
                        location,
                        progress,
                        place=f"id {key}" if key else None,
                        key=key and str(key),
                        related=tuple(map(str, related)),
                        original=record,
                    )
    except (pa.ArrowException, OSError) as error:
        raise UnreadableError(f"{source.name}:{number + 1}", f"cannot be read further: {error}") from None


def _converter(source: Source) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    columns = frozenset(source.parquet_schema.names)
    if columns >= _EXPERIENCE:
        return _experience
    if "embedding_id" in columns and columns & set(_ITEM_IDS):
        return lambda record: _item(record, source.path.parent.name)
    stem, store = source.path.stem, source.path.parent.parent
    if stem in _KINDS and (store / "core" / "experiences.parquet").is_file():
        return lambda record: _statement(record, _KINDS[stem])
    return None


def _experience(record: Mapping[str, Any]) -> dict[str, Any]:
    text = "\n".join(f"{label}{record[column]}" for column, label in _STORY if record.get(column))
    if not text:  # compressed away: what is left are its names and key words
        entities = record.get("entities") or {}
        words = [
            *(record.get("key_tokens") or ()),
            *(word for group in entities.values() for word in group or ()),
        ]
        text = ", ".join(dict.fromkeys(map(str, words)))
    kept = ("memory_id", "success", "is_compressed", "summary_hash", "entities", "compression_metadata")
    return {
        "kind": "experience",
        "text": text,
        "occurred_at": record.get("timestamp"),
        "metadata": {name: record[name] for name in kept if record.get(name) is not None},
    }


def _item(record: Mapping[str, Any], folder: str) -> dict[str, Any]:
    described = _json_object(record.get("metadata"))
    item_id = next((record[name] for name in _ITEM_IDS if record.get(name)), record["embedding_id"])
    modality = record.get("modality") or {"vision": "image", "audio": "audio"}.get(folder, folder)
    words = next((described[name] for name in _DESCRIPTIONS if isinstance(described.get(name), str)), None)
    place = next((described[name] for name in _PLACES if isinstance(described.get(name), str)), None)
    kept = ("embedding_id", "model", "duration_seconds")
    return {
        "kind": "observation",
        "text": words or f"{modality} {item_id}",
        "media_uri": place,
        "occurred_at": record.get("timestamp"),
        "metadata": {
            **described,
            "modality": modality,
            "item_id": str(item_id),
            **{name: record[name] for name in kept if record.get(name) is not None},
        },
    }


def _statement(record: Mapping[str, Any], kind: str) -> dict[str, Any]:
    texts = {name: value for name, value in record.items() if isinstance(value, str) and value.strip()}
    texts.pop("memory_id", None)
    lines = [
        value if name in {"text", "content", "summary"} else f"{name}: {value}"
        for name, value in texts.items()
    ]
    return {
        "kind": kind,
        "text": "\n".join(lines),
        "occurred_at": record.get("timestamp"),
        "metadata": {
            name: value for name, value in record.items() if name not in texts and value is not None
        },
    }


def _json_object(value: object) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {"description": value}
    return dict(value) if isinstance(value, Mapping) else {}


LEGACY = Format("legacy", detect, read)

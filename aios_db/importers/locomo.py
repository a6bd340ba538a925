"""Conversations in the JSON of LoCoMo (Maharana et al. 2024, arXiv:2402.17753): one memory a turn.

A sample is ``{"sample_id", "conversation": {"session_1": [turn, …], "session_1_date_time": "…", …}}``; a file
holds one sample or an array. Samples are kept apart by ``user_id``; the turn's ``dia_id`` is in the metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from aios_db.importers.base import Format, Record, Rejected, Source, shorten
from aios_db.importers.records import make_record

_SESSION = re.compile(r"session_(\d+)")


def detect(source: Source) -> bool:
    """Return whether a JSON file holds samples with numbered sessions."""
    return source.suffix == ".json" and any(map(_is_sample, _samples(source.document)))


def read(source: Source) -> Iterator[Record]:
    """Yield one record a turn, session after session in the order of their numbers."""
    samples = _samples(source.document)
    for index, sample in enumerate(samples):
        name, progress = f"{source.name}[{index}]", (index + 1) / len(samples)
        if not _is_sample(sample):
            yield Rejected(name, "is not a conversation with sessions", shorten(sample), progress)
            continue
        conversation = sample["conversation"]
        scope = {"user_id": str(sample.get("sample_id") or source.path.stem), "source": source.name}
        numbers = sorted(int(match[1]) for key in conversation if (match := _SESSION.fullmatch(key)))
        for number in numbers:
            session = f"session_{number}"
            turns = conversation[session]
            if not isinstance(turns, list):
                yield Rejected(f"{name} {session}", "is not a list of turns", shorten(turns), progress)
                continue
            common = {
                **scope,
                "session_id": session,
                "occurred_at": conversation.get(f"{session}_date_time"),
                "kind": "message",
            }
            for place, turn in enumerate(turns, start=1):
                location = f"{name} {session} turn {place}"
                try:
                    said = _turn(turn)
                except ValueError as error:
                    yield Rejected(location, str(error), shorten(turn), progress)
                else:
                    yield make_record(source, common | said, location, progress, original=turn)


def turn_text(turn: Mapping[str, Any]) -> str:
    """Return what is remembered of a turn: ``speaker: text [shares image: caption]``."""
    caption = turn.get("blip_caption")
    return f"{turn['speaker']}: {turn['text']}" + (f" [shares image: {caption}]" if caption else "")


def _turn(turn: Any) -> dict[str, Any]:
    if not (isinstance(turn, Mapping) and isinstance(turn.get("speaker"), str)):
        raise ValueError("has no speaker")
    if not isinstance(turn.get("text"), str):
        raise ValueError("has no text")
    urls = turn.get("img_url")
    return {
        "text": turn_text(turn),
        "speaker": turn["speaker"],
        "media_uri": urls[0] if isinstance(urls, list) and urls else urls,
        "metadata": {"dia_id": turn["dia_id"]} if "dia_id" in turn else None,
    }


def _samples(document: Any) -> list[Any]:
    return document if isinstance(document, list) else [document]


def _is_sample(sample: object) -> bool:
    conversation = sample.get("conversation") if isinstance(sample, Mapping) else None
    return isinstance(conversation, Mapping) and any(map(_SESSION.fullmatch, conversation))


LOCOMO = Format("locomo", detect, read)

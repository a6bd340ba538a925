"""A small life: three subjects, told in three sessions."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

START = datetime(2024, 5, 1, 9, tzinfo=timezone.utc)
TALKS = {
    "boat": [
        "The boat Kestrel needs a new mast before July.",
        "Bo ordered the mast of the Kestrel for 1,240 euros.",
        "The mast of the Kestrel arrives on 12 June.",
        "We did not buy the second mast for the Kestrel.",
        "The Kestrel sails again once the mast is in.",
    ],
    "garden": [
        "The tomatoes in the garden need water every morning.",
        "Slugs ate the lettuce in the garden last night.",
        "Ada planted twelve tomatoes beside the garden wall.",
        "The garden wall keeps the tomatoes warm at night.",
        "Never water the tomatoes in the garden at noon.",
    ],
    "piano": [
        "The piano lesson with Mrs Holm is on Thursday.",
        "Mrs Holm gave Ada a Chopin nocturne for the piano.",
        "Ada practises the nocturne on the piano each evening.",
        "The piano is out of tune since the move.",
        "Mrs Holm knows a tuner for the piano in Leeds.",
    ],
}


def turns(**columns: Any) -> list[dict[str, Any]]:
    """Return the memories, in the order in which they were said."""
    return [
        {
            "text": text, "session_id": session, "speaker": ["Ada", "Bo"][number % 2],
            "occurred_at": START + timedelta(days=day, minutes=number), **columns,
        }
        for day, (session, texts) in enumerate(TALKS.items())
        for number, text in enumerate(texts)
    ]  # fmt: skip

"""What `memories.content_hash` says: which memory a row is.

It is the SHA-256 of scope and content in hex, and then, for what the words alone do not tell apart,

    @<microseconds>   when a message was said, where that is known
    #<number>         which of several equal turns of one session it is, from 2
    !<digest>         that of the user's own name for the memory, which stands instead of the other two
"""

from __future__ import annotations

import hashlib
import json

HEX = 64
TIME, NUMBER, EXTERNAL = "@", "#", "!"
ANY_TIME = "any:"


def external_key(user_id: str | None, agent_id: str | None, external_id: str) -> str:
    """Return the key that an ``external_id`` has in the index: it is unique within user and agent."""
    return "external:" + json.dumps([user_id, agent_id, external_id])


def external_suffix(key: str) -> str:
    """Return what a content hash ends with that belongs to an `external_key`."""
    return EXTERNAL + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def any_time_key(content_hash: str) -> str:
    """Return the key of the newest message with some content that was said at a known time."""
    return ANY_TIME + content_hash[:HEX]

"""The `memories` table: one row per memory, whatever its modality."""

from __future__ import annotations

import pyarrow as pa

TABLE = "memories"
KEY = "memory_id"
TIMESTAMP = pa.timestamp("us", tz="UTC")

VECTORS = ("text_embedding", "joint_embedding", "joint_hubness")

KINDS = ("message", "document", "observation", "principle", "experience", "summary")

# Lance's declaration of the key; without it concurrent merge_insert calls silently duplicate rows.
_KEY = {"lance-schema:unenforced-primary-key": "true"}

# Added by format 3.
IDENTITY_FIELDS = (
    pa.field("external_id", pa.string()),  # the user's own name for it, unique within user and agent
    pa.field("times", pa.list_(TIMESTAMP)),  # where equal ones are folded: when, each time that is known
    pa.field("occurrences", pa.int64(), nullable=False),  # and how often
)

# Added by format 6.
LIFECYCLE_FIELDS = (
    pa.field("valid_until", TIMESTAMP),  # since when it is no longer so; NULL where it is
    pa.field("superseded_by", pa.string()),  # the memory_id of what says what is so instead
    pa.field("expires_at", TIMESTAMP),  # from when on it is not recalled, and is deleted some time later
    pa.field("pinned", pa.bool_(), nullable=False),  # never evicted
)

# Added by format 6, too: what a compressed memory has in the place of text_embedding; see vector_codes.py.
CODE_FIELD = pa.field("text_code", pa.binary())

DERIVED = ("association_links", CODE_FIELD.name)
"""What follows from the link table, and from the text: exports and comparisons leave it out."""

# Added by format 7.
JOINT_FIELDS = (
    pa.field("audio", pa.large_binary()),  # the sound of a memory whose medium is a picture
    pa.field("audio_uri", pa.string()),
    pa.field("joint_embedding", pa.list_(pa.float32())),  # unit length; of any length that was fitted
    pa.field("joint_hubness", pa.list_(pa.float32())),  # by modality: how near it is to all that may ask
    pa.field("joint_weight_version", pa.string()),  # the joint space that made both
)

LINK_STRUCT = pa.struct([("target_id", pa.string()), ("kind", pa.string()), ("weight", pa.float32())])


def memories_schema(dimension: int) -> pa.Schema:
    """Return the Arrow schema of `memories` for text vectors of ``dimension`` float32 numbers."""
    return pa.schema(
        [
            pa.field("memory_id", pa.string(), nullable=False, metadata=_KEY),  # UUIDv7: by time
            pa.field("kind", pa.string(), nullable=False),  # KINDS, or the user's own word
            pa.field("title", pa.string()),
            pa.field("text", pa.string(), nullable=False),
            pa.field("media", pa.large_binary()),
            pa.field("media_uri", pa.string()),
            pa.field("media_type", pa.string()),  # MIME type
            pa.field("modalities", pa.list_(pa.string()), nullable=False),
            pa.field("text_embedding", pa.list_(pa.float32(), dimension)),  # unit length
            pa.field("text_weight_version", pa.string()),  # the weights that made text_embedding
            pa.field("session_id", pa.string()),
            pa.field("agent_id", pa.string()),
            pa.field("user_id", pa.string()),
            pa.field("speaker", pa.string()),
            pa.field("occurred_at", TIMESTAMP),  # when it happened
            pa.field("created_at", TIMESTAMP, nullable=False),  # when it was stored
            pa.field("tier", pa.string(), nullable=False),  # TIERS
            pa.field("access_count", pa.int64(), nullable=False),
            pa.field("last_access_at", TIMESTAMP),
            pa.field("importance", pa.float32(), nullable=False),
            pa.field("source", pa.string()),  # the file or program it came from
            pa.field("trust", pa.float32(), nullable=False),
            pa.field("content_hash", pa.string(), nullable=False),  # what it is known by: schema/identity.py
            pa.field("derived_from", pa.list_(pa.string())),  # lineage: memory_ids
            pa.field("metadata", pa.string()),  # JSON object
            pa.field("association_links", pa.list_(LINK_STRUCT)),  # derived from the link table
            *IDENTITY_FIELDS,
            *LIFECYCLE_FIELDS,
            CODE_FIELD,
            *JOINT_FIELDS,
        ]
    )


def returned_schema() -> pa.Schema:
    """Return the columns that searches return: all but the media's bytes, the vector and what is derived."""
    left_out = {"media", "audio", "content_hash", "times", *VECTORS, *DERIVED}
    return pa.schema(
        [pa.field(each.name, each.type) for each in memories_schema(1) if each.name not in left_out]
    )


# What a caller of `remember` may give; everything else is filled in by the store.
WRITABLE = (
    "kind", "title", "text", "media", "media_uri", "media_type", "text_embedding", "session_id", "agent_id",
    "user_id", "speaker", "occurred_at", "tier", "importance", "source", "trust", "derived_from", "metadata",
    "external_id", *(each.name for each in LIFECYCLE_FIELDS), "audio", "audio_uri",
)  # fmt: skip

# Two rows with equal content in one scope are one memory.
SCOPE = ("user_id", "agent_id", "session_id")

"""LoRA cards in SQL: the factors of a version."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.schema import lora_cards
from aios_db.schema.deadlines import check
from aios_db.schema.errors import ProgrammingError
from aios_db.udfs.functions import ScalarFunction
from aios_db.udfs.protocols import Snapshot
from aios_db.udfs.types import VARCHAR


def card_modules(store: Snapshot, names: pa.Array) -> pa.Array:
    """Return for each version, or name of a card, a list of its modules."""
    rows = [None if name is None else _modules(store, name) for name in names.to_pylist()]
    return pa.array(rows, _MODULES)


def _modules(store: Snapshot, name: str) -> list[dict[str, Any]]:
    check()
    named = (pc.field("name") == name) | (pc.field("version") == name)
    found = store.dataset(lora_cards.TABLE).scanner(columns=["number", "card"], filter=named).to_table()
    if not len(found):
        raise ProgrammingError(f"card_modules: there is no card {name!r}: see the view lora_cards")
    newest = found.sort_by([("number", "descending")])["card"][0]
    return [_module(row) for row in pa.ipc.open_file(newest.as_buffer()).read_all().to_pylist()]


def _module(row: dict[str, Any]) -> dict[str, Any]:
    a, b = (np.frombuffer(row[f"weight_{side}"], row["dtype"]).astype(np.float64) for side in "ab")
    return {
        "module": row["module"],
        "rank": row["shape_a"][0],
        "inputs": row["shape_a"][1],
        "outputs": row["shape_b"][0],
        "dtype": row["dtype"],
        "norm_a": float(np.linalg.norm(a)),
        "norm_b": float(np.linalg.norm(b)),
    }


_MODULES = pa.list_(
    pa.struct(
        [
            ("module", pa.string()),
            ("rank", pa.int32()),
            ("inputs", pa.int32()),
            ("outputs", pa.int32()),
            ("dtype", pa.string()),
            ("norm_a", pa.float64()),
            ("norm_b", pa.float64()),
        ]
    )
)
FUNCTIONS = (ScalarFunction("aios_card_modules", [VARCHAR], _MODULES, card_modules),)

"""The cards of a database: versions by name, the newest of which is the head."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.disk.durable import DurableTable
from aios_db.disk.failures import operational
from aios_db.federation.card import LoraCard
from aios_db.federation.card_files import card_bytes, card_from_bytes
from aios_db.federation.checks import is_name
from aios_db.federation.debts import Debts, published_key
from aios_db.federation.delta import Delta
from aios_db.schema import lora_cards
from aios_db.schema.database import table_path
from aios_db.schema.errors import DataError, Error, OperationalError, ProgrammingError, ReadOnlyError
from aios_db.store.small_tables import keep_small

if TYPE_CHECKING:
    from aios_db.memory_store import MemoryStore

log = logging.getLogger("aios_db.federation")

KEEP_VERSIONS = 32
_REMEDY = "aios doctor --deep says what else is; restore a backup, or remove the card and fetch it again"
_DESCRIPTION = [name for name in lora_cards.SCHEMA.names if name not in lora_cards.CONTENT]


@dataclass(frozen=True)
class CardVersion:
    """A row of `lora_cards`, without its bytes."""

    card_id: str
    name: str
    number: int
    version: str
    sha256: str
    parent_sha256: str | None
    origin: str
    agent: str | None
    base_model: str | None
    rank: int
    alpha: float
    target_modules: list[str]
    parameters: int
    bytes: int
    samples: int
    created_at: datetime
    metadata: str


class CardLibrary:
    """The one path by which `lora_cards` is written; safe to use from several threads.

    A version whose content is not what its hash says is never returned: `OperationalError` names it.

    Parameters
    ----------
    store
        An open database.
    keep_versions
        Older versions of a card than so many go when one is added.
    """

    def __init__(self, store: MemoryStore, *, keep_versions: int = KEEP_VERSIONS) -> None:
        self.store = store
        self._keep = keep_versions
        self._lock = store.lock  # a thread that holds it would wait for another in vain
        self._durable = DurableTable(table_path(store.path, lora_cards.TABLE))

    def names(self) -> list[str]:
        """Return the names of the cards."""
        return sorted({each.name for each in self.versions()})

    def versions(self, name: str | None = None) -> list[CardVersion]:
        """Return the versions of a card, or of all, the newest last."""
        condition = None if name is None else pc.field("name") == name
        rows = self._rows(_DESCRIPTION, condition)
        return [CardVersion(**row) for row in sorted(rows, key=lambda row: (row["name"], row["number"]))]

    def head(self, name: str) -> LoraCard | None:
        """Return the newest version of a card; None where there is none of that name."""
        versions = self.versions(name)
        return self._load(pc.field("card_id") == versions[-1].card_id) if versions else None

    def get(self, name: str) -> LoraCard:
        """Return a version by ``name@…``, or the head by its name.

        Raises
        ------
        ProgrammingError
            There is none.
        """
        card = self._load(pc.field("version") == name) if "@" in name else None
        card = card or self.head(name)
        if card is None:
            known = ", ".join(self.names()) or "none"
            raise ProgrammingError(f"there is no card {name!r} in {self.store.path}; it has {known}")
        return card

    def by_hash(self, name: str, sha256: str) -> LoraCard | None:
        """Return the version of a card with a hash, if it is here."""
        return self._load((pc.field("name") == name) & (pc.field("sha256") == sha256))

    def hashes(self, name: str) -> list[str]:
        """Return the hashes of the versions of a card, the newest first."""
        found = [each.sha256 for each in reversed(self.versions(name))]
        return list(dict.fromkeys(found))

    def published(self, name: str, base: str) -> list[Delta] | None:
        """Return the deltas that were published since the version ``base``; None without a path."""
        condition = pc.field("name") == name
        columns = ["number", "sha256", "parent_sha256", "delta"]
        rows = sorted(self._rows(columns, condition), key=lambda row: -row["number"])
        path: list[Delta] = []
        wanted = rows[0]["sha256"] if rows else None
        for row in rows:
            if wanted == base:
                break
            if row["sha256"] != wanted:
                continue
            if row["delta"] is None:
                return None
            path.append(unpacked(row["delta"], row["parent_sha256"], row["sha256"]))
            wanted = row["parent_sha256"]
        return path[::-1] if wanted == base else None

    def add(
        self,
        card: LoraCard,
        *,
        origin: str,
        parent: str | None = None,
        agent: str | None = None,
        base_model: str | None = None,
        samples: int = 0,
        delta: Delta | None = None,
        expect: str | None = None,
    ) -> CardVersion:
        """Make a card the head of its name, in one commit.

        What is the head already is not added again.

        Parameters
        ----------
        parent
            The hash of the version that it was made of.
        delta
            From that version, as others can be sent it.
        expect
            The hash of what must be the head now.

        Raises
        ------
        DataError
            Its name is none that a card may have.
        ProgrammingError
            Another version than ``expect`` is the head.
        OperationalError
            The disk fails; the old head stays.
        """
        if self.store.read_only:
            raise ReadOnlyError(f"{self.store.path} is open read-only: cards cannot be added")
        if not is_name(card.name):
            named = f"{card.name[:200]!r} is no name of a card"
            raise DataError(f"{named}: give 1 to 200 printable characters without /, \\ and @")
        with self._lock.hold(), operational(f"adding a card to {self.store.path}"):
            versions = self.versions(card.name)
            head = versions[-1] if versions else None
            if expect is not None and (head is None or head.sha256 != expect):
                raise ProgrammingError(
                    f"the head of {card.name!r} is {head and head.version}, not {expect[:12]}"
                )
            if head is not None and head.sha256 == card.sha256:
                return head
            number = head.number + 1 if head else 1
            known = base_model or (head.base_model if head else None)
            version = _describe(card, number, origin, parent, agent, known, samples)
            row = {**asdict(version), "card": card_bytes(card), "delta": packed(delta) if delta else None}
            dataset = self._open()
            merge = dataset.merge_insert(lora_cards.KEY).when_not_matched_insert_all()
            merge.execute(pa.Table.from_pylist([row], schema=lora_cards.SCHEMA))
            if (last := number - self._keep) > 0 and number % max(1, self._keep // 4) == 0:
                dataset.delete((pc.field("name") == card.name) & (pc.field("number") <= last))
            if self.store.config.storage.durability == "full":
                self._durable.force(dataset)
        keep_small(self.store.database, dataset)
        log.info("added card %s", version.version, extra={"origin": origin, "number": number})
        return version

    def remove(self, name: str) -> int:
        """Delete all versions of a card, and what is owed of it; return how many there were."""
        if self.store.read_only:
            raise ReadOnlyError(f"{self.store.path} is open read-only: cards cannot be removed")
        with self._lock.hold(), operational(f"removing {name} of {self.store.path}"):
            count = len(self.versions(name))
            dataset = self._open()
            dataset.delete(pc.field("name") == name)
            debts = Debts(self.store.path)
            for owed in (name, published_key(name)):
                debts.forget(owed)
            if self.store.config.storage.durability == "full":
                self._durable.force(dataset)
        return count

    def _open(self) -> lance.LanceDataset:
        return lance.dataset(table_path(self.store.path, lora_cards.TABLE))

    def _rows(self, columns: Sequence[str], condition: Any) -> list[dict[str, Any]]:
        with operational(f"reading the cards of {self.store.path}"):
            dataset = self.store.dataset(lora_cards.TABLE)
            rows: list[dict[str, Any]] = dataset.to_table(columns=list(columns), filter=condition).to_pylist()
        return rows

    def _load(self, condition: Any) -> LoraCard | None:
        rows: Iterable[dict[str, Any]] = self._rows(["number", "version", "sha256", "card"], condition)
        newest = max(rows, key=lambda row: row["number"], default=None)
        if newest is None:
            return None
        try:
            card = card_from_bytes(newest["card"])
        except Error as error:
            raise OperationalError(f"the card {newest['version']} is damaged ({error}); {_REMEDY}") from error
        if card.sha256 != newest["sha256"]:
            raise OperationalError(
                f"the card {newest['version']} is damaged (it is {card.version}); {_REMEDY}"
            )
        return card


def packed(delta: Delta) -> bytes:
    """Return a delta as it is stored beside the hashes of its versions."""
    return delta.kind.encode() + b"\n" + delta.body


def unpacked(content: bytes, base: str, result: str) -> Delta:
    """Return the delta that `packed` was given."""
    kind, _, body = content.partition(b"\n")
    return Delta(kind.decode(), base, result, body)


def _describe(  # noqa: PLR0917 - the row's columns
    card: LoraCard,
    number: int,
    origin: str,
    parent: str | None,
    agent: str | None,
    base_model: str | None,
    samples: int,
) -> CardVersion:
    return CardVersion(
        card_id=f"{card.name}/{number}",
        name=card.name,
        number=number,
        version=card.version,
        sha256=card.sha256,
        parent_sha256=parent,
        origin=origin,
        agent=agent,
        base_model=base_model,
        rank=card.rank,
        alpha=card.alpha,
        target_modules=list(card.target_modules),
        parameters=card.parameters,
        bytes=card.nbytes,
        samples=samples,
        created_at=datetime.now(timezone.utc),
        metadata=json.dumps(dict(card.metadata)),
    )

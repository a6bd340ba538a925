"""`Joint`: the joint space of one database, which memories are put into and questions are asked in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import lance
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from aios_db.joint.encoders import Encoders
from aios_db.joint.media import media_type_of, tried
from aios_db.joint.reads import MediaReads, key_of
from aios_db.schema.errors import DataError, Error, ModelNotFoundError, ProgrammingError
from aios_db.schema.modalities import BITS, version_number
from aios_db.security.restrictions import Restrictions

if TYPE_CHECKING:
    from aios_db.engine.fusion.joint_space import JointSpace
    from aios_db.models.versions import WeightVersions

log = logging.getLogger("aios_db.joint")

SPACE = "joint"
COLUMNS = ("joint_embedding", "joint_hubness", "joint_weight_version")
_AT_ONCE = 256  # memories whose media are read at a time
Given = bytes | str | None
"""The bytes of a file, a path or a URI."""


class _Store(Protocol):
    """What is asked of the store."""

    @property
    def restrictions(self) -> Restrictions:
        """What may be read besides the database."""
        ...


@dataclass(frozen=True)
class Active:
    """The space in use and its weight version."""

    space: JointSpace
    version: str


class Joint:
    """The joint space of one open database; safe to use from several threads.

    Parameters
    ----------
    store
        Whose restrictions hold.
    encoders
        What makes features.
    versions
        Finds the weights of the active version.
    table
        Returns the newest `weight_versions`, or None where it cannot be read.
    reads
        What writers have read of the files that memories name.
    """

    def __init__(
        self,
        store: _Store,
        encoders: Encoders,
        versions: WeightVersions,
        table: Callable[[], lance.LanceDataset | None],
        reads: MediaReads,
    ) -> None:
        self.encoders = encoders
        self._reads = reads
        self._told_of: str | None = None
        self._store, self._versions, self._table = store, versions, table
        self._lock = threading.Lock()
        self._seen = -1
        self._active: Active | None = None

    def usable(self) -> Active | None:
        """Return the space in use; None, and logged once, where its weights are lost: words do without it."""
        try:
            return self.active()
        except Error as error:
            if str(error) != self._told_of:
                self._told_of = str(error)
                log.warning("words are used alone: %s", error, extra={"event": "joint_space_lost"})
            return None

    def note_files(self, rows: pa.Table) -> None:
        """Read the files that written memories name, as far as their writer may, and note what they hold.

        Only what was noted is put into a space, then and later, see `aios_db.joint.reads`.
        """
        if rows["media_uri"].null_count == rows["audio_uri"].null_count == len(rows):
            return
        users, agents = rows["user_id"].to_pylist(), rows["agent_id"].to_pylist()
        items = _items_of(rows)
        self._reads.note(
            key_of(users[place], agents[place], given, content)
            for modality in ("image", "audio")
            for given, _, place in items[modality]
            if isinstance(given, str) and isinstance(content := tried(given, self._store.restrictions), bytes)
        )

    def active(self) -> Active | None:
        """Return the space in use; None where none was fitted.

        Raises
        ------
        ModelNotFoundError
            Its weights are not on this machine, or damaged.
        """
        table = self._table()
        if table is None:
            return None
        with self._lock:
            if table.version != self._seen:
                rows = table.to_table(columns=["version", "path"], filter=f"space = '{SPACE}' AND is_active")
                version = rows["version"][0].as_py() if len(rows) else None
                if version is None:
                    self._active = None
                elif self._active is None or self._active.version != version:
                    self._active = self._load(version, rows["path"][0].as_py())
                self._seen = table.version
            return self._active

    def complete(self, rows: pa.Table, wanted: NDArray[np.bool_]) -> pa.Table:
        """Return rows, as from `rows.normalise`, with a joint vector for each that is wanted and has none.

        A medium that cannot be read is logged and left out; its memory has the rest.
        """
        active = self.usable()
        if active is None:
            return rows
        made = pc.fill_null(pc.equal(rows["joint_weight_version"], active.version), False)
        missing = np.flatnonzero(wanted & ~made.to_numpy())
        if not len(missing):
            return rows
        columns = {name: rows[name].to_pylist() for name in COLUMNS}
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            for place, values in zip(
                some.tolist(), self.vectors(rows.take(pa.array(some)), active), strict=True
            ):
                for name, value in zip(COLUMNS, values, strict=True):
                    columns[name][place] = value
        for name, values in columns.items():
            place = rows.schema.get_field_index(name)
            rows = rows.set_column(place, name, pa.array(values, rows.schema.field(name).type))
        return rows

    def vectors(
        self, rows: pa.Table, active: Active
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32], str] | tuple[None, None, None]]:
        """Return vector, hubness and version of each memory; None where the space knows no part of it."""
        parts = self._parts(rows, active)
        sets = [active.space.bits(each) for each in parts]
        vectors = active.space.embed(parts)
        hubness = active.space.hubness(vectors, sets)
        return [
            (vector, near, active.version) if bits else (None, None, None)
            for vector, near, bits in zip(vectors, hubness, sets, strict=True)
        ]

    def encode(self, modality: str, items: Sequence[Given]) -> list[NDArray[np.float32] | None]:
        """Return unit vectors of sounds or pictures by the model of the configuration; None for None.

        Raises
        ------
        DataError
            No item can be read; where some can, the others are None, and logged.
        """
        return self._told(
            modality, items, self.encoders.own(self.encoders.of(modality), self._read_distinct(items))
        )

    def encode_with(self, name: str, items: Sequence[Given]) -> list[NDArray[np.float32] | None]:
        """Return unit vectors of items by a user's encoder; None for None. See `encode`."""
        features = self.encoders.named(name)
        known: Mapping[Given, bytes | str | DataError] = self._read_distinct(items)
        if features.modality == "text":
            known = {item: item for item in items if item is not None}
        return self._told(name, items, self.encoders.own(features, known))

    def embed(
        self, texts: Sequence[str | None], images: Sequence[Given], audios: Sequence[Given]
    ) -> list[NDArray[np.float32] | None]:
        """Return the unit vector of each compound; None where nothing of it is given.

        Raises
        ------
        ProgrammingError
            No space was fitted, or an encoder is not the one that it was fitted with.
        DataError
            No item can be read; where some can, the others are None, and logged.
        """
        active = self._required()
        found = self._features(active, {"text": texts, "image": images, "audio": audios}, strict=True)
        vectors = active.space.embed(found)
        return [vector if parts else None for vector, parts in zip(vectors, found, strict=True)]

    def question(
        self, text: str | None, vector: NDArray[np.float32] | None, image: Given, audio: Given
    ) -> NDArray[np.float32] | None:
        """Return what ranks memories for a compound question, see `JointSpace.question`.

        Parameters
        ----------
        text, vector
            A text and its vector by the database's encoder.

        Returns
        -------
        NDArray[np.float32] or None
            None where only a text is given and no space was fitted: there is nothing to add. At [0, 0]
            stands the `version_number` of the space.

        Raises
        ------
        ProgrammingError, DataError
            As `embed`.
        """
        asks_media = image is not None or audio is not None
        active = self._required() if asks_media else self.usable()
        if active is None:
            return None
        parts = self._features(active, {"image": [image], "audio": [audio]}, strict=True)[0]
        if text is not None and "text" in active.space.encoders:
            if self.encoders.is_plugged("text") or vector is None:
                parts |= self._features(active, {"text": [text]}, strict=asks_media)[0]
            elif self._fits(active, "text"):
                parts["text"] = vector
        if not parts:
            return None
        question = active.space.question(parts)
        question[0, 0] = version_number(active.version)
        return question

    # Inside

    def _read_distinct(self, items: Sequence[Given]) -> dict[Given, bytes | DataError]:
        distinct = dict.fromkeys(item for item in items if item is not None)
        return {item: tried(item, self._store.restrictions) for item in distinct}

    @staticmethod
    def _told(
        what: str, items: Sequence[Given], found: Mapping[Given, NDArray[np.float32] | DataError]
    ) -> list[NDArray[np.float32] | None]:
        """Return the vector of each item, None for faults, which are logged; all of them are an error."""
        faults = [each for each in found.values() if isinstance(each, DataError)]
        if faults and len(faults) == len(found):
            raise faults[0]
        for fault in faults:
            log.warning("an item for %s cannot be read: %s", what, fault, extra={"event": "unreadable_media"})
        made = [None if item is None else found[item] for item in items]
        return [None if isinstance(each, DataError) else each for each in made]

    def _load(self, version: str, path: str) -> Active:
        from aios_db.engine.fusion.files import load_space

        try:
            space, _ = load_space(self._versions.located(version, path))
        except Error as error:
            raise ModelNotFoundError(
                f"the joint space {version} cannot be used, so that no picture or sound is found or "
                f"asks: {error}. Put its model directory, {path}, back, or fit the space again with "
                "aios fusion fit or con.fit_fusion(pairs); words are found meanwhile"
            ) from error
        return Active(space, version)

    def _required(self) -> Active:
        active = self.active()
        if active is None:
            raise ProgrammingError(
                "no joint space was fitted for this database, so that no picture or sound can ask: "
                "fit one on pairs with aios fusion fit, or con.fit_fusion(pairs)"
            )
        return active

    def _fits(self, active: Active, modality: str) -> bool:
        """Tell whether an encoder is that which the space was fitted with, or was made of it and passed."""
        wanted, used = active.space.encoders[modality], self.encoders.of(modality).version
        seen: set[str] = set()
        while used != wanted and used not in seen:
            seen.add(used)
            known = self._versions.find(used)
            if known is None or known.parent_version is None:
                return False
            used = known.parent_version
        return used == wanted

    def _check_fits(self, active: Active, modality: str) -> None:
        if not self._fits(active, modality):
            raise ProgrammingError(
                f"the joint space {active.version} was fitted with {active.space.encoders[modality]}, and "
                f"{self.encoders.of(modality).version} makes the features of {modality} now: fit it again "
                "(aios fusion fit, con.fit_fusion), or register the encoder that it was fitted with"
            )

    def _features(
        self, active: Active, given: dict[str, Sequence[Given]], *, strict: bool
    ) -> list[dict[str, NDArray[np.float32]]]:
        """Return features of each thing by modality; an error where nothing can be read."""
        count = len(next(iter(given.values())))
        found: list[dict[str, NDArray[np.float32]]] = [{} for _ in range(count)]
        faults: list[DataError] = []
        for modality, items in given.items():
            places = [place for place, item in enumerate(items) if item is not None]
            if not places:
                continue
            if modality not in active.space.encoders:
                if strict:
                    raise ProgrammingError(
                        f"the joint space {active.version} knows no {modality}: its pairs had "
                        f"{', '.join(active.space.encoders)}"
                    )
                continue
            self._check_fits(active, modality)
            given_items = [item for item in items if item is not None]
            for place, made in zip(places, self._read(modality, given_items), strict=True):
                if isinstance(made, DataError):
                    faults.append(made)
                    log.warning("%s %d cannot be read: %s", modality, place, made)
                else:
                    found[place][modality] = made
        if faults and not any(found):
            raise faults[0]
        return found

    def _parts(self, rows: pa.Table, active: Active) -> list[dict[str, NDArray[np.float32]]]:
        """Return the features of memories by modality."""
        found: list[dict[str, NDArray[np.float32]]] = [{} for _ in range(len(rows))]
        for modality, items in _items_of(rows).items():
            if modality not in active.space.encoders or not items:
                continue
            try:
                self._check_fits(active, modality)
                read: Sequence[NDArray[np.float32] | DataError | None]
                told = [vector for _, vector, _ in items]
                if modality == "text" and not self.encoders.is_plugged("text"):
                    wordy = [given for given, vector, _ in items if vector is None]
                    made_now = iter(self._read(modality, wordy) if wordy else ())
                    read = [next(made_now) if vector is None else vector for vector in told]
                elif modality == "text":
                    read = self._read(modality, [given for given, _, _ in items])
                else:
                    contents = [self._noted(rows, given, place) for given, _, place in items]
                    read = self.encoders.read(modality, contents)
            except Error as error:
                log.warning("%d memories have no %s in the joint space: %s", len(items), modality, error)
                continue
            for (given, _, place), made in zip(items, read, strict=True):
                if isinstance(made, DataError):
                    shown = given if isinstance(given, str) else f"{len(given)} bytes"
                    log.warning(
                        "the %s of row %d (%s) is not in the joint space: %s", modality, place, shown, made,
                        extra={"event": "unreadable_media", "row": place},
                    )  # fmt: skip
                elif made is not None:
                    found[place][modality] = made
        return found

    def _noted(self, rows: pa.Table, given: bytes | str, place: int) -> bytes | DataError:
        """Return the bytes of a memory's medium; of a file only what its writer read."""
        content = tried(given, self._store.restrictions)
        if isinstance(given, bytes) or isinstance(content, DataError):
            return content
        user, agent = (rows[name][place].as_py() for name in ("user_id", "agent_id"))
        if key_of(user, agent, given, content) in self._reads:
            return content
        return DataError(
            f"{given} was not read when the memory was written, or has changed since: update its "
            "media_uri or audio_uri, or give the bytes"
        )

    def _read(self, modality: str, items: Sequence[bytes | str]) -> list[NDArray[np.float32] | DataError]:
        if modality == "text":
            return self.encoders.read(modality, items)
        return self.encoders.read(modality, [tried(each, self._store.restrictions) for each in items])


def _items_of(rows: pa.Table) -> dict[str, list[tuple[bytes | str, NDArray[np.float32] | None, int]]]:
    """Return by modality what memories hold: what is given, the vector of a text, and the row."""
    from aios_db.store.embedding import text_to_embed

    found: dict[str, list[tuple[bytes | str, NDArray[np.float32] | None, int]]] = {name: [] for name in BITS}
    names = ("title", "text", "text_embedding", "media", "media_uri", "media_type", "audio", "audio_uri")
    vectors = rows["text_embedding"]
    columns = {name: rows[name].to_pylist() for name in names if name != "text_embedding"}
    for place in range(len(rows)):
        text = text_to_embed(columns["title"][place], columns["text"][place] or "")
        if vectors[place].is_valid:
            found["text"].append((text, vectors[place].values.to_numpy(), place))
        elif text.strip():  # of a compressed memory
            found["text"].append((text, None, place))
        media = columns["media"][place] or columns["media_uri"][place]
        kind = columns["media_type"][place] or media_type_of(
            columns["media"][place], columns["media_uri"][place]
        )
        modality = (kind or "").partition("/")[0]
        if media and modality in ("image", "audio"):
            found[modality].append((media, None, place))
        sound = columns["audio"][place] or columns["audio_uri"][place]
        if sound and modality != "audio":
            found["audio"].append((sound, None, place))
    return found

"""Pairs as a user gives them: rows with a text, a picture and a sound, any of which may be missing."""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from aios_db.joint.cache import FeatureCache, digest_of
from aios_db.joint.codebooks import with_codebook
from aios_db.joint.encoders import Encoders
from aios_db.joint.given import as_file
from aios_db.joint.media import Reach, tried
from aios_db.joint.reading import Reading
from aios_db.schema.errors import DataError, ProgrammingError
from aios_db.schema.homes import expanded
from aios_db.schema.modalities import MODALITIES
from aios_db.schema.progress import Progress
from aios_db.schema.regular import is_special

if TYPE_CHECKING:
    from aios_db.engine.encoders.features import Features
    from aios_db.engine.fusion.pairs import Pairs, Rows

log = logging.getLogger("aios_db.joint")

COLUMNS = (*MODALITIES, "group")
LONGEST = 8_192
"""Characters of a text that are fitted: as many as `recall` embeds of a question."""
_AT_ONCE = 64

Owned = tuple[bytes | str, int]
"""A text, a file's bytes or what names it, and the item that it is of."""


@dataclass
class Item:
    """A thing with its texts, its picture and its sound, where they are given."""

    texts: list[str] = field(default_factory=list)
    image: bytes | str | None = None
    audio: bytes | str | None = None
    group: Hashable = None


def items_of(pairs: Any, directory: Path | None = None) -> list[Item]:
    """Return the items in rows; rows with one picture and one sound are one item with several texts.

    Parameters
    ----------
    pairs
        A Parquet file, an Arrow table, a data frame, or mappings, with the columns ``text`` (a text or a list
        of texts), ``image`` and ``audio`` (bytes, or paths), and perhaps ``group``: items of one group are
        never tried out on a fit of others of it, as all recordings of a speaker. Of a text the first
        `LONGEST` characters are fitted.
    directory
        What paths are relative to; that of the Parquet file.

    Raises
    ------
    ProgrammingError
        There is another column, or none of two modalities.
    DataError
        The file cannot be read, or a column holds something else.
    """
    if isinstance(pairs, str | Path):
        directory = Path(pairs).parent
    rows = _rows(pairs)
    if not rows:
        raise DataError(f"there are no pairs, not one row; give rows with {', '.join(COLUMNS)}")
    names = set().union(*rows)
    unknown = sorted(names - set(COLUMNS))
    if unknown:
        raise ProgrammingError(f"pairs have no column {unknown[0]!r}; there are {', '.join(COLUMNS)}")
    if len(names & set(MODALITIES)) < 2:
        raise ProgrammingError(f"pairs need two of the columns {', '.join(MODALITIES)}")
    found: dict[object, Item] = {}
    for number, row in enumerate(rows):
        media = {name: _medium(row.get(name), name, number, directory) for name in ("image", "audio")}
        key = tuple(media.values()) if any(media.values()) else number
        group = _group(row.get("group"), number)
        item = found.setdefault(key, Item(image=media["image"], audio=media["audio"], group=group))
        item.texts += [each for each in _texts(row.get("text"), number) if each not in item.texts]
    return list(found.values())


def features_of(
    items: Sequence[Item], encoders: Encoders, reach: Reach, cache: Path | None, progress: Progress
) -> tuple[Pairs, dict[str, Features], list[str]]:
    """Return the features of pairs, what made them, and what could not be read.

    Modalities are run side by side, since most encoders run on few cores. Where one fails, or the caller is
    interrupted, the others stop after what they are at.
    """
    from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait

    from aios_db.engine.backends.threads import SideBySide
    from aios_db.engine.fusion.pairs import Pairs

    given: dict[str, list[Owned]] = {
        "text": [(text, place) for place, item in enumerate(items) for text in item.texts],
        "image": [(item.image, place) for place, item in enumerate(items) if item.image is not None],
        "audio": [(item.audio, place) for place, item in enumerate(items) if item.audio is not None],
    }
    faults: list[str] = []
    stopped = threading.Event()

    def told(doing: str, done: int, total: int) -> None:
        if stopped.is_set():
            raise CancelledError
        progress(doing, done, total)

    makers: dict[str, Features] = {name: encoders.of(name) for name, files in given.items() if files}
    reading = Reading(encoders, reach, cache, told, SideBySide(len(makers)))

    def read(name: str) -> Rows:
        with reading.cores.one():
            makers[name] = maker = _told_by_own(makers[name], given[name], reading)
            return _rows_of(maker, given[name], reading, faults)

    with ThreadPoolExecutor(len(makers) or 1) as pool:
        try:
            begun = {name: pool.submit(read, name) for name in makers}
            for each in wait(begun.values(), return_when=FIRST_EXCEPTION).done:
                each.result()
        finally:
            stopped.set()
    rows = {name: each.result() for name, each in begun.items()}
    classes = _numbered([tuple(item.texts) or place for place, item in enumerate(items)])
    groups = _numbered(
        [place if item.group is None else ("group", item.group) for place, item in enumerate(items)]
    )
    return (
        Pairs({name: each for name, each in rows.items() if len(each.items)}, classes, groups),
        makers,
        faults,
    )


def _told_by_own(maker: Features, given: Sequence[Owned], reading: Reading) -> Features:
    """Return what makes features; sounds are told by a codebook of their own."""
    from aios_db.engine.encoders.features import SoundFeatures

    if not isinstance(maker, SoundFeatures):
        return maker
    return with_codebook(maker, [file for file, _ in given], reading)


def _rows_of(maker: Features, given: Sequence[Owned], reading: Reading, faults: list[str]) -> Rows:
    """Return the features of what can be read of one modality, and add to the faults what cannot."""
    from aios_db.engine.encoders.features import RECIPE, SoundFeatures
    from aios_db.engine.fusion.pairs import Rows

    cache, name = reading.cache, maker.modality
    known = FeatureCache(cache, f"{maker.key}-{RECIPE}") if cache is not None else None
    features, owners = [], []
    for made, owner in _read(maker, given, reading, known):
        if isinstance(made, DataError):
            faults.append(f"{name} of item {owner}: {made}")
            log.warning("the %s of item %d is left out: %s", name, owner, made)
        else:
            features.append(made)
            owners.append(owner)
    width = len(features[0]) if features else 0
    stacked = np.stack(features) if features else np.empty((0, width), np.float32)
    parts = maker.parts if isinstance(maker, SoundFeatures) else ()
    return Rows(stacked.astype(np.float32), np.array(owners, np.int64), parts)


def _read(
    features: Features,
    given: Sequence[Owned],
    reading: Reading,
    cache: FeatureCache | None,
) -> Iterator[tuple[Any, int]]:
    """Yield the features of each item, or what is wrong with it, and whose they are."""
    name = features.modality
    for start in range(0, len(given), _AT_ONCE):
        some = given[start : start + _AT_ONCE]
        read = [each if name == "text" else tried(each, reading.reach) for each, _ in some]
        digests = [None if isinstance(each, DataError) else digest_of(each) for each in read]
        found = [cache.get(digest) if cache and digest else None for digest in digests]
        places = [place for place, each in enumerate(found) if each is None]
        with reading.cores.part():
            made = reading.encoders.read(features, [read[place] for place in places])
        new = [
            (place, each) for place, each in zip(places, made, strict=True) if not isinstance(each, DataError)
        ]
        if cache is not None:
            cache.add([digests[place] or b"" for place, _ in new], [each for _, each in new])
        answers = dict(zip(places, made, strict=True))
        for place, (_, owner) in enumerate(some):
            yield answers.get(place, found[place]), owner
        reading.progress(f"{name} of pairs", min(start + _AT_ONCE, len(given)), len(given))


def _numbered(keys: Sequence[object]) -> np.ndarray[Any, np.dtype[np.int64]]:
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)


def _rows(pairs: Any) -> list[Mapping[str, Any]]:
    try:
        if isinstance(pairs, str | Path):
            import pyarrow.parquet as pq

            if is_special(pairs):
                raise DataError(
                    f"the pairs cannot be read: {pairs} is a pipe or a device, and no Parquet file"
                )
            with pq.ParquetFile(pairs) as file:  # read_table would take columns from the names of folders
                pairs = file.read()
        if hasattr(pairs, "iloc") and hasattr(pairs, "columns"):
            pairs = pa.Table.from_pandas(pairs, preserve_index=False)
        elif hasattr(pairs, "__arrow_c_stream__"):
            pairs = pa.table(pairs)
        if isinstance(pairs, pa.Table):
            _check_distinct(pairs.column_names)
        found = pairs.to_pylist() if isinstance(pairs, pa.Table) else list(pairs)
    except (pa.ArrowException, OSError, TypeError) as error:
        raise DataError(f"the pairs cannot be read: {error}") from error
    for number, row in enumerate(found):
        if not isinstance(row, Mapping):
            raise DataError(
                f"row {number} is a {type(row).__name__}; give mappings with {', '.join(COLUMNS)}"
            )
    return found


def _check_distinct(names: Sequence[str]) -> None:
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        raise ProgrammingError(f"pairs have the column {twice[0]!r} twice; leave one out")


def _group(value: Any, number: int) -> Hashable:
    if not isinstance(value, Hashable):
        raise DataError(f"row {number}: group is {value!r:.80}; give a text or a number")
    return value


def _texts(value: Any, number: int) -> list[str]:
    several = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    texts = [each for each in (value if several else [value]) if each is not None]
    if not all(isinstance(each, str) for each in texts):
        raise DataError(f"row {number}: text is {value!r:.80}; give a text, or a list of texts")
    return [cut for each in texts if (cut := each[:LONGEST]).strip()]


def _medium(value: Any, name: str, number: int, directory: Path | None) -> bytes | str | None:
    if value is None or isinstance(value, bytes):  # one that is empty is left out, and told
        return value
    try:
        given = as_file(value, name)
    except DataError as error:
        raise DataError(f"row {number}: {error}") from error
    if not isinstance(given, str):
        return given
    local = "://" not in given and directory is not None and not expanded(given).is_absolute()
    return str(directory / given) if local and directory is not None else given

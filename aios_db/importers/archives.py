"""Zip archives: their files are read like those of a folder, within limits."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from aios_db.importers.base import Source, UnreadableError, first_line
from aios_db.schema.amounts import amount

MOST_FILES = 20_000
MOST_BYTES = 4 << 30
MOST_RATIO = 200
"""Bytes out of one byte; more, beyond `FREE_BYTES`, is a bomb and no text."""
FREE_BYTES = 16 << 20
DEEPEST = 3
_CHUNK = 1 << 18


def is_archive(source: Source) -> bool:
    """Return whether a file is an archive whose files are to be imported."""
    return source.suffix == ".zip"


@contextmanager
def unpacked(source: Source, depth: int) -> Iterator[Path]:
    """Unpack an archive into a folder that is there inside the ``with``.

    Raises
    ------
    UnreadableError
        When it is damaged, encrypted or larger than the limits, or would write outside of the folder.
    """
    if depth > DEEPEST:
        raise UnreadableError(source.name, f"is an archive in an archive, more than {DEEPEST} deep")
    with TemporaryDirectory(prefix="aios-import-") as folder:
        try:
            with zipfile.ZipFile(source.path) as archive:
                _unpack(archive, Path(folder), source)
        except UnreadableError:
            raise
        except (
            zipfile.BadZipFile,
            zipfile.LargeZipFile,
            NotImplementedError,
            RuntimeError,
            EOFError,
        ) as error:
            raise UnreadableError(
                source.name, f"is not an archive that can be read: {first_line(error)}"
            ) from None
        except (ValueError, OSError, UnicodeError) as error:
            raise UnreadableError(source.name, f"cannot be unpacked: {first_line(error)}") from None
        except Exception as error:  # zlib.error, lzma.LZMAError: whatever a decompressor says of damaged data
            raise UnreadableError(source.name, f"is damaged: {first_line(error)}") from None
        yield Path(folder)


def _unpack(archive: zipfile.ZipFile, folder: Path, source: Source) -> None:
    members = [each for each in archive.infolist() if not each.is_dir()]
    if len(members) > MOST_FILES:
        raise UnreadableError(source.name, f"holds {amount(len(members), 'file')}, more than {MOST_FILES}")
    packed = max(1, source.path.stat().st_size)
    total = 0
    for member in members:
        if stat.S_ISLNK(member.external_attr >> 16) or "__MACOSX" in member.filename:
            continue
        path = folder.joinpath(*_parts(member.filename, source))
        if path.exists():
            raise UnreadableError(source.name, f"holds {member.filename!r} twice")
        path.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as packed_file, path.open("xb") as out:
            while chunk := packed_file.read(_CHUNK):
                total += len(chunk)
                if total > MOST_BYTES:
                    raise UnreadableError(source.name, f"unpacks to more than {MOST_BYTES >> 30} GiB")
                if total > max(FREE_BYTES, MOST_RATIO * packed):
                    raise UnreadableError(source.name, f"unpacks to more than {MOST_RATIO} times its size")
                out.write(chunk)


def _parts(name: str, source: Source) -> tuple[str, ...]:
    path = PurePosixPath(name.replace("\\", "/"))
    parts = path.parts
    if path.is_absolute() or ".." in parts or not parts or ":" in parts[0] or "\0" in name:
        raise UnreadableError(source.name, f"holds {name!r}, a path that leads out of it")
    return parts

"""What is measured: the suites, what a user may choose of them, and their comparisons."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from aios_db.benchmarking import end_to_end, operators
from aios_db.benchmarking.measuring import Comparison
from aios_db.encoder import text_model_directory
from aios_db.schema.config import Config
from aios_db.schema.errors import DataError

SUITES = ("operators", "encode", "database", "sync")


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes
    ----------
    compare
        Ways to encode: names of `end_to_end.STRATEGIES`, or installed models, such as an INT2 version.
    texts
        Files with a text per line; by default the built-in sentences.
    batch, length
        Texts of a call, and tokens of the operators' texts.
    rows
        Memories of the database.
    rounds
        How often each strategy runs.
    memory
        Whether each strategy runs once more, in a process of its own, whose memory is measured.
    """

    suites: tuple[str, ...] = SUITES
    compare: tuple[str, ...] = ("standard", "compile", "openvino", "int8", "auto")
    texts: tuple[str, ...] = ()
    batch: int = 64
    length: int = 32
    rows: int = 2000
    rounds: int = 7
    memory: bool = True


def comparisons(
    suite: str, options: Options, config: Config, place: Path, stack: ExitStack
) -> Generator[Comparison]:
    """Yield the comparisons of a suite, which are made one after the other as they are come to.

    Parameters
    ----------
    place
        A directory for databases.
    stack
        Takes what is to be closed at the end.
    """
    if suite == "operators":
        yield from operators.comparisons(options.batch, options.length)
        return
    texts = read_texts(options.texts, options.batch)
    if suite == "encode":
        yield from end_to_end.encoding(config, options.compare, texts, stack)
    elif suite == "database":
        yield from end_to_end.databases(config, texts, options.rows, place)
    else:
        yield from end_to_end.syncing(config, place)


def check(options: Options, config: Config) -> None:
    """Make the text model ready and read the texts, before minutes are spent on what needs neither.

    Raises
    ------
    DataError, ModelNotFoundError
        Files have no texts, or are none of UTF-8; the model is not installed.
    """
    if set(options.suites) != {"operators"}:
        read_texts(options.texts, 1)
        text_model_directory(config.engine)


def read_texts(files: Sequence[str], count: int) -> list[str]:
    """Return ``count`` texts of files, repeated where there are fewer; without files the built-in ones.

    Raises
    ------
    DataError
        There are none, or a file is not UTF-8.
    """
    from aios_db.engine.backends.sample import sample_sentences

    if files:
        try:
            lines = [line.strip() for name in files for line in Path(name).read_text("utf-8").splitlines()]
        except UnicodeDecodeError as error:
            raise DataError(f"the texts are not UTF-8, in {', '.join(files)}: {error}") from error
        found = [line for line in lines if line]
    else:
        found = [each for part in sample_sentences() for each in part]
    if not found:
        raise DataError(f"there is no text in {', '.join(files)}")
    return [found[number % len(found)] for number in range(count)]

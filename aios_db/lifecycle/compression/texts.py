"""What makes bytes of a text, and the text of these."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from aios_db.lifecycle.compression.semantic import Compressor, Reconstructor
from aios_db.schema import packed_text
from aios_db.store.opened import OpenDatabase


class Compressing:
    """Compressed texts.

    Parameters
    ----------
    database
        Has the configuration and the text encoder.
    """

    def __init__(self, database: OpenDatabase) -> None:
        self._database, self._config = database, database.config

    @contextmanager
    def compressor(self) -> Iterator[Compressor]:
        """Give what keeps of a text a summary, by the configuration's sections `compression` and `llm`."""
        from aios_db.lifecycle.writing import summariser_of

        with summariser_of(self._database) as summarise:
            yield Compressor(
                summarise, self._database.texts.encoder.encode, self._config.compression.fidelity
            )

    def compress_texts(
        self, texts: Sequence[str], *, semantic: bool = False, detail: bool = True
    ) -> list[bytes]:
        """Return texts as bytes: without loss, or as summaries, with or without what these lack.

        A language model writes summaries where one is configured, within its budget for all the texts; of
        what it cannot be used for, the text's own sentences are kept, and the log says so.

        Raises
        ------
        DataError
            A text is longer than ``storage.max_text_bytes``.
        """
        whole = [packed_text.compress(each, self._config.storage.max_text_bytes) for each in texts]
        if not semantic:
            return whole
        with self.compressor() as compressor:
            return [compressor.compress(each, detail=detail).frame for each in texts]

    def reconstruct_text(self, frame: bytes) -> str:
        """Return the text of such bytes, or its paraphrase.

        Raises
        ------
        DataError
            They are no such bytes, damaged, or of a text that is too long.
        """
        return Reconstructor(self._config.storage.max_text_bytes).reconstruct(frame)

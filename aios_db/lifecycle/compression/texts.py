"""The part of `MemoryStore` that makes bytes of a text, and the text of these."""

from __future__ import annotations

from aios_db.lifecycle.compression.semantic import Compressor, Reconstructor
from aios_db.lifecycle.evicting import Evicting
from aios_db.schema import packed_text


class Compressing(Evicting):
    """Compressed texts."""

    def compressor(self) -> Compressor:
        """Return what keeps of a text its own sentences, by the configuration's section `compression`."""
        return Compressor(
            lambda text: self.summarize([text], self.config.compression.sentences),
            self.encoder.encode,
            self.config.compression.fidelity,
        )

    def compress_text(self, text: str, *, semantic: bool = False, detail: bool = True) -> bytes:
        """Return a text as bytes: without loss, or as a summary, with or without what it lacks.

        Raises
        ------
        DataError
            The text is longer than ``storage.max_text_bytes``.
        """
        whole = packed_text.compress(text, self.config.storage.max_text_bytes)
        return self.compressor().compress(text, detail=detail).frame if semantic else whole

    def reconstruct_text(self, frame: bytes) -> str:
        """Return the text of such bytes, or its paraphrase.

        Raises
        ------
        DataError
            They are no such bytes, damaged, or of a text that is too long.
        """
        return Reconstructor(self.config.storage.max_text_bytes).reconstruct(frame)

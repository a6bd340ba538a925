"""Who writes principles: sentences of the memories themselves, or a language model that is checked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aios_db.lifecycle.extractive import quotations, summary
from aios_db.lifecycle.llm.client import Client, client_of
from aios_db.lifecycle.llm.prompt import principle_of, prompt, summary_of, summary_prompt
from aios_db.lifecycle.llm.protocol import Unusable
from aios_db.lifecycle.planning import vectors_of
from aios_db.lifecycle.principles import Cluster, Principle, Source, flat

if TYPE_CHECKING:
    from aios_db.store.opened import OpenDatabase

logger = logging.getLogger("aios_db.lifecycle")

EXTRACTIVE = "extractive"


class Writer:
    """Makes principles of clusters.

    Parameters
    ----------
    database
        Has the memories, and their encoder.
    client
        A language model; None writes none but quotations.
    """

    def __init__(self, database: OpenDatabase, client: Client | None) -> None:
        self._database, self._client = database, client
        self._sentences = database.config.consolidation.sentences
        self.model = client.model if client else EXTRACTIVE

    @property
    def input_tokens(self) -> int:
        """Tokens that the model was sent so far."""
        return self._client.usage.input_tokens if self._client else 0

    @property
    def output_tokens(self) -> int:
        """Tokens that it answered with."""
        return self._client.usage.output_tokens if self._client else 0

    def principles(self, clusters: Sequence[Cluster]) -> list[Principle]:
        """Return a principle for each cluster."""
        return [self._principle(each) for each in clusters]

    def _principle(self, cluster: Cluster) -> Principle:
        if self._client is None:
            return Principle(cluster, self._quoted(cluster), EXTRACTIVE)
        try:
            text = principle_of(self._client.ask(prompt(cluster)), cluster)
            return Principle(cluster, text, self.model)
        except Unusable as error:
            _tell_of_fallback(self.model, error, "principle", "the memories are quoted")
            return Principle(cluster, self._quoted(cluster), EXTRACTIVE, [str(error)])

    def _quoted(self, cluster: Cluster) -> str:
        sources = cluster.sources
        chosen = quotations(
            [each.said for each in sources],
            self._sentences,
            self._database.texts.encoder,
            self._vectors(sources),
        )
        lines: dict[int, list[str]] = {}
        for each in chosen:
            lines.setdefault(each.place, []).append(each.text)
        return "\n".join(quoted(sources[place], " ".join(said)) for place, said in lines.items())

    def _vectors(self, sources: Sequence[Source]) -> list[NDArray[np.float32] | None]:
        """Return the vectors of what memories say; that of one with a title is that of the title, too."""
        found = vectors_of(self._database, sources)
        return [None if each.title else vector for each, vector in zip(sources, found, strict=True)]


def _tell_of_fallback(model: str, error: Unusable, what: str, instead: str) -> None:
    logger.warning(
        "%s wrote no %s that can be used (%s); %s instead", model, what, error, instead,
        extra={"event": "llm_fallback", "model": model},
    )  # fmt: skip


def quoted(source: Source, said: str) -> str:
    """Return what a memory says, with who said it and when."""
    when = f"{source.happened_at:%Y-%m-%d}"
    speaker = flat(source.speaker or "")
    return f"{speaker}, {when}: {flat(said)}" if speaker else f"{when}: {flat(said)}"


@contextmanager
def writer_of(database: OpenDatabase) -> Iterator[Writer]:
    """Give the writer that is configured."""
    client = client_of(database.config.llm, database.path)
    try:
        yield Writer(database, client)
    finally:
        if client is not None:
            client.close()


@contextmanager
def summariser_of(database: OpenDatabase) -> Iterator[Callable[[str], str]]:
    """Give what says in fewer words what a text says: the model that is configured, or its own sentences."""
    client = client_of(database.config.llm, database.path)

    def summarise(text: str) -> str:
        if client is not None:
            try:
                return summary_of(client.ask(summary_prompt(text)), text)
            except Unusable as error:
                _tell_of_fallback(client.model, error, "summary", "the text's sentences are kept")
        return summary([text], database.config.compression.sentences, database.texts.encoder)

    try:
        yield summarise
    finally:
        if client is not None:
            client.close()

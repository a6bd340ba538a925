"""Encoders of text, sound and picture, and the joint space that is fitted over them."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import aios_db
from aios_db.engine.encoders.plugged import Modality
from aios_db.schema.errors import ProgrammingError
from aios_db.schema.progress import Progress, silent
from aios_db.session import Connected


def register_encoder(
    con: Connected,
    /,
    name: str,
    modality: Modality,
    dimension: int,
    encode: Callable[[Any], Any],
    *,
    version: str | None = None,
    size: int = 224,
    rate: int = 16_000,
    batch: int = 32,
) -> str:
    """Let a function make the features of a modality, instead of the model that the configuration names.

    It then has a SQL function, ``embed_<name>(item)``, a row in `weight_versions`, and a place in the
    joint space once one is fitted. A database keeps no code: register it again after opening, or name it
    in the configuration (``engine.image_model: "module:encoder"``).

    Parameters
    ----------
    name
        Lower case letters, digits and underscores.
    modality
        What it takes: ``text``, ``image`` or ``audio``.
    dimension
        Length of what it makes of an item, or of each of an item's tokens.
    encode
        Called with a batch: texts; pictures, uint8 ``(n, size, size, 3)`` in RGB; or sounds, a list of
        float32 ``(samples,)`` at ``rate``. Returns an array ``(n, dimension)``, or a list of n arrays
        ``(tokens, dimension)``, which are pooled to mean, deviation and maximum. Of a picture it is given
        nine views, whose mean counts.
    version
        Of its weights, in any words; by default it is known by what it makes of three samples.
    size, rate
        Pixels of a side, and samples per second, that it takes.
    batch
        Items in a call, at most.

    Returns
    -------
    str
        The weight version: ``name@`` and 12 hex digits.

    Raises
    ------
    ProgrammingError
        A value makes no sense, or the name is that of a function that there is.
    ValidationError
        It does not pass its gate: wrong shapes, NaN, or answers that depend on the batch.
    """
    from aios_db.engine.encoders.plugged import MediaEncoder
    from aios_db.udfs.registry import plugged_macro, sql_objects

    con.session.check_open()
    encoder = MediaEncoder(name, modality, dimension, encode, version, size, rate, batch)
    macro = plugged_macro(name)
    if macro.name in {each.name for each in sql_objects()}:
        raise ProgrammingError(f"register_encoder: {macro.name} is a function already; give another name")
    features = con.store.joint.encoders.register(encoder)
    for cursor in con.session.cursors.open():
        cursor.add_macro(macro)
    if not con.store.read_only:
        con.store.versions.record_plugged(features.version, modality)
        con.store.maintain_soon()
    return features.version


def fit_fusion(
    con: Connected,
    /,
    pairs: str | PathLike[str] | Any,
    *,
    name: str = "joint",
    mlp: bool = False,
    seed: int = 0,
    directory: str | PathLike[str] | None = None,
    cached: bool = True,
    progress: Progress = silent,
) -> aios_db.FusionReport:
    """Fit the joint space of text, sound and picture on pairs, and put the memories into it.

    Parameters
    ----------
    pairs
        A Parquet file, an Arrow table, a data frame, or mappings, with the columns ``text`` (a text or a
        list of texts), ``image`` and ``audio`` (bytes or paths); any may be missing in a row. Rows with
        the same picture and sound are one item. Items of one ``group``, a further column, are tried out
        together: recordings of a speaker, say, who is then somebody whom the space has never heard.
    name
        Of the model, behind which 8 digits stand.
    mlp
        Train a fusion MLP from the closed form, too. It is used where it is better on held-out pairs;
        otherwise the report says so, and the closed form stays.
    seed
        Of the folds in which strengths are chosen, and of training.
    directory
        What paths in the pairs are relative to; by default the Parquet file's.
    cached
        Keep features beside ``engine.models_dir``, so that another fit takes seconds.
    progress
        Told what is being done, and how far it is.

    Raises
    ------
    DataError
        There are too few pairs (8), or they cannot be read.
    ValidationError
        On held-out pairs nothing finds anything better than by chance; nothing is installed.
    ModelNotFoundError
        An encoder that the pairs need is not installed.
    """
    from aios_db.joint.fitting import fit_fusion

    con.session.check_writable()
    given = Path(pairs) if isinstance(pairs, str | PathLike) else pairs
    relative = None if directory is None else Path(directory)
    return fit_fusion(
        con.store,
        given,
        name=name,
        mlp=mlp,
        seed=seed,
        directory=relative,
        cached=cached,
        progress=progress,
    )

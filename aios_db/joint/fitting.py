"""`fit_fusion`: a joint space fitted on a user's pairs, gated, recorded as a version, and put to use."""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from aios_db.disk.failures import operational
from aios_db.disk.lease import lease
from aios_db.engine.fusion.fitting import FEWEST
from aios_db.engine.fusion.measuring import Recall
from aios_db.engine.fusion.refining import Trial
from aios_db.engine.fusion.relating import Relation
from aios_db.engine.weights.building import building
from aios_db.joint.clip import NAME as CLIP
from aios_db.joint.codebooks import codebooks_of
from aios_db.joint.pairs import Item, features_of, items_of
from aios_db.joint.reembedding import JointReembedding
from aios_db.joint.usable import Active
from aios_db.schema.advice import NO_MODELS
from aios_db.schema.amounts import amount
from aios_db.schema.database import JOINT_REEMBEDDING
from aios_db.schema.errors import DataError, ProgrammingError, ReadOnlyError, ValidationError
from aios_db.schema.homes import expanded
from aios_db.schema.modalities import MODALITIES
from aios_db.schema.progress import Progress, silent

if TYPE_CHECKING:
    from aios_db.engine.fusion.fitting import Fitted
    from aios_db.engine.fusion.pairs import Pairs
    from aios_db.memory_store import MemoryStore
    from aios_db.models.versions import WeightVersion

log = logging.getLogger("aios_db.joint")

FEATURES = "features"
_SHOWN = 10  # of what is left out


@dataclass(frozen=True)
class FusionReport:
    """What a fit found.

    Attributes
    ----------
    version
        The weight version of the space.
    path
        Its model directory.
    items
        Pairs that were given.
    encoders
        By modality, the weight version that made the features.
    recalls
        On pairs that were held out in turn from fits like this one.
    relations
        How well each modality and the text find each other on such pairs, against chance.
    trial
        What the fusion MLP found of such pairs beside the closed form, and whether it is used; None where it
        was not asked for, or there are too few pairs.
    faults
        What could not be read, and was left out.
    memories
        How many were put into the space.
    seconds
        That it took, by step.
    """

    version: str
    path: str
    items: int
    encoders: dict[str, str]
    recalls: tuple[Recall, ...]
    relations: tuple[Relation, ...]
    trial: Trial | None
    faults: tuple[str, ...]
    memories: int
    seconds: dict[str, float]

    def __str__(self) -> str:
        counted = f"{self.version}: {amount(self.items, 'item')}, {amount(self.memories, 'memory')}"
        telling = [each for each in self.recalls if each.chance < 1]
        trial = [] if self.trial is None else [str(self.trial)]
        left_out = [f"left out: {each}" for each in self.faults[:_SHOWN]]
        if len(self.faults) > _SHOWN:
            left_out.append(f"left out: {len(self.faults) - _SHOWN} more, of {len(self.faults)}; see faults")
        return "\n".join([counted, *map(str, (*telling, *self.relations)), *trial, *left_out])


def fit_fusion(
    store: MemoryStore,
    pairs: Any,
    *,
    name: str = "joint",
    mlp: bool = False,
    seed: int = 0,
    directory: Path | None = None,
    cached: bool = True,
    progress: Progress = silent,
) -> FusionReport:
    """Fit a joint space, install and activate it, and put the memories into it.

    Interrupted, the space before stays in use; features that were made are kept for the next time.

    Parameters
    ----------
    store
        Open for writing.
    pairs, directory
        See `pairs.items_of`.
    name
        The model's name; 8 digits of its digest stand behind it.
    mlp
        Train a fusion MLP from the closed form, too; it is used where it is better on held-out pairs.
    seed
        Of the folds in which strengths are chosen, and of training.
    cached
        Keep features beside ``engine.models_dir``, and use those that are kept.
    progress
        Told what is being done, and how far it is.

    Raises
    ------
    DataError
        There are too few pairs, or too few of them can be read.
    ValidationError
        On pairs that were held out, a modality and the text find each other no better than by chance; nothing
        is installed.
    ReadOnlyError
        The database is open for reading.
    """
    from numpy.linalg import LinAlgError

    from aios_db.engine.fusion.files import load_space, place_space
    from aios_db.engine.fusion.fitting import fit

    _check_asked(name, seed)
    store.scope.refuse("fit_fusion")
    if store.read_only:
        raise ReadOnlyError(f"{store.path} is open read-only: no space can be fitted for it")
    seconds, start = {}, time.perf_counter()
    models = expanded(store.config.engine.models_dir)
    items = items_of(pairs, directory)
    with operational(_writing(models), refused=NO_MODELS), building(models / name):
        pass  # a disk that refuses it does so before minutes of work
    cache = models.parent / FEATURES if cached else None
    features, makers, faults = features_of(items, store.joint.encoders, store.restrictions, cache, progress)
    _refuse_unread(items, features, faults)
    encoders = {modality: maker.version for modality, maker in makers.items()}
    seconds["features"] = time.perf_counter() - start
    start = time.perf_counter()
    try:
        fitted = fit(features, encoders, mlp=mlp, seed=seed, progress=progress)
    except LinAlgError as error:
        raise DataError(
            f"the pairs cannot be fitted, as where all texts are the same ({error}); give pairs that differ"
        ) from error
    seconds["fit"] = time.perf_counter() - start
    _refuse_strangers(fitted)
    faults += _too_few(features, fitted)
    start = time.perf_counter()
    told = {**_told(fitted), "items": len(items), "faults": faults, "seed": seed}
    space = replace(fitted.space, codebooks=codebooks_of(makers, fitted.space.encoders))
    with operational(_writing(models), refused=NO_MODELS):
        path = place_space(space, models, name, told)
    version = store.versions.install(path)
    store.versions.record_fit(_report_row(version, fitted, told))
    active = Active(load_space(Path(version.path))[0], version.version)
    with lease(store.path / JOINT_REEMBEDDING):
        count = JointReembedding(store.database, store.replace_vectors, active, again=True).run(
            progress, lambda: store.versions.set_active(version.version)
        )
    store.refresh()
    seconds["memories"] = time.perf_counter() - start
    log.info("fitted %s on %s", version.version, amount(len(items), "item"), extra={"seconds": seconds})
    return FusionReport(
        version=version.version,
        path=version.path,
        items=len(items),
        encoders=encoders,
        recalls=fitted.recalls,
        relations=fitted.relations,
        trial=fitted.trial,
        faults=tuple(faults),
        memories=count,
        seconds=seconds,
    )


def _check_asked(name: str, seed: int) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ProgrammingError(f"seed is {seed!r}; give a whole number from 0")
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ProgrammingError(f"a joint space cannot be called {name!r}: give letters, digits, - and _")
    if name == CLIP:
        raise ProgrammingError(f"{name!r} is the name of CLIP's own space: give another")


def _writing(models: Path) -> str:
    return f"writing the joint space into {models}"


def _told(fitted: Fitted) -> dict[str, Any]:
    """Return what a fit found, as JSON has it."""
    return {
        "recalls": [asdict(each) for each in fitted.recalls],
        "relations": [asdict(each) for each in fitted.relations],
        "mlp": None if fitted.trial is None else asdict(fitted.trial),
        "strengths": {modality: asdict(each) for modality, each in fitted.strengths.items()},
    }


def _refuse_unread(items: Sequence[Item], pairs: Pairs, faults: Sequence[str]) -> None:
    """Refuse pairs of which enough have a modality, and too few of these could be read.

    What is in use may know that modality, and a space without it would take its place.
    """
    for name in MODALITIES:
        given = sum(bool(each.texts) if name == "text" else getattr(each, name) is not None for each in items)
        read = len(np.unique(pairs.rows[name].items)) if name in pairs.rows else 0
        if read < FEWEST <= given:
            first = next(each for each in faults if each.startswith(f"{name} of "))
            raise DataError(
                f"of {amount(given, 'pair')} with {name}, {read} can be read, and {FEWEST} are needed; "
                f"nothing is installed. Put that right, or leave the column out. The first is {first}"
            )


def _too_few(pairs: Pairs, fitted: Fitted) -> list[str]:
    """Return which modalities are left out as too few pairs have them; each is logged."""
    found = []
    for name in (each for each in pairs.modalities if each not in fitted.space.encoders):
        count = len(set(pairs.rows[name].items.tolist()) & set(pairs.rows[pairs.pivot].items.tolist()))
        paired = amount(count, "pair")
        found.append(f"{name}, in {paired} with a {pairs.pivot}, of {FEWEST} that are needed")
        log.warning("left out: %s", found[-1])
    return found


def _refuse_strangers(fitted: Fitted) -> None:
    """Refuse a space in which a modality and the pivot find each other no better than by chance."""
    strangers = [each for each in fitted.relations if each.is_by_chance]
    if strangers:
        names = ", ".join(each.modality for each in strangers)
        raise ValidationError(
            f"the pairs do not fit together, nothing is installed: {'; '.join(map(str, strangers))}. Look "
            f"whether each row has the {names} that belongs to its {strangers[0].pivot}, give more pairs, or "
            "leave that column out"
        )
    for name in sorted(fitted.space.encoders.keys() - {each.modality for each in fitted.relations}):
        if name != next(iter(fitted.space.encoders)):
            log.warning("too few pairs have %s to tell whether they belong together", name)


def _report_row(version: WeightVersion, fitted: Fitted, told: dict[str, Any]) -> dict[str, Any]:
    at_10 = [each.value for each in fitted.recalls if each.k == 10]
    return {
        "report_id": str(uuid.uuid4()),
        "version": version.version,
        "original_version": "",
        "sha256": version.sha256,
        "created_at": datetime.now(timezone.utc),
        "passed": True,
        "inputs": told["items"],
        "recall_at_10": sum(at_10) / len(at_10) if at_10 else None,
        "failures": [],
        "warnings": list(told["faults"]),
        "report": json.dumps(told),
    }

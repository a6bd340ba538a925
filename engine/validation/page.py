"""The validation report as one self-contained HTML page; the plots are inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aios_db.engine.catalog.report import LayerError, ValidationReport

_WIDTH, _HEIGHT = 440, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 12, 12, 44  # margins of a plot
_MAX_DOTS = 1500
_BINS = 40


def render(report: ValidationReport, cosines: NDArray[Any], similarities: NDArray[Any]) -> str:
    """Return the page.

    Parameters
    ----------
    cosines
        Of each text's vectors before and after, ``(n,)``; empty for language models.
    similarities
        Of each pair of texts, before and after, ``(2, m)``.
    """
    template = resources.files("aios_db.engine.validation").joinpath("page.html").read_text(encoding="utf-8")
    plots = []
    if len(cosines):
        plots += [
            _figure("Cosine to the original, of each text", _histogram(cosines, report.min_cosine)),
            _figure("Similarity of two texts, before and after", _scatter(similarities)),
        ]
    return Template(template).substitute(
        title=escape(f"Validation of {report.candidate.version}"),
        verdict="passed" if report.passed else "refused",
        notes="".join(f"<p class='note'>{escape(note)}</p>" for note in (*report.failures, *report.warnings)),
        measures=_rows(_measures(report)),
        subjects=_rows(_subjects(report)),
        plots="".join(plots),
        layers=_layers(report.layers),
        footer=escape(f"report {report.report_id}, {report.created_at}"),
    )


def _measures(report: ValidationReport) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("", "measured", "demanded")]
    if vectors := report.vectors:
        rows += [
            ("cosine, mean", f"{vectors.cosine_mean:.4f}", f"at least {report.min_cosine:g}"),
            ("cosine, 5th percentile", f"{vectors.cosine_p5:.4f}", ""),
            ("cosine, least", f"{vectors.cosine_min:.4f}", ""),
            ("rank correlation of similarities (Spearman)", f"{vectors.spearman:.4f}", ""),
            ("ten nearest neighbours kept (recall@10)", f"{vectors.recall_at_10:.3f}", ""),
        ]
    if perplexity := report.perplexity:
        rows += [
            ("perplexity, original", f"{perplexity.original:.3f}", ""),
            ("perplexity, candidate", f"{perplexity.candidate:.3f}", ""),
            (
                "rise of perplexity", f"{perplexity.increase:+.2%}",
                f"warning above {report.max_perplexity_increase:.0%}",
            ),
        ]  # fmt: skip
    if report.texts_given or report.texts_bundled:
        texts = f"{report.texts_given} of the user's, {report.texts_bundled} bundled"
        return [*rows, ("texts, none of them open to calibration", texts, "")]
    if report.files:
        return [*rows, ("files, none of them open to calibration", str(report.files), "")]
    return [*rows, ("inputs, made of seeded noise", str(vectors.count if vectors else 0), "")]


def _subjects(report: ValidationReport) -> list[Sequence[str]]:
    before, after = report.original, report.candidate
    return [
        ("", "original", "candidate"),
        ("version", before.version, after.version),
        ("file", f"{before.bytes / 1e6:.2f} MB", f"{after.bytes / 1e6:.2f} MB"),
        (
            "bits per weight, scales included",
            f"{before.bits_per_weight:.2f}", f"{after.bits_per_weight:.2f}",
        ),
        ("computed by", "cpu standard/fp32", report.arithmetic),
        ("SHA-256", before.sha256, after.sha256),
    ]  # fmt: skip


def _rows(rows: list[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}</tr>"
        for row in rows[1:]
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _figure(caption: str, drawing: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{drawing}</figure>"


def _histogram(values: NDArray[Any], threshold: float) -> str:
    low = min(float(values.min()), threshold) - 0.002
    counts, edges = np.histogram(values, bins=_BINS, range=(low, 1.0))
    x, y = _scale(low, 1.0, _LEFT, _WIDTH - _RIGHT), _scale(0, counts.max(), _HEIGHT - _BOTTOM, _TOP)
    bars = "".join(
        f"<rect class='bar' x='{x(left):.1f}' width='{max(x(right) - x(left) - 1, 0.5):.1f}' "
        f"y='{y(count):.1f}' height='{y(0) - y(count):.1f}'/>"
        for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True)
        if count
    )
    line = (
        f"<line class='limit' x1='{x(threshold):.1f}' x2='{x(threshold):.1f}' y1='{_TOP}' y2='{y(0):.1f}'/>"
    )
    return _plot(bars + line, (low, 1.0), (0, float(counts.max())), "cosine", "texts")


def _scatter(pairs: NDArray[Any]) -> str:
    if pairs.shape[1] > _MAX_DOTS:
        pairs = pairs[:, np.linspace(0, pairs.shape[1] - 1, _MAX_DOTS).astype(int)]
    low, high = (float(pairs.min()), float(pairs.max())) if pairs.size else (0.0, 1.0)
    high = max(high, low + 1e-3)
    x, y = _scale(low, high, _LEFT, _WIDTH - _RIGHT), _scale(low, high, _HEIGHT - _BOTTOM, _TOP)
    line = f"<line class='limit' x1='{x(low)}' y1='{y(low)}' x2='{x(high)}' y2='{y(high)}'/>"
    dots = "".join(
        f"<circle class='dot' cx='{x(before):.1f}' cy='{y(after):.1f}' r='1.6'/>" for before, after in pairs.T
    )
    return _plot(line + dots, (low, high), (low, high), "before", "after")


def _plot(
    drawing: str, across: tuple[float, float], up: tuple[float, float], label_x: str, label_y: str
) -> str:
    bottom, middle = _HEIGHT - _BOTTOM, (_LEFT + _WIDTH - _RIGHT) / 2
    marks = [
        f"<path class='axis' d='M{_LEFT} {_TOP} V{bottom} H{_WIDTH - _RIGHT}'/>",
        f"<text x='{middle}' y='{_HEIGHT - 6}' text-anchor='middle'>{label_x}</text>",
        f"<text x='12' y='{(_TOP + bottom) / 2}' text-anchor='middle' "
        f"transform='rotate(-90 12 {(_TOP + bottom) / 2})'>{label_y}</text>",
    ]
    for share in (0, 0.5, 1):
        x = _LEFT + share * (_WIDTH - _RIGHT - _LEFT)
        y = bottom - share * (bottom - _TOP)
        anchor = {0: "start", 0.5: "middle", 1: "end"}[share]
        marks += [
            f"<text x='{x}' y='{bottom + 18}' text-anchor='{anchor}'>{_number(across, share)}</text>",
            f"<text x='{_LEFT - 6}' y='{y + 4}' text-anchor='end'>{_number(up, share)}</text>",
        ]
    return f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img'>{drawing}{''.join(marks)}</svg>"


def _number(span: tuple[float, float], share: float) -> str:
    value = span[0] + share * (span[1] - span[0])
    return f"{value:.0f}" if span[1] - span[0] > 10 else f"{value:.3g}"


def _scale(low: float, high: float, start: float, end: float) -> Any:
    return lambda value: start + (value - low) / ((high - low) or 1) * (end - start)


def _layers(layers: Sequence[LayerError]) -> str:
    """Return a table of the tensors, the ones that lost most first, each with a bar."""
    most = max((layer.relative_error for layer in layers), default=0.0) or 1.0
    rows = "".join(
        f"<tr><th>{escape(layer.name)}</th><td>{escape(layer.quant_type)}</td>"
        f"<td>{layer.num_params:,}</td><td>{layer.bits_per_weight:.2f}</td>"
        f"<td>{layer.relative_error:.4f}</td>"
        f"<td><svg class='strip' viewBox='0 0 100 8' preserveAspectRatio='none'>"
        f"<rect class='bar' width='{100 * layer.relative_error / most:.1f}' height='8'/></svg></td></tr>"
        for layer in sorted(layers, key=lambda each: -each.relative_error)
    )
    head = "".join(f"<th>{name}</th>" for name in ("tensor", "type", "weights", "bits", "relative error", ""))
    return f"<table class='layers'><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

"""The sections of a detector's page: scores, curves, confusion matrix, pictures with errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ghostyolo.evaluation.average_precision import COLUMNS, FOOTNOTE, Metrics
from ghostyolo.evaluation.curves import RankedDetections, rank_detections, sweep_thresholds
from ghostyolo.evaluation.error_types import confusion_matrix
from ghostyolo.evaluation.intervals import intervals_of
from ghostyolo.evaluation.validation import Validation
from ghostyolo.report import grids, pictures, plots, tables


def sections(validation: Validation) -> dict[str, Any]:
    """Return the values of each section of a detector's page, by its name."""
    metrics: Any = validation.metrics
    detections: Any = validation.predictions
    names, samples = validation.dataset.names, validation.dataset.samples
    ranked = rank_detections(detections, samples, len(names))
    sweep, found = sweep_thresholds(ranked), validation.diagnosis
    assert found is not None
    matrix = confusion_matrix(found.kept, samples, found.outcomes, len(names))
    has_truths = any(each.truths for each in ranked)
    return {
        "scores": {
            "table": _score_table(metrics, ranked),
            "best": found.threshold,
            "intervals": intervals_of(detections, validation.dataset),
        },
        "sizes": tables.scores_by_size(metrics.mean, samples) if has_truths else None,
        "box_sizes": list(zip(names, found.sizes, strict=True)) if has_truths else None,
        "curves": [plots.precision_recall(ranked, names), plots.thresholds(sweep)] * has_truths,
        "confusion": {
            **tables.confusion(matrix, names),
            "threshold": found.threshold,
            "outcomes": found.counts,
            "shares": found.shares,
        },
        "grids": grids.validation_grids(samples, found.kept, names),
        "pictures": pictures.with_most_errors(found.kept, samples, found.outcomes, names),
    }


def _score_table(metrics: Metrics, ranked: Sequence[RankedDetections]) -> dict[str, Any]:
    """Return the scores of each class and their mean, with the best F1 of each class."""
    keys = {**COLUMNS, **FOOTNOTE}
    keys.pop("truths")
    rows, known = [], []
    for name, scores, own in zip(metrics.names, metrics.classes, ranked, strict=True):
        sweep, best = sweep_thresholds([own]), (math.nan, math.nan)
        if scores.truths and sweep.f1.max() > 0:
            best = sweep.f1[sweep.best], sweep.thresholds[sweep.best]
            known.append(best[0])
        rows.append((name, scores.truths, [*(getattr(scores, key) for key in keys), *best]))
    mean_f1 = sum(known) / len(known) if known else math.nan
    mean = [*(getattr(metrics.mean, key) for key in keys), mean_f1, math.nan]
    head = [*keys.values(), "best F1", "at threshold"]
    return {"head": head, "rows": rows, "mean": (metrics.mean.truths, mean)}

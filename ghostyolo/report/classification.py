"""The sections of a classifier's page: accuracy, confusion matrix, the worst predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.evaluation.accuracy import by_probability, true_classes
from ghostyolo.evaluation.validation import Validation
from ghostyolo.model.detections import Detections
from ghostyolo.report import grids, tables
from ghostyolo.report.pictures import first_readable, jpeg, jpeg_uri, resized

MAX_PICTURES = 18
LONG_SIDE = 240  # pixels


def sections(validation: Validation) -> dict[str, Any]:
    """Return the values of each section of a classifier's page, by its name."""
    accuracy: Any = validation.metrics
    return {
        "scores": {
            "rows": accuracy.rows(),
            "pictures": int(accuracy.confusion.sum()),
            "top1": accuracy.top1,
            "top5": accuracy.top5,
        },
        "confusion": tables.confusion(accuracy.confusion, accuracy.names),
        "grids": _grids(validation),
        "pictures": worst(validation),
    }


def _grids(validation: Validation) -> list[bytes]:
    """Draw validation pictures with their true, and beside it with their most probable class."""
    samples = validation.dataset.samples
    probabilities = np.array(validation.predictions, np.float64).reshape(len(samples), -1)
    predicted = by_probability(probabilities)[:, :1]
    scores = np.take_along_axis(probabilities, predicted, 1)
    found = [
        Detections(sample.boxes_xyxy_px, *both)
        for sample, *both in zip(samples, scores, predicted, strict=True)
    ]
    return grids.validation_grids(samples, found, validation.dataset.names)


def worst(validation: Validation) -> list[dict[str, Any]]:
    """Return wrong predictions, in order of the true class's probability, then right ones.

    The least probable comes first. Each has its picture as a JPEG, and its true and its predicted
    class with their probabilities. Pictures that cannot be read any more are left out.
    """
    dataset = validation.dataset
    probabilities = np.array(validation.predictions, np.float64).reshape(len(dataset), -1)
    truths, predicted = true_classes(dataset), by_probability(probabilities)[:, 0]
    of_truth = probabilities[np.arange(len(dataset)), truths]
    order = np.lexsort((of_truth, predicted == truths)).tolist()
    return [
        {
            "path": dataset.samples[row].path,
            "name": Path(dataset.samples[row].path).name,
            "uri": jpeg_uri(jpeg(resized(image, LONG_SIDE))),
            "truth": dataset.names[truths[row]],
            "truth_probability": float(of_truth[row]),
            "predicted": dataset.names[predicted[row]],
            "probability": float(probabilities[row, predicted[row]]),
        }
        for row, image in first_readable(dataset.samples, order, MAX_PICTURES)
    ]

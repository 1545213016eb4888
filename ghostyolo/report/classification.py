"""The sections of a classifier's page: accuracy, confusion matrix, the worst predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.evaluation.accuracy import by_probability, true_classes
from ghostyolo.evaluation.validation import Validation
from ghostyolo.report import tables
from ghostyolo.report.pictures import first_readable, jpeg_uri, resized

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
        "pictures": worst(validation),
    }


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
            "uri": jpeg_uri(resized(image, LONG_SIDE)),
            "truth": dataset.names[truths[row]],
            "truth_probability": float(of_truth[row]),
            "predicted": dataset.names[predicted[row]],
            "probability": float(probabilities[row, predicted[row]]),
        }
        for row, image in first_readable(dataset.samples, order, MAX_PICTURES)
    ]

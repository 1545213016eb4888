"""Predictions as rows of JSON, and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ghostyolo.boxes import Detections
from ghostyolo.prediction.predict import Prediction


def class_name(cls: int, names: Sequence[str]) -> str:
    """Return the name of a class, or its number where it has none."""
    return names[cls] if cls < len(names) else f"class {cls}"


def in_words(found: Detections, names: Sequence[str]) -> str:
    """Return how many objects of which class there are, such as '2 dog, 1 cat'."""
    counts = Counter(found.classes.tolist())
    parts = [f"{count} {class_name(cls, names)}" for cls, count in counts.most_common()]
    return ", ".join(parts) or "nothing found"


def picture_row(prediction: Prediction, names: Sequence[str]) -> dict[str, Any]:
    """Return the detections of a picture for JSON, see `detection_rows`."""
    frame = {} if prediction.frame is None else {"frame": prediction.frame}
    return {
        "file": prediction.source,
        **frame,
        "height": prediction.image.shape[0],
        "width": prediction.image.shape[1],
        "detections": detection_rows(prediction.result, names),
    }


def detection_rows(found: Detections, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return detections for JSON; a box is x, y, width, height in pixels, as in COCO's files."""
    return [
        {
            "class": int(cls),
            "name": class_name(int(cls), names),
            "score": round(float(score), 5),
            "box": [round(float(v), 2) for v in (x1, y1, x2 - x1, y2 - y1)],
        }
        for (x1, y1, x2, y2), score, cls in zip(
            found.boxes, found.scores, found.classes, strict=True
        )
    ]


def class_rows(probabilities: np.ndarray, names: Sequence[str], top: int) -> list[dict[str, Any]]:
    """Return the `top` most probable classes for JSON, the most probable first.

    probabilities: (K,); of equal ones the lower class comes first.
    """
    return [
        {
            "class": int(cls),
            "name": class_name(int(cls), names),
            "probability": round(float(probabilities[cls]), 5),
        }
        for cls in np.argsort(-probabilities, kind="stable")[:top]
    ]

"""Verify an exported file: run it in a runtime and compare its outputs with the model's."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ghostyolo import boxes as geometry
from ghostyolo.exporters.formats import FORMATS
from ghostyolo.exporters.settings import ExportSettings, Suppression
from ghostyolo.model.detector import decode, heads_of
from ghostyolo.model.model import Model
from ghostyolo.runtime.interface import open_file
from ghostyolo.runtime.registry import installed_version
from ghostyolo.runtime.threads import default_threads

Outputs = dict[str, np.ndarray]
MOST_INPUTS = 10  # that a file and the model are compared on
# The tolerances of `Deviation.excess`; docs/export.md says how they were chosen.
FLOAT_RELATIVE, INT8_RMS = 1e-3, 0.25


class Deviation(NamedTuple):
    """The largest difference of an output from the model's.

    relative: the difference over the largest magnitude of the output. rms: the root mean square of
    the difference over that of the output.
    """

    output: str
    absolute: float
    relative: float
    rms: float

    def excess(self, *, int8: bool) -> str:
        """Return in words by how much it is above the tolerance of a file, "" if it is not."""
        share, most = (self.rms, INT8_RMS) if int8 else (self.relative, FLOAT_RELATIVE)
        if share <= most or (math.isinf(share) and not int8):
            return ""
        if math.isinf(share):
            return f"'{self.output}' of the file in 8 bits cannot be compared with the model's"
        return (
            f"'{self.output}' of the file departs from the model's by {share:.1%}, over {most:.1%}"
        )


def verify(
    model: Model,
    path: str | Path,
    settings: ExportSettings,
    format_name: str,
    images: np.ndarray | None = None,
) -> Deviation | None:
    """Return the largest relative deviation of a file's outputs from the model's.

    Both run on the same inputs, the file in the runtime of its format. images: (n, batch, C, h, w),
    of which up to `MOST_INPUTS` are used; None for a random one. Returns None if there is no such
    runtime or it is not installed. Raises `DataError` if it cannot open the file.
    """
    runtime = FORMATS[format_name].runtime
    if not runtime or installed_version(runtime) is None:
        return None
    if images is None:
        shape = (1, settings.batch, *model.network.options.shape)
        images = np.random.default_rng(0).random(shape, np.float32)
    images = images[:: -(-len(images) // MOST_INPUTS)]
    expected = [expected_outputs(model, settings, each) for each in images]
    with open_file(Path(path), runtime, None, settings.batch, default_threads(), "cpu") as opened:
        outputs, names = [opened.run(each) for each in images], opened.metadata.output_names
    found = (
        _deviation(name, np.concatenate(own), np.concatenate([each[name] for each in expected]))
        for name, own in zip(names, zip(*outputs, strict=True), strict=True)
    )
    return max(found, key=lambda deviation: deviation.relative)


def expected_outputs(model: Model, settings: ExportSettings, images: np.ndarray) -> Outputs:
    """Return the expected outputs of a file, by name, for images (N, C, h, w)."""
    with torch.inference_mode():
        raw = [output.numpy() for output in model(torch.from_numpy(images))]
    names = settings.metadata(model.network).output_names
    if not settings.boxes:
        return dict(zip(names, raw, strict=True))
    h, w = images.shape[2:]
    relative, objectness, classes = decode(heads_of(model.network), raw, (h, w))
    cxcywh, scores = relative * np.array([w, h, w, h], np.float32), objectness[..., None] * classes
    boxes = geometry.cxcywh_to_xyxy(cxcywh) if settings.boxes == "xyxy" else cxcywh
    if settings.suppression is None:
        return dict(zip(names, (boxes, scores), strict=True))
    rows = [
        _suppressed(i, cxcywh[i], boxes[i], scores[i], settings.suppression)
        for i in range(len(images))
    ]
    return {names[0]: np.concatenate(rows)}


def _suppressed(
    image: int, cxcywh: np.ndarray, boxes: np.ndarray, scores: np.ndarray, limits: Suppression
) -> np.ndarray:
    """Return the rows of detections of one image, sorted by class and descending score."""
    candidates, classes = np.nonzero(scores > limits.thresh)
    values = scores[candidates, classes]
    kept = geometry.nms(geometry.cxcywh_to_xyxy(cxcywh[candidates]), values, classes, limits.iou)
    kept = kept[np.argsort(classes[kept], kind="stable")]
    ranks = np.arange(len(kept)) - np.searchsorted(classes[kept], classes[kept])
    kept = kept[ranks < limits.most]
    columns = (np.full(len(kept), image), boxes[candidates[kept]], values[kept], classes[kept])
    return np.column_stack(columns).astype(np.float32)


def _deviation(name: str, output: np.ndarray, expected: np.ndarray) -> Deviation:
    if output.shape != expected.shape:
        return Deviation(name, np.inf, np.inf, np.inf)
    if not expected.size:
        return Deviation(name, 0.0, 0.0, 0.0)
    difference = output - expected
    absolute, largest = float(np.abs(difference).max()), float(np.abs(expected).max())
    rms = float(np.linalg.norm(difference) / max(np.linalg.norm(expected), 1e-12))
    return Deviation(name, absolute, absolute / max(largest, 1e-12), rms)

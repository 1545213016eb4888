"""Verify an exported file: run it in a runtime and compare its outputs with the model's."""

from __future__ import annotations

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


class Deviation(NamedTuple):
    """The largest difference of an output from the model's.

    relative: the difference over the largest magnitude of the output.
    """

    output: str
    absolute: float
    relative: float


def verify(
    model: Model, path: str | Path, settings: ExportSettings, format_name: str
) -> Deviation | None:
    """Return the largest relative deviation of a file's outputs from the model's.

    Both run on the same random input, the file in the runtime of its format. Returns None if there
    is no such runtime or it is not installed. Raises `DataError` if it cannot open the file.
    """
    runtime = FORMATS[format_name].runtime
    if not runtime or installed_version(runtime) is None:
        return None
    shape = (settings.batch, *model.network.options.shape)
    images = np.random.default_rng(0).random(shape, np.float32)
    expected = expected_outputs(model, settings, images)
    with open_file(Path(path), runtime, None, settings.batch, default_threads(), "cpu") as opened:
        outputs = dict(zip(opened.metadata.output_names, opened.run(images), strict=True))
    found = (_deviation(name, outputs[name], value) for name, value in expected.items())
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
        return Deviation(name, np.inf, np.inf)
    if not expected.size:
        return Deviation(name, 0.0, 0.0)
    absolute = float(np.abs(output - expected).max())
    return Deviation(name, absolute, absolute / max(float(np.abs(expected).max()), 1e-12))

"""A written file against the model that it was made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from ghostyolo import boxes as geometry
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.model.detector import decode, heads_of
from ghostyolo.model.model import Model
from ghostyolo.network.metadata import output_name
from ghostyolo.network.outputs import output_nodes

Outputs = dict[str, np.ndarray]


class Checked(NamedTuple):
    """The output that departs most; share: of the largest magnitude that it should have."""

    output: str
    difference: float
    share: float


def compare(model: Model, form: ExportSettings, run: Callable[[np.ndarray], Outputs]) -> Checked:
    """Run a file and the model on one random input and return the largest difference."""
    options = model.network.options
    images = np.random.default_rng(0).random((form.batch, *options.shape), np.float32)
    want, got = expected(model, form, images), run(images)
    return max((_differ(name, got[name], value) for name, value in want.items()), key=_share)


def expected(model: Model, form: ExportSettings, images: np.ndarray) -> Outputs:
    """Return what a file of that form should give for images (N, C, h, w)."""
    with torch.inference_mode():
        raw = [output.numpy() for output in model(torch.from_numpy(images))]
    if not form.boxes:
        nodes = output_nodes(model.network)
        return {output_name(model.network, n): out for n, out in zip(nodes, raw, strict=True)}
    h, w = images.shape[2:]
    relative, objectness, classes = decode(heads_of(model.network), raw, (h, w))
    cxcywh, scores = relative * np.array([w, h, w, h], np.float32), objectness[..., None] * classes
    boxes = geometry.cxcywh_to_xyxy(cxcywh) if form.boxes == "xyxy" else cxcywh
    if form.suppression is None:
        return {"boxes": boxes, "scores": scores}
    rows = [_suppressed(i, cxcywh[i], boxes[i], scores[i], form) for i in range(len(images))]
    return {"detections": np.concatenate(rows)}


def _suppressed(
    picture: int, cxcywh: np.ndarray, boxes: np.ndarray, scores: np.ndarray, form: ExportSettings
) -> np.ndarray:
    """Return one picture's rows of detections, by class and falling score."""
    limits = form.suppression
    assert limits is not None
    places, labels = np.nonzero(scores > limits.thresh)
    values = scores[places, labels]
    kept = geometry.nms(geometry.cxcywh_to_xyxy(cxcywh[places]), values, labels, limits.iou)
    kept = kept[np.argsort(labels[kept], kind="stable")]
    ranks = np.arange(len(kept)) - np.searchsorted(labels[kept], labels[kept])
    kept = kept[ranks < limits.most]
    columns = (np.full(len(kept), picture), boxes[places[kept]], values[kept], labels[kept])
    return np.column_stack(columns).astype(np.float32)


def _differ(name: str, got: np.ndarray, want: np.ndarray) -> Checked:
    if got.shape != want.shape:
        return Checked(name, np.inf, np.inf)
    if not want.size:
        return Checked(name, 0.0, 0.0)
    difference = float(np.abs(got - want).max())
    return Checked(name, difference, difference / max(float(np.abs(want).max()), 1e-12))


def _share(checked: Checked) -> float:
    return checked.share

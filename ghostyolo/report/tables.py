"""The tables of the page: counts and shares from data sets, verdicts and anchors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ghostyolo.data import Dataset, Sample
from ghostyolo.evaluation.curves import ERRORS, RIGHT, Verdict
from ghostyolo.evaluation.detection import Scores
from ghostyolo.layers.anchor_head import Anchored
from ghostyolo.network import Network
from ghostyolo.network.net_options import NetOptions

MOST_CLASSES = 20  # a matrix of more cannot be read
MOST_PAIRS = 10
SMALL, MEDIUM = 32**2, 96**2  # areas; source: cocodataset/cocoapi, cocoeval.py, areaRng


def shares(values: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """Return name, value and percentage of the sum of each."""
    total = sum(values.values())
    return [(name, value, 100 * value / total if total else 0.0) for name, value in values.items()]


def sizes(mean: Scores, samples: Sequence[Sample]) -> list[tuple[str, str, int, float]]:
    """Return name, bounds, number of truths and AP of small, medium and large boxes.

    The bounds are COCO's, which counts a box that lies on one to both sides; here it is the larger.
    """
    kept = [sample.boxes_xyxy_px[~sample.ignore] for sample in samples]
    boxes = np.concatenate([np.zeros((0, 4)), *kept])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    small, medium, _ = np.bincount(np.digitize(areas, (SMALL, MEDIUM)), minlength=3).tolist()
    return [
        ("small", "under 32²", small, mean.ap_small),
        ("medium", "32² to 96²", medium, mean.ap_medium),
        ("large", "over 96²", len(areas) - small - medium, mean.ap_large),
    ]


def errors(verdicts: Sequence[Verdict]) -> list[tuple[str, int]]:
    """Count what is right and each kind of error over all pictures."""
    counts: Counter[str] = Counter()
    for verdict in verdicts:
        counts.update({RIGHT: int((verdict.detections == RIGHT).sum()), **verdict.errors()})
    return [(kind, counts[kind]) for kind in (RIGHT, *ERRORS)]


def confusion(matrix: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Return the matrix to be shown and the pairs that are confused most.

    Each cell is its count and its share of the truths of the row (of the last row: of its sum).
    Of many classes those with most errors are shown, and none that does not occur.
    """
    count = len(names)
    wrong = matrix - np.diag(np.diag(matrix))
    shown = np.argsort(-(wrong.sum(0) + wrong.sum(1))[:count], kind="stable")[:MOST_CLASSES]
    if count > MOST_CLASSES:
        shown = shown[(matrix.sum(0) + matrix.sum(1))[shown] > 0]
    chosen = [*sorted(shown.tolist()), count]
    labels = [*names, "background"]
    part = matrix[np.ix_(chosen, chosen)]
    share = part / np.maximum(matrix[chosen].sum(1, keepdims=True), 1)
    rows = [
        (labels[row], list(zip(part[at].tolist(), share[at].tolist(), strict=True)))
        for at, row in enumerate(chosen)
    ]
    within = wrong[:count, :count]
    order = np.argsort(-within, axis=None, kind="stable")[:MOST_PAIRS]
    places = zip(*(axis.tolist() for axis in np.unravel_index(order, within.shape)), strict=True)
    pairs = [(names[a], names[b], int(within[a, b])) for a, b in places if within[a, b]]
    head = [labels[column] for column in chosen]
    return {"head": head, "rows": rows, "pairs": pairs, "left_out": count - len(shown)}


def data(datasets: Sequence[Dataset], *, boxes: bool = True) -> dict[str, Any] | None:
    """Return what each split holds, its defects, and the boxes of each class.

    boxes: False where a picture has one class and no box to speak of.
    """
    if not datasets:
        return None
    splits = [_split(dataset) for dataset in datasets]
    names = datasets[0].names
    counts = [_boxes_by_class(dataset, len(names)) for dataset in datasets]
    most = max(1, *(int(column.max(initial=0)) for column in counts))
    classes = [
        (name, [(int(column[cls]), 100 * int(column[cls]) / most) for column in counts])
        for cls, name in enumerate(names)
    ]
    return {"splits": splits, "classes": classes, "boxes": boxes}


def _split(dataset: Dataset) -> dict[str, Any]:
    sides = np.array([sample.size for sample in dataset.samples]).reshape(-1, 2)
    low, high = (f"{w}x{h}" for h, w in (_extreme(sides, np.argmin), _extreme(sides, np.argmax)))
    return {
        "split": dataset.split,
        "path": dataset.path,
        "pictures": len(dataset),
        "empty": sum(not len(sample.classes) for sample in dataset.samples),
        "boxes": sum(len(sample.classes) for sample in dataset.samples),
        "ignored": sum(int(sample.ignore.sum()) for sample in dataset.samples),
        "sizes": "\N{EN DASH}" if not len(sides) else low if low == high else f"{low} to {high}",
        "defects": sorted(dataset.defects.items()),
    }


def _extreme(sides: np.ndarray, choose: Any) -> tuple[int, int]:
    """Return the (h, w) of least or greatest area; (0, 0) of none."""
    h, w = sides[choose(sides.prod(1))].tolist() if len(sides) else (0, 0)
    return h, w


def _boxes_by_class(dataset: Dataset, count: int) -> np.ndarray:
    labels = [sample.classes for sample in dataset.samples]
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *labels]), minlength=count)


def anchors_by_stride(network: Network) -> dict[float, np.ndarray]:
    """Return the anchors of each head by its stride, finest first, (a, 2) as w, h in pixels."""
    scales: dict[float, list[tuple[float, float]]] = {}
    for node in network:
        if isinstance(node.layer, Anchored):
            stride = network.options.height / node.shape.h
            scales.setdefault(stride, []).extend(node.layer.own_pairs)
    return {stride: np.array(scales[stride]).reshape(-1, 2) for stride in sorted(scales)}


def box_sizes(samples: Sequence[Sample], options: NetOptions) -> np.ndarray:
    """Return (n, 2): w, h of the boxes that are trained on, in pixels of the network's input."""
    target, sizes_ = np.array(options.size), [np.zeros((0, 2))]
    for sample in samples:
        scale = target / np.maximum(sample.size, 1)
        if options.letter_box:
            scale = scale.min().repeat(2)
        boxes = sample.boxes_xyxy_px[~sample.ignore]
        sizes_.append((boxes[:, 2:] - boxes[:, :2]) * scale[::-1])
    return np.concatenate(sizes_)


def anchor_fit(
    boxes: np.ndarray, scales: Mapping[float, np.ndarray]
) -> tuple[list[tuple[float, str, int, float]], float]:
    """Return stride, size, boxes that it fits best and their percentage for each anchor.

    Also the mean IoU of each box with its best anchor, both with one corner in common.
    boxes: (n, 2) as w, h, n > 0. Source: AlexeyAB/darknet src/detector.c calc_anchors, "avg IoU".
    """
    everything = np.concatenate(list(scales.values()))
    strides = [stride for stride, pairs in scales.items() for _ in pairs]
    common = np.minimum(boxes[:, None], everything).prod(2)
    overlap = common / (boxes.prod(1)[:, None] + everything.prod(1) - common)
    counts = np.bincount(overlap.argmax(1), minlength=len(everything)).tolist()
    rows = [
        (stride, f"{w:g}x{h:g}", count, 100 * count / len(boxes))
        for stride, (w, h), count in zip(strides, everything.tolist(), counts, strict=True)
    ]
    return rows, float(overlap.max(1).mean())

"""The tables of the page: counts and percentages of data sets and anchors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ghostyolo.data import Dataset, Sample
from ghostyolo.data.anchor_clustering import measure
from ghostyolo.evaluation.average_precision import Scores
from ghostyolo.network import Network
from ghostyolo.network.net_options import NetOptions
from ghostyolo.network.outputs import detection_heads

MAX_CLASSES = 20  # a larger matrix is unreadable
MAX_PAIRS = 10
SMALL, MEDIUM = 32**2, 96**2  # areas; source: cocodataset/cocoapi, cocoeval.py, areaRng


def scores_by_size(mean: Scores, samples: Sequence[Sample]) -> list[tuple[str, str, int, float]]:
    """Return name, bounds, number of truths and AP of small, medium and large boxes.

    The bounds are COCO's. A box on a bound counts for both sizes there, for the larger one here.
    """
    kept = [sample.boxes_xyxy_px[~sample.ignore] for sample in samples]
    boxes = np.concatenate([np.zeros((0, 4)), *kept])
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    small, medium, large = np.bincount(np.digitize(areas, (SMALL, MEDIUM)), minlength=3).tolist()
    return [
        ("small", "under 32²", small, mean.ap_small),
        ("medium", "32² to 96²", medium, mean.ap_medium),
        ("large", "over 96²", large, mean.ap_large),
    ]


def confusion(matrix: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Return the part of a confusion matrix that is shown, and the most frequent confusions.

    matrix: (K, K), or (K + 1, K + 1) with the background as the last row and column. Each cell is a
    count and its fraction of the row's sum. If there are more than MAX_CLASSES classes, those with
    most errors are shown; classes that do not occur are left out.
    """
    count, wrong = len(names), matrix - np.diag(np.diag(matrix))
    shown = np.argsort(-(wrong.sum(0) + wrong.sum(1))[:count], kind="stable")[:MAX_CLASSES]
    if count > MAX_CLASSES:
        shown = shown[(matrix.sum(0) + matrix.sum(1))[shown] > 0]
    chosen = [*sorted(shown.tolist()), *range(count, len(matrix))]
    labels = [*names, "background"]
    part = matrix[np.ix_(chosen, chosen)]
    fractions = part / np.maximum(matrix[chosen].sum(1, keepdims=True), 1)
    cells = zip(part.tolist(), fractions.tolist(), strict=True)
    return {
        "head": [labels[column] for column in chosen],
        "rows": [
            (labels[row], list(zip(*both, strict=True)))
            for row, both in zip(chosen, cells, strict=True)
        ],
        "pairs": _confused_pairs(wrong[:count, :count], names),
        "left_out": count - len(shown),
    }


def _confused_pairs(wrong: np.ndarray, names: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return true class, predicted class and count of the most frequent confusions."""
    order = np.argsort(-wrong, axis=None, kind="stable")[:MAX_PAIRS].tolist()
    places = [divmod(place, len(names)) for place in order]
    return [
        (names[row], names[col], int(wrong[row, col])) for row, col in places if wrong[row, col]
    ]


def class_counts(datasets: Sequence[Dataset]) -> list[tuple[str, list[tuple[int, float]]]]:
    """Return the number of boxes of each class in each split, and its percentage of the largest.

    In the data of a classifier, pictures are counted.
    """
    if not datasets:
        return []
    names, counts = datasets[0].names, []
    for dataset in datasets:
        counts.append(np.bincount(dataset.columns.classes, minlength=len(names)))
    largest = max(1, *(int(column.max(initial=0)) for column in counts))
    return [
        (name, [(int(column[cls]), 100 * int(column[cls]) / largest) for column in counts])
        for cls, name in enumerate(names)
    ]


def picture_sizes(dataset: Dataset) -> str:
    """Return the sizes (WxH) of the pictures with the least and the largest area, or a dash."""
    sizes = sorted((h * w, h, w) for h, w in np.unique(dataset.columns.sizes, axis=0).tolist())
    ends = [f"{w}x{h}" for _, h, w in (*sizes[:1], *sizes[-1:])]
    return " to ".join(dict.fromkeys(ends)) or "\N{EN DASH}"


def anchors_by_stride(network: Network) -> dict[float, np.ndarray]:
    """Return the anchors of each head by its stride, finest first, (a, 2) as w, h in pixels."""
    scales: dict[float, list[tuple[float, float]]] = {}
    for node, head in detection_heads(network):
        if head.own_anchors:
            stride = network.options.height / node.shape.h
            scales.setdefault(stride, []).extend(head.own_anchors)
    return {stride: np.array(scales[stride]).reshape(-1, 2) for stride in sorted(scales)}


def box_sizes(samples: Sequence[Sample], options: NetOptions) -> np.ndarray:
    """Return w, h of the boxes that are not ignored, in pixels of the network's input, (n, 2)."""
    target, sizes = np.array(options.size), [np.zeros((0, 2))]
    for sample in samples:
        scale = target / np.maximum(sample.size, 1)
        if options.letter_box:
            scale = scale.min().repeat(2)
        boxes = sample.boxes_xyxy_px[~sample.ignore]
        sizes.append((boxes[:, 2:] - boxes[:, :2]) * scale[::-1])
    return np.concatenate(sizes)


def anchor_fit(
    boxes: np.ndarray, scales: Mapping[float, np.ndarray]
) -> tuple[list[tuple[float, str, int, float]], float]:
    """Return stride, size, and count and percentage of the boxes that fit it best, of each anchor.

    Also the mean IoU of a box and its best anchor, with one corner in common.
    boxes: (n, 2) as w, h, n > 0. Source: AlexeyAB/darknet src/detector.c calc_anchors, "avg IoU".
    """
    everything = np.concatenate(list(scales.values()))
    strides = [stride for stride, pairs in scales.items() for _ in pairs]
    fit = measure(boxes, everything)
    rows = [
        (stride, f"{w:g}x{h:g}", count, 100 * count / len(boxes))
        for stride, (w, h), count in zip(
            strides, everything.tolist(), fit.counts.tolist(), strict=True
        )
    ]
    return rows, fit.mean_iou

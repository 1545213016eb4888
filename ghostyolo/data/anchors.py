"""The anchors of a network: how well they fit the boxes of a data set, and anchors that fit better.

Anchors are (w, h) in pixels of the network's input, as (n, 2) arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.data.anchor_clustering import MOST_BOXES, RATIO, AnchorFit, cluster, measure
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.images import Placement
from ghostyolo.data.layouts import open_dataset
from ghostyolo.errors import CfgError, DataError, OptionError, Span, printable
from ghostyolo.layers import Head, Layer, LayerError
from ghostyolo.network import Network, Node
from ghostyolo.network.net_options import NetOptions
from ghostyolo.network.outputs import detection_heads
from ghostyolo.network.passes import rebuild

SIZE, NUM = 416, 3  # gencfg's defaults
# The mean IoU on VOC 2007 of 9 anchors chosen by hand and of 9 clustered anchors; networks train
# well with both. Source: Redmon & Farhadi 2017, table 1.
BY_HAND, CLUSTERED = 0.609, 0.672


@dataclass(frozen=True)
class AnchorHead:
    """A head with its anchors, (n, 2), and the (w, h) of one of its cells in pixels."""

    node: Node
    layer: Head
    anchors: np.ndarray
    cell: tuple[float, float]


@dataclass(frozen=True, eq=False)
class FittedAnchors:
    """Anchors clustered for the boxes of a data set, and the anchors that the network had.

    network: with the clustered anchors. before, after: how well the old and the new anchors fit the
    boxes. before_strides: the stride of the head of each old anchor.
    """

    dataset: Dataset
    network: Network
    before: AnchorFit
    after: AnchorFit
    before_strides: tuple[float, ...]

    def gain(self, whose: str) -> str:
        """Return how well the new and the old anchors fit, in words. whose: the old ones."""
        boxes, mean = int(self.before.counts.sum()), self.after.mean_iou
        fit = f"{boxes:,} boxes have a mean IoU of {mean:.3f} with their best anchor"
        return f"{fit}, {self.before.mean_iou:.3f} with {whose}"

    def as_dict(self, out: str | None = None) -> dict[str, Any]:
        """Return both fits for JSON, the anchors of small strides first.

        out: the path of the cfg with the new anchors.
        """
        return {
            "boxes": int(self.before.counts.sum()),
            "size": list(self.network.options.size),
            "out": out,
            "now": _fit_as_dict(self.before, self.before_strides),
            "new": _fit_as_dict(self.after, _strides(self.network)),
        }

    def table(self) -> str:
        """Return both fits as lines of text."""
        options, found = self.network.options, self.as_dict()
        how = "letterboxed to" if options.letter_box else "stretched to"
        name = printable(f"{self.dataset.path} {self.dataset.split}")
        lines = [
            f"{name}: {found['boxes']:,} boxes in "
            f"{len(self.dataset):,} pictures, {how} {options.width}x{options.height} (WxH)\n",
            f"{'':<16}{'mean best IoU':>14}{f'sides within {RATIO:g}x':>22}",
        ]
        fits = {"the cfg's anchors": found["now"], "clustered": found["new"]}
        for which, fit in fits.items():
            lines.append(f"{which:<17}{fit['mean_iou']:>13.3f}{fit['within_ratio']:>21.1%}")
        for which, fit in fits.items():
            lines += ["", f"{which}:", *_lines_by_stride(fit["anchors"], found["boxes"])]
        return "\n".join(lines)


def fit_anchors(
    network: Network,
    data: str | Path,
    split: str = "train",
    names: str | Path | Sequence[str] | None = None,
    *,
    num: int | None = None,
    seed: int = 0,
    allow_outside: bool = False,
    no_cache: bool = False,
) -> FittedAnchors:
    """Cluster the boxes of a data set into `num` anchors, by default as many as the network has.

    split, names, allow_outside, no_cache: see `open_dataset`. Raises `CfgError` for a network
    without anchors, `OptionError` for fewer anchors than heads or a seed below 0, `DataError` for
    data that cannot be used.
    """
    if seed < 0:
        raise OptionError(f"--seed {seed}", hint="use 0 or more")
    heads = anchor_heads(network)
    if num:
        anchors_per_head(heads, num)  # raises before the data is read
    dataset = open_dataset(data, split, names, allow_outside=allow_outside, no_cache=no_cache)
    dataset.log_defects()
    return refit(network, dataset, num, seed)


def refit(
    network: Network, dataset: Dataset, num: int | None = None, seed: int = 0
) -> FittedAnchors:
    """Cluster the boxes of an open data set as `fit_anchors` does.

    The network keeps its anchors if they fit as well. Raises `CfgError` and `DataError`.
    """
    num = num or sum(len(head.anchors) for head in anchor_heads(network))
    before, after = propose(dataset, network, num, seed)
    changed = with_anchors(network, after.anchors)
    return FittedAnchors(dataset, changed, before, after, _strides(network))


def suggest_anchors(dataset: Dataset) -> dict[str, Any] | None:
    """Return `NUM` clustered anchors for a new cfg of `SIZE`, None if there are too few boxes."""
    sizes = box_sizes(dataset, NetOptions(width=SIZE, height=SIZE, channels=3))
    try:
        found = cluster(sizes, NUM, np.random.default_rng(0))
    except DataError:
        return None
    mean = measure(sizes, found).mean_iou
    return {"split": dataset.split, "size": SIZE, "mean_iou": mean, "anchors": found.tolist()}


def anchor_heads(network: Network) -> list[AnchorHead]:
    """Return the heads that have anchors, smallest stride first.

    Raises `CfgError` if no head has anchors, or if a head cannot make boxes.
    """
    found = []
    for node, layer in detection_heads(network):
        cell = network.options.width / node.shape.w, network.options.height / node.shape.h
        try:
            own = np.array(layer.anchors_px(cell), float).reshape(-1, 2)
            if np.any(own <= 0):
                message, hint = "an anchor has a side of 0 or less", "give positive sides"
                raise LayerError(message, hint)
        except LayerError as error:
            raise node.error(error) from None
        if len(own):
            found.append(AnchorHead(node, layer, own, cell))
    if not found:
        span = network[0].span if len(network) else None
        message = "no head has anchors: there is no [yolo], [Gaussian_yolo] or [region]"
        hint = "give the cfg of a detector that has one"
        raise CfgError(message, span=Span(span.path) if span else None, hint=hint)
    return sorted(found, key=lambda head: head.cell[0] * head.cell[1])


def box_sizes(dataset: Dataset, options: NetOptions) -> np.ndarray:
    """Return (w, h) of the boxes to train on, (n, 2), stretched or letterboxed as `[net]` says."""
    columns, letterbox = dataset.columns, bool(options.letter_box)
    sizes, which = np.unique(columns.sizes, axis=0, return_inverse=True)
    inner = [Placement.of((h, w), options.size, letterbox).inner for h, w in sizes.tolist()]
    scales = np.divide(np.reshape(inner, (-1, 2)), sizes)[:, ::-1]
    boxes = columns.boxes_xyxy_px[~columns.ignore].astype(float)
    return (boxes[:, 2:] - boxes[:, :2]) * scales[which.ravel()[columns.owners[~columns.ignore]]]


def anchors_per_head(heads: Sequence[AnchorHead], num: int) -> list[int]:
    """Return how many of `num` anchors each head takes, smallest stride first.

    Heads keep their numbers if these add up to `num`; else all get the same number, and the first
    heads, which have the most cells, one more if `num` is not a multiple of the heads.

    Raises OptionError if there are fewer anchors than heads.
    """
    counts = [len(head.anchors) for head in heads]
    if num < len(heads):
        message = f"{num} anchors for {len(heads)} heads"
        raise OptionError(message, hint=f"use {len(heads)} or more")
    if sum(counts) == num:
        return counts
    each, rest = divmod(num, len(heads))
    return [each + (place < rest) for place in range(len(heads))]


def with_anchors(network: Network, anchors: np.ndarray) -> Network:
    """Return the network with other anchors, (n, 2) by area; heads of small strides get small ones.

    A box is learned by the head that has the anchor nearest to it, and maps of large strides have
    few cells: so the order of areas is that of strides, wherever a head is in the file. Every
    `[yolo]` lists all anchors and masks its own; a `[region]` lists its own, in cells. Where the
    number of a head's anchors changes, the filters of the layer above it change too. Raises
    `CfgError` where they cannot.
    """
    heads = anchor_heads(network)
    layers: dict[int, Layer] = {}
    start = 0
    for head, count in zip(heads, anchors_per_head(heads, len(anchors)), strict=True):
        own, above = range(start, start + count), network[head.node.inputs[0]]
        start += count
        try:
            layer, channels = head.layer.with_anchors(anchors.tolist(), own, head.cell)
        except LayerError as error:
            raise head.node.error(error) from None
        layers[head.node.index] = layer
        if channels != above.shape.c:
            if not above.layer.channels_key:
                message = f"cannot change its number of anchors: [{above.layer.kind}] stands above"
                raise head.node.error(message, "put a [convolutional] above each head")
            layers[above.index] = above.layer.changed(**{above.layer.channels_key: channels})
    return rebuild(network, lambda node: layers.get(node.index, node.layer))


def propose(dataset: Dataset, network: Network, num: int, seed: int) -> tuple[AnchorFit, AnchorFit]:
    """Return how well the network's anchors and how well `num` clustered ones fit a data set."""
    sizes = box_sizes(dataset, network.options)
    now = np.concatenate([head.anchors for head in anchor_heads(network)])
    try:
        starts = [now] if len(now) == num else []
        new = cluster(sizes, num, np.random.default_rng(seed), starts)
    except DataError as error:
        message = f"split '{dataset.split}': {error.diagnostic.message}"
        raise DataError(message, span=Span(dataset.path), hint=error.diagnostic.hint) from None
    return measure(sizes, now), measure(sizes, new)


def poor_fit_warning(dataset: Dataset, network: Network) -> str | None:
    """Return a warning if the network's anchors fit badly, else None.

    They fit badly if their mean IoU is below `BY_HAND`, and if clustered anchors gain more than
    `CLUSTERED` - `BY_HAND`, since the possible IoU depends on the boxes and on the number of
    anchors. Returns None too if there are too few boxes to cluster. Raises `CfgError` for a network
    without anchors.
    """
    heads, sizes = anchor_heads(network), box_sizes(dataset, network.options)
    if len(sizes) > MOST_BOXES:  # at 860,001 boxes the start of a run would wait 3 s for this
        sizes = np.random.default_rng(0).choice(sizes, MOST_BOXES, replace=False)
    now = np.concatenate([head.anchors for head in heads])
    try:
        fresh = cluster(sizes, len(now), np.random.default_rng(0), restarts=2)
    except DataError:
        return None
    mean, possible = (measure(sizes, anchors).mean_iou for anchors in (now, fresh))
    if mean >= BY_HAND or possible - mean <= CLUSTERED - BY_HAND:
        return None
    span, (h, w) = heads[0].node.span, network.options.size
    cfg = span.path if span else "CFG"
    split = "" if dataset.split == "train" else f" --split {dataset.split}"
    command = f"ghostyolo anchors {dataset.path} {cfg}{split} --size {h}x{w} --out NEW.cfg"
    return (
        f"{cfg}: the anchors fit badly: boxes have a mean IoU of {mean:.2f} with their best "
        f"anchor, {possible:.2f} is possible; '{command}' fits them"
    )


def _strides(network: Network) -> tuple[float, ...]:
    """Return the vertical stride of the head of each anchor."""
    return tuple(head.cell[1] for head in anchor_heads(network) for _ in head.anchors)


def _fit_as_dict(fit: AnchorFit, strides: Sequence[float]) -> dict[str, Any]:
    rows = zip(fit.anchors.tolist(), strides, fit.counts.tolist(), strict=True)
    return {
        "mean_iou": fit.mean_iou,
        "within_ratio": fit.within_ratio,
        "anchors": [{"w": w, "h": h, "stride": s, "boxes": n} for (w, h), s, n in rows],
    }


def _lines_by_stride(rows: list[dict[str, Any]], boxes: int) -> list[str]:
    """Return a line for each stride: its share of the boxes, and its anchors with their boxes."""
    lines = []
    for stride in dict.fromkeys(row["stride"] for row in rows):
        own = [row for row in rows if row["stride"] == stride]
        share = sum(row["boxes"] for row in own) / boxes
        cells = [f"{row['w']:g}x{row['h']:g} ({row['boxes']:,})" for row in own]
        lines.append(f"  stride {stride:>3g} {share:>7.1%}  {'  '.join(cells)}")
    return lines

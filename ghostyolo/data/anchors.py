"""The anchors of a network: how well they fit a data set, and others that fit better.

Anchors are (w, h) in pixels of the network's input, as (n, 2) arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo.data.anchor_clustering import (
    DIGITS,
    RATIO,
    AnchorFit,
    cluster,
    measure,
    rounded,
)
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.images import Placement
from ghostyolo.data.layouts import open_dataset
from ghostyolo.errors import CfgError, DataError, OptionError, Span
from ghostyolo.layers import Layer, LayerError
from ghostyolo.layers.anchor_head import Anchored
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.head import anchor_pairs
from ghostyolo.layers.region import Region
from ghostyolo.network import Network, Node
from ghostyolo.network.net_options import NetOptions
from ghostyolo.network.passes import rebuild

SIZE, NUM = 416, 9  # gencfg's defaults
# The mean IoU on VOC 2007 of 9 anchors chosen by hand and of 9 clusters, both of which train
# well. Source: Redmon & Farhadi 2017, table 1.
BY_HAND, CLUSTERED = 0.609, 0.672


@dataclass(frozen=True)
class AnchorHead:
    """A head with its anchors, (n, 2), and the pixels (w, h) from one of its cells to the next."""

    node: Node
    anchors: np.ndarray
    cell: tuple[float, float]


@dataclass(frozen=True, eq=False)
class FittedAnchors:
    """Anchors clustered for the boxes of a data set, beside those that a network has.

    network: with the clustered anchors. before, after: how well the two fit the boxes.
    """

    dataset: Dataset
    network: Network
    before: AnchorFit
    after: AnchorFit
    before_strides: tuple[float, ...]

    def as_dict(self, out: str | None = None) -> dict[str, Any]:
        """Return the numbers, with the stride of each anchor's head, the fine ones first.

        out: the file that has the new anchors.
        """
        return {
            "boxes": int(self.before.counts.sum()),
            "size": list(self.network.options.size),
            "out": out,
            "now": _fit_as_dict(self.before, self.before_strides),
            "new": _fit_as_dict(self.after, _strides(self.network)),
        }

    def table(self) -> str:
        """Return the numbers as lines of text."""
        options, found = self.network.options, self.as_dict()
        how = "letterboxed to" if options.letter_box else "stretched to"
        lines = [
            f"{self.dataset.path} {self.dataset.split}: {found['boxes']:,} boxes in "
            f"{len(self.dataset):,} pictures, {how} {options.width}x{options.height} (WxH)\n",
            f"{'':<16}{'mean best IoU':>14}{f'sides within {RATIO:g}x':>22}",
        ]
        fits = {"the cfg's anchors": found["now"], "clustered": found["new"]}
        for name, fit in fits.items():
            lines.append(f"{name:<17}{fit['mean_iou']:>13.3f}{fit['within_ratio']:>21.1%}")
        for name, fit in fits.items():
            lines += ["", f"{name}:", *_lines_by_stride(fit["anchors"], found["boxes"])]
        return "\n".join(lines)


def fit_anchors(
    network: Network,
    data: str | Path,
    split: str = "train",
    names: str | Path | Sequence[str] | None = None,
    *,
    num: int | None = None,
    seed: int = 0,
) -> FittedAnchors:
    """Cluster the boxes of a data set into `num` anchors, by default as many as the network has.

    split, names: see `open_dataset`. Raises `CfgError` for a network without anchors, `OptionError`
    for a number that does not suit it or a seed below 0, `DataError` for data that cannot be used.
    """
    if seed < 0:
        raise OptionError(f"--seed {seed}", hint="use 0 or more")
    heads = anchor_heads(network)
    num = num or sum(len(head.anchors) for head in heads)
    anchors_per_head(heads, num)  # raises before the data is read
    dataset = open_dataset(data, split, names)
    dataset.log_defects()
    before, after = propose(dataset, network, num, seed)
    changed = with_anchors(network, after.anchors)
    return FittedAnchors(dataset, changed, before, after, _strides(network))


def suggest_anchors(dataset: Dataset) -> dict[str, Any] | None:
    """Return `NUM` anchors for a new cfg of `SIZE`, None where boxes are too few."""
    sizes = box_sizes(dataset, NetOptions(width=SIZE, height=SIZE, channels=3))
    try:
        found = cluster(sizes, NUM, np.random.default_rng(0))
    except DataError:
        return None
    mean = measure(sizes, found).mean_iou
    return {"split": dataset.split, "size": SIZE, "mean_iou": mean, "anchors": found.tolist()}


def anchor_heads(network: Network) -> list[AnchorHead]:
    """Return the heads that have anchors, from fine to coarse.

    Raises `CfgError` if there is none, or one that makes no boxes.
    """
    found = [
        _anchor_head(node, node.layer, network.options.size)
        for node in network
        if isinstance(node.layer, Anchored | Region)
    ]
    if not found:
        span = network[0].span if len(network) else None
        message = "no head has anchors: there is no [yolo], [Gaussian_yolo] or [region]"
        hint = "give the cfg of a detector that has one"
        raise CfgError(message, span=Span(span.path) if span else None, hint=hint)
    return sorted(found, key=lambda head: head.cell[0] * head.cell[1])


def box_sizes(dataset: Dataset, options: NetOptions) -> np.ndarray:
    """Return the boxes that are trained on, (n, 2): stretched or letterboxed as `[net]` says."""
    parts = [np.zeros((0, 2))]
    for sample in dataset.samples:
        boxes = sample.boxes_xyxy_px[~sample.ignore].astype(float)
        inner = Placement.of(sample.size, options.size, bool(options.letter_box)).inner
        sides = boxes[:, 2:] - boxes[:, :2]
        parts.append(sides * np.divide(inner, sample.size)[::-1])
    return np.concatenate(parts)


def anchors_per_head(heads: Sequence[AnchorHead], num: int) -> list[int]:
    """Return how many of `num` anchors each head takes, from fine to coarse.

    Each keeps its number if that is `num` in all; else all get the same, and the finest, which have
    the most cells, one more where it does not come out even.

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
    """Return the network with other anchors, (n, 2), shared out by area: small ones to fine maps.

    A box is learned by the head that has the anchor nearest to it, and a coarse map has few cells:
    so the order of areas is that of strides, wherever the head is in the file. Every `[yolo]`
    lists all anchors and masks its own; a `[region]` lists its own, in cells. Where a head's number
    of anchors changes, the filters above it follow. Raises `CfgError` where they cannot.
    """
    heads = anchor_heads(network)
    layers: dict[int, Layer] = {}
    start = 0
    for head, count in zip(heads, anchors_per_head(heads, len(anchors)), strict=True):
        layer = _changed_head(head, anchors, range(start, start + count))
        layers[head.node.index] = layer
        start += count
        if layer.needed_channels != head.node.layer.needed_channels:  # type: ignore[attr-defined]
            above = network[head.node.inputs[0]]
            if not isinstance(above.layer, Convolutional):
                message = f"cannot change its number of anchors: [{above.layer.kind}] stands above"
                hint = "put a [convolutional] above each head"
                raise head.node.error(message, hint)
            layers[above.index] = replace(above.layer, filters=layer.needed_channels)
    return rebuild(network, lambda node: layers.get(node.index, node.layer))


def propose(dataset: Dataset, network: Network, num: int, seed: int) -> tuple[AnchorFit, AnchorFit]:
    """Return the fit of the network's anchors to a data set, and that of `num` clustered ones."""
    sizes = box_sizes(dataset, network.options)
    now = np.concatenate([head.anchors for head in anchor_heads(network)])
    try:
        starts = [now] if len(now) == num else []
        new = cluster(sizes, num, np.random.default_rng(seed), starts)
    except DataError as error:
        span = Span(dataset.path)
        found = error.diagnostic
        message = f"split '{dataset.split}': {found.message}"
        raise DataError(message, span=span, hint=found.hint) from None
    return measure(sizes, now), measure(sizes, new)


def poor_fit_warning(dataset: Dataset, network: Network) -> str | None:
    """Return a line that says how badly the network's anchors fit, None if they fit well enough.

    They fit badly if their mean IoU is lower than that of anchors once chosen by hand (`BY_HAND`)
    and clustering these boxes gains more than it gained there: what can be reached depends on the
    boxes and on the number of anchors. None, too, where boxes are too few to cluster. Raises
    `CfgError` for a network without anchors.
    """
    heads, sizes = anchor_heads(network), box_sizes(dataset, network.options)
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
        f"{cfg}: the anchors fit badly: boxes have a mean IoU of {mean:.2f} with their best, "
        f"{possible:.2f} is possible; '{command}' fits them"
    )


def _anchor_head(node: Node, layer: Anchored | Region, size: tuple[int, int]) -> AnchorHead:
    """Return a head with its anchors; size: the input's (h, w). Raises `CfgError`."""
    try:
        layer.check_boxes()
        cell = size[1] / node.shape.w, size[0] / node.shape.h
        if isinstance(layer, Region):
            own = np.array(anchor_pairs(layer.anchors, layer.num)).reshape(-1, 2) * cell
        else:
            own = np.array(layer.own_anchors, float).reshape(-1, 2)
        if np.any(own <= 0):
            raise LayerError(
                "an anchor has a side of 0 or less", "give positive widths and heights"
            )
    except LayerError as error:
        raise node.error(error) from None
    return AnchorHead(node, own, cell)


def _changed_head(head: AnchorHead, anchors: np.ndarray, own: range) -> Anchored | Region:
    layer = head.node.layer
    if isinstance(layer, Region):
        cells = rounded(anchors[list(own)] / head.cell, DIGITS + 1)
        return layer.changed(anchors=tuple(cells.ravel().tolist()), num=len(own))
    assert isinstance(layer, Anchored)
    flat = tuple(anchors.ravel().tolist())
    return layer.changed(mask=tuple(own), anchors=flat, num=len(anchors))


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
    """Return a line for each stride: its share of the boxes, then its anchors with their number."""
    lines = []
    for stride in dict.fromkeys(row["stride"] for row in rows):
        own = [row for row in rows if row["stride"] == stride]
        share = sum(row["boxes"] for row in own) / boxes
        cells = [f"{row['w']:g}x{row['h']:g} ({row['boxes']:,})" for row in own]
        lines.append(f"  stride {stride:>3g} {share:>7.1%}  {'  '.join(cells)}")
    return lines

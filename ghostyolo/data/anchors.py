"""Anchors that fit a data set: clustering by overlap, and dealing them out to the heads.

Boxes and anchors are (w, h) in pixels of the network's input, as (n, 2) arrays; where boxes lie
plays no part. Every clustering is a pure function of its generator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ghostyolo.data import Dataset
from ghostyolo.data.images import Placement
from ghostyolo.errors import CfgError, DataError, OptionError, Span
from ghostyolo.layers import Layer, LayerError
from ghostyolo.layers.anchor_head import Anchored, pairs
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.region import Region
from ghostyolo.network import Network, Node
from ghostyolo.network.net_options import NetOptions
from ghostyolo.network.passes import rebuild

RESTARTS = 10  # the best of so many; ten more gain about .0001 of mean overlap
MOST_BOXES = 20_000  # that a clustering looks at; on 300,000 made-up ones all gave .0001 more
TURNS = 100  # a clustering that has not settled by then is good enough; most need 15
RATIO = 4.0  # Source: ultralytics/yolov5 data/hyps, anchor_t: beyond it a box is hard to learn
DIGITS = 3  # of an anchor's sides: finer than boxes are drawn
# The mean overlap on VOC 2007 of 9 anchors chosen by hand and of 9 clusters, both of which train
# well. Source: Redmon & Farhadi 2017, table 1.
BY_HAND, CLUSTERED = 0.609, 0.672


@dataclass(frozen=True)
class Scale:
    """A head with its anchors, (n, 2), and the pixels (w, h) from one of its cells to the next."""

    node: Node
    anchors: np.ndarray
    cell: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Fit:
    """How anchors fit boxes.

    mean_iou: the mean over the boxes of the best anchor's overlap, both centred. within_ratio: the
    share of boxes with an anchor of at most `RATIO` times, at least 1/`RATIO` of their width and
    height. counts: (n,) for each anchor the boxes that overlap it most.
    """

    anchors: np.ndarray
    counts: np.ndarray
    mean_iou: float
    within_ratio: float


def scales(network: Network) -> list[Scale]:
    """Return the heads that have anchors, from fine to coarse.

    Raises `CfgError` if there is none, or one that makes no boxes.
    """
    found = [
        _scale(node, node.layer, network.options.size)
        for node in network
        if isinstance(node.layer, Anchored | Region)
    ]
    if not found:
        span = network[0].span if len(network) else None
        message = "no head has anchors: there is no [yolo], [Gaussian_yolo] or [region]"
        hint = "give the cfg of a detector that has one"
        raise CfgError(message, span=Span(span.path) if span else None, hint=hint)
    return sorted(found, key=lambda scale: scale.cell[0] * scale.cell[1])


def box_sizes(dataset: Dataset, options: NetOptions) -> np.ndarray:
    """Return the boxes that are trained on, (n, 2): stretched or letterboxed as `[net]` says."""
    parts = [np.zeros((0, 2))]
    for sample in dataset.samples:
        boxes = sample.boxes_xyxy_px[~sample.ignore].astype(float)
        inner = Placement.of(sample.size, options.size, bool(options.letter_box)).inner
        sides = boxes[:, 2:] - boxes[:, :2]
        parts.append(sides * np.divide(inner, sample.size)[::-1])
    return np.concatenate(parts)


def overlap(sizes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each box with each anchor, both centred, (n, m)."""
    (w, h), (wide, high) = sizes.T[:, :, None], anchors.T[:, None]
    common = np.minimum(w, wide) * np.minimum(h, high)
    return common / (w * h + wide * high - common)


def fit(sizes: np.ndarray, anchors: np.ndarray) -> Fit:
    """Measure how anchors fit boxes. Raises DataError without boxes."""
    if not len(sizes):
        raise DataError("no box to compare anchors with", hint="label some pictures")
    shared = overlap(sizes, anchors)
    factors = [np.abs(np.log(sizes[:, [i]] / anchors[:, i])) for i in (0, 1)]
    near = np.maximum(*factors).min(1) <= np.log(RATIO)
    counts = np.bincount(shared.argmax(1), minlength=len(anchors))
    return Fit(anchors, counts, float(shared.max(1).mean()), float(near.mean()))


def cluster(
    sizes: np.ndarray,
    num: int,
    rng: np.random.Generator,
    starts: Sequence[np.ndarray] = (),
    restarts: int = RESTARTS,
) -> np.ndarray:
    """Return the `num` anchors with the best mean overlap that were found, by area, (num, 2).

    k-medians with 1 - IoU as the distance, from `restarts` k-means++ seeds and from `starts`, which
    are themselves in the choice. Sides are rounded to `DIGITS` digits.

    Raises DataError if there are fewer different boxes than anchors.
    Source: Redmon & Farhadi 2017, section 2 (the distance); Arthur & Vassilvitskii 2007 (the seed).
    """
    different = len(np.unique(_rounded(sizes), axis=0))
    if different < num:
        hint = "keep the cfg's anchors, or label more pictures"
        message = f"{len(sizes)} boxes have {different} different sizes, too few for {num} anchors"
        raise DataError(message if len(sizes) else "there is no box", hint=hint)
    if len(sizes) > MOST_BOXES:
        sizes = rng.choice(sizes, MOST_BOXES, replace=False)
    seeds = [*starts, *(_seed(sizes, num, rng) for _ in range(restarts))]
    settled = [_settled(sizes, centres) for centres in seeds]
    rounded = [_rounded(centres) for centres in (*starts, *settled)]
    best = max(rounded, key=lambda centres: overlap(sizes, centres).max(1).sum())
    return best[np.lexsort((best[:, 0], best.prod(1)))]


def deal(parts: Sequence[Scale], num: int) -> list[int]:
    """Return how many of `num` anchors each head takes, from fine to coarse.

    Each keeps its number if that is `num` in all; else all get the same, and the finest, which have
    the most cells, one more where it does not come out even.

    Raises OptionError if there are fewer anchors than heads.
    """
    counts = [len(part.anchors) for part in parts]
    if num < len(parts):
        message = f"{num} anchors for {len(parts)} heads"
        raise OptionError(message, hint=f"use {len(parts)} or more")
    if sum(counts) == num:
        return counts
    each, rest = divmod(num, len(parts))
    return [each + (place < rest) for place in range(len(parts))]


def rewritten(network: Network, anchors: np.ndarray) -> Network:
    """Return the network with other anchors, (n, 2), dealt out by area: small ones to fine maps.

    A box is learned by the head that has the anchor nearest to it, and a coarse map has few cells:
    so the order of areas is that of strides, wherever in the file a head stands. Every `[yolo]`
    lists all anchors and masks its own; a `[region]` lists its own, in cells. Where a head's number
    of anchors changes, the filters above it follow. Raises `CfgError` where they cannot.
    """
    parts = scales(network)
    layers: dict[int, Layer] = {}
    start = 0
    for part, count in zip(parts, deal(parts, len(anchors)), strict=True):
        layer = _with_anchors(part, anchors, range(start, start + count))
        layers[part.node.index] = layer
        start += count
        if layer.depth != part.node.layer.depth:  # type: ignore[attr-defined]
            above = network[part.node.inputs[0]]
            if not isinstance(above.layer, Convolutional):
                message = f"cannot change its number of anchors: [{above.layer.kind}] stands above"
                hint = "put a [convolutional] above each head"
                kind = layer.kind
                raise CfgError(message, span=part.node.span, section=kind, hint=hint)
            layers[above.index] = replace(above.layer, filters=layer.depth)
    return rebuild(network, lambda node: layers.get(node.index, node.layer))


def propose(dataset: Dataset, network: Network, num: int, seed: int) -> tuple[Fit, Fit]:
    """Return the fit of the network's anchors to a data set, and that of `num` clustered ones."""
    sizes = box_sizes(dataset, network.options)
    now = np.concatenate([part.anchors for part in scales(network)])
    try:
        starts = [now] if len(now) == num else []
        new = cluster(sizes, num, np.random.default_rng(seed), starts)
    except DataError as error:
        span = Span(dataset.path)
        found = error.diagnostic
        message = f"split '{dataset.split}': {found.message}"
        raise DataError(message, span=span, hint=found.hint) from None
    return fit(sizes, now), fit(sizes, new)


def misfit(dataset: Dataset, network: Network) -> str | None:
    """Return a line that says how badly the network's anchors fit, None if they fit well enough.

    They misfit if their mean overlap is lower than that of anchors once chosen by hand (`BY_HAND`)
    and a clustering of these very boxes gains more than one gained there: what can be reached
    depends on the boxes and on how many anchors there are. None, too, where boxes are too few to
    cluster. Raises `CfgError` for a network without anchors.
    """
    parts, sizes = scales(network), box_sizes(dataset, network.options)
    now = np.concatenate([part.anchors for part in parts])
    try:
        fresh = cluster(sizes, len(now), np.random.default_rng(0), restarts=2)
    except DataError:
        return None
    mean, possible = (fit(sizes, anchors).mean_iou for anchors in (now, fresh))
    if mean >= BY_HAND or possible - mean <= CLUSTERED - BY_HAND:
        return None
    span, (h, w) = parts[0].node.span, network.options.size
    cfg = span.path if span else "CFG"
    split = "" if dataset.split == "train" else f" --split {dataset.split}"
    command = f"ghostyolo anchors {dataset.path} {cfg}{split} --size {h}x{w} --out NEW.cfg"
    return (
        f"{cfg}: the anchors fit badly: boxes overlap the nearest by {mean:.2f} in the mean, "
        f"{possible:.2f} is possible; '{command}' fits them"
    )


def _scale(node: Node, layer: Anchored | Region, size: tuple[int, int]) -> Scale:
    """Return a head with its anchors; size: the input's (h, w). Raises `CfgError`."""
    try:
        layer.check()
        cell = size[1] / node.shape.w, size[0] / node.shape.h
        if isinstance(layer, Region):
            own = np.array(pairs(layer.anchors, layer.num)).reshape(-1, 2) * cell
        else:
            own = np.array(layer.own_pairs, float).reshape(-1, 2)
        if np.any(own <= 0):
            raise LayerError(
                "an anchor has a side of 0 or less", "give positive widths and heights"
            )
    except LayerError as misfit:
        kind, hint = layer.kind, misfit.hint
        raise CfgError(str(misfit), span=node.span, section=kind, hint=hint) from None
    return Scale(node, own, cell)


def _with_anchors(part: Scale, anchors: np.ndarray, own: range) -> Anchored | Region:
    layer = part.node.layer
    if isinstance(layer, Region):
        cells = _rounded(anchors[list(own)] / part.cell, DIGITS + 1)
        return layer.changed(anchors=tuple(cells.ravel().tolist()), num=len(own))
    assert isinstance(layer, Anchored)
    flat = tuple(anchors.ravel().tolist())
    return layer.changed(mask=tuple(own), anchors=flat, num=len(anchors))


def _seed(sizes: np.ndarray, num: int, rng: np.random.Generator) -> np.ndarray:
    """Draw boxes one by one, each with a chance that grows with its distance to those drawn."""
    centres = sizes[rng.integers(len(sizes), size=1)]
    while len(centres) < num:
        chance = 1 - overlap(sizes, centres).max(1)
        if chance.sum() <= 0:  # a sample of less variety than the whole
            chance = np.ones(len(sizes))
        drawn = rng.choice(len(sizes), p=chance / chance.sum())
        centres = np.vstack((centres, sizes[drawn]))
    return centres


def _settled(sizes: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Let boxes choose centres, and centres move to the median of their boxes, until all stay.

    Medians reach a mean overlap up to .004 above that of means, in a third of the turns.
    """
    for _ in range(TURNS):
        owner = overlap(sizes, centres).argmax(1)
        owned = (sizes[owner == place] for place in range(len(centres)))
        moved = np.stack(
            [
                np.median(own, 0) if len(own) else old
                for own, old in zip(owned, centres, strict=True)
            ]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _rounded(sides: np.ndarray, digits: int = DIGITS) -> np.ndarray:
    """Round positive numbers to so many digits that count."""
    texts = [f"{side:.{digits}g}" for side in sides.ravel().tolist()]
    return np.array(texts, float).reshape(sides.shape)

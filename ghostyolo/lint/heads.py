"""Rules about detection heads and the layers above them.

Wrong `filters` above a head (head-filters) are found while the network is read, by `check_channels`
in layers/head.py; `add_filters_edit` adds the edit that corrects them.

Source of what Darknet does: AlexeyAB/darknet src/parser.c parse_yolo, src/yolo_layer.c,
src/detector.c train_detector.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, pairwise

from ghostyolo.errors import Diagnostic, Findings
from ghostyolo.layers import KINDS, LayerError
from ghostyolo.layers.anchor_head import Anchored
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.region import Region
from ghostyolo.lint.parsed_cfg import ParsedCfg, layers, place
from ghostyolo.network import IMAGE, Node

_LARGEST_GRID = 19  # cells of a usual input, 608 pixels at stride 32
_READ_IN_LAST_HEAD = ("jitter", "resize", "random", "max", "nms_kind", "beta_nms")


def inputs(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check that the convolution above a head has no batch norm and the activation for decoding."""
    for node in cfg.heads:
        above = cfg.network[node.inputs[0]] if node.inputs[0] != IMAGE else node
        if not isinstance(above.layer, Convolutional):
            continue
        kind, wanted = node.layer.kind, "linear"
        if getattr(node.layer, "new_coords", 0):
            kind, wanted = f"{kind} with new_coords=1", "logistic"
        if above.layer.activation != wanted:
            message = f"activation={above.layer.activation} above [{kind}] ({place(node.span)})"
            hint = f"write activation={wanted}, which this head needs"
            yield cfg.warn("head-activation", above, "activation", message, hint)
        if above.layer.norm:
            message = f"batch_normalize=1 above [{kind}] ({place(node.span)})"
            yield cfg.warn("head-norm", above, "batch_normalize", message, "delete the line")


def boxes(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check that heads can be decoded into boxes, and that all have the same classes."""
    for node in cfg.heads:
        try:
            node.layer.check_boxes()  # type: ignore[attr-defined]
        except LayerError as error:
            key = "mask" if error.rule == "mask-range" else "coords"
            yield cfg.warn(error.rule, node, key, str(error), error.hint)
    for first, node in pairwise(cfg.heads):
        one, other = first.layer.classes, node.layer.classes  # type: ignore[attr-defined]
        if one != other:
            message = f"classes={other}, the head in {place(first.span)} has classes={one}"
            hint = "give all heads the same classes, and set the filters above them"
            yield cfg.error("classes-differ", node, "classes", message, hint)


def masks(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check that each anchor belongs to exactly one head."""
    if not cfg.complete:
        return
    heads = list(layers(cfg, Anchored))
    for (first, one), (node, other) in pairwise(heads):
        if (one.anchors, one.num) != (other.anchors, other.num):
            message = f"other anchors than the head in {place(first.span)}"
            hint = "give all heads the whole list and let mask choose from it"
            yield cfg.warn("anchors-differ", node, "anchors", message, hint)
            return
    owner: dict[int, Node] = {}
    for node, layer in heads:
        for index in layer.mask:
            first = owner.setdefault(index, node)
            if first is not node:
                message = f"mask {index} is also in the mask of the head in {place(first.span)}"
                hint = "assign each anchor to one head"
                yield cfg.warn("mask-overlap", node, "mask", message, hint)
    for node, layer in heads[-1:]:
        anchors = range(min(layer.num, len(layer.anchors) // 2))
        if free := [index for index in anchors if index not in owner]:
            w, h = layer.all_anchors[free[0]]
            message = (
                f"no head's mask has {', '.join(map(str, free))} of num={layer.num} anchors "
                f"({w:g}x{h:g}{' ...' if free[1:] else ''})"
            )
            hint = "add it to a mask: objects that match such an anchor are never learned"
            yield cfg.warn("mask-gap", node, "mask", message, hint)


def strides(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check that heads of larger strides have larger anchors."""
    heads = []
    for node, layer in layers(cfg, Anchored):
        if layer.mask and all(0 <= index < layer.num for index in layer.mask):
            side = sum(abs(w * h) ** 0.5 for w, h in layer.own_anchors) / len(layer.mask)
            heads.append((cfg.network.options.height / node.shape.h, side, node))
    heads.sort(key=lambda head: head[0])
    for (fine, large, node), (coarse, small, other) in pairwise(heads):
        if fine < coarse and large > small:
            message = (
                f"stride {fine:g} has anchors of about {large:.0f} pixels, stride {coarse:g} "
                f"({place(other.span)}) of {small:.0f}"
            )
            hint = "swap the masks: the larger stride takes the larger anchors"
            yield cfg.warn("anchor-stride", node, "mask", message, hint)


def anchors(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check that the number of anchors is `num`, and that they are in the unit of the head."""
    found: Iterator[tuple[Node, Anchored | Region]]
    found = chain(layers(cfg, Anchored), layers(cfg, Region))
    for node, layer in found:
        if cfg.option(node, "anchors") is None:
            continue
        if len(layer.anchors) > 2 * layer.num:
            message = f"{len(layer.anchors)} anchor numbers, num={layer.num} reads {2 * layer.num}"
            hint = f"set num={len(layer.anchors) // 2} or delete the others"
            yield cfg.warn("anchors-count", node, "anchors", message, hint)
        largest, stride = max(layer.anchors), cfg.network.options.height / node.shape.h
        if isinstance(layer, Anchored) and largest < min(stride, 16):
            message = f"the largest anchor is {largest:g}, a cell has {stride:g} pixels"
            hint = f"[{layer.kind}] has anchors in pixels of the network's input, [region] in cells"
            yield cfg.warn("anchor-unit", node, "anchors", message, hint)
        if isinstance(layer, Region) and largest > 2 * max(node.shape[1:]):
            message = f"the largest anchor is {largest:g}, the grid has {node.shape.w} cells"
            hint = f"divide by {stride:g}: [region] has anchors in cells"
            if largest <= _LARGEST_GRID:
                hint = "keep them for trained weights; before a training run ghostyolo anchors"
            yield cfg.warn("anchor-unit", node, "anchors", message, hint)


def last(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check that all heads have the same values for keys that Darknet reads in the last head."""
    for node in cfg.heads[:-1]:
        for key in _READ_IN_LAST_HEAD:
            final = cfg.heads[-1]
            one, other = getattr(node.layer, key, None), getattr(final.layer, key, None)
            if None not in (one, other) and one != other and cfg.option(node, key):
                message = f"{key}={one}, the last head ({place(final.span)}) has {key}={other}"
                hint = "Darknet uses the value of the last head; write the same value in all"
                yield cfg.warn("last-head", node, key, message, hint)


def training(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check keys of heads that stop training or have no effect."""
    for node, layer in layers(cfg, Anchored):
        counted = len(layer.counters_per_class)
        if counted and counted != layer.classes:
            message = f"{counted} counters_per_class for classes={layer.classes}"
            hint = "give one for each class, Darknet stops otherwise"
            yield cfg.warn("counters-count", node, "counters_per_class", message, hint)
        if layer.cls_normalizer != 1 and not counted:
            message = f"cls_normalizer={layer.cls_normalizer:g} without counters_per_class"
            hint = "Darknet reads it with counters_per_class only; delete the line"
            yield cfg.warn("no-effect", node, "cls_normalizer", message, hint)
    if any(getattr(node.layer, "random", 0.0) for node in cfg.heads[-1:]):
        fixed = Counter(node.layer.kind for node in cfg.network if not node.layer.resizable)
        for kind, count in fixed.items():
            message = f"random=1, and {count} x [{kind}] cannot change its size"
            hint = "set random=0: Darknet's training stops when the input size first changes"
            yield cfg.warn("random-resize", cfg.heads[-1], "random", message, hint)


def multiple(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check that the stride of the coarsest head divides the network's input size."""
    if not cfg.heads or not cfg.complete:
        return
    net = cfg.network.options
    coarse = min(cfg.heads, key=lambda node: node.shape.h * node.shape.w)
    for axis, key, side in ((1, "height", net.height), (2, "width", net.width)):
        stride, cells = _stride(cfg, coarse, axis), coarse.shape[axis]
        if cells > 1 and stride.denominator == 1 and side % stride:
            low = side // stride * stride
            message = f"{key}={side} is not a multiple of {stride}, the stride of the coarsest head"
            hint = f"use {low} or {low + stride}: its {cells} cells cover {cells * stride} pixels"
            yield cfg.warn("input-multiple", None, key, message, hint)


def _stride(cfg: ParsedCfg, node: Node, axis: int) -> Fraction:
    """Return the stride of a node along an axis, the product over the layers above it."""
    stride = Fraction(1)
    while True:
        index = node.inputs[0]
        before, after = cfg.network.shape(index)[axis], node.shape[axis]
        stride *= round(before / after) if before >= after else Fraction(1, round(after / before))
        if index == IMAGE:
            return stride
        node = cfg.network[index]


def add_filters_edit(cfg: ParsedCfg, finding: Diagnostic) -> Diagnostic:
    """Add the edit that corrects the filters above a head, if nothing else reads that layer."""
    section = cfg.by_line[finding.span.line] if finding.span else cfg.section(None)
    node = next(node for node in cfg.network if node.span == finding.span)
    layer = KINDS[section.name].parse(section, Findings.ignored())
    above, depth = cfg.network[node.index - 1], int(getattr(layer, "needed_channels", 0))
    if not isinstance(above.layer, Convolutional) or above.layer.groups > 1 or not depth:
        return finding
    shared = any(above.index == index for other in cfg.network for _, index in other.refs)
    if shared or above.refs or cfg.readers.get(above.index) != [node]:
        return finding
    return finding._replace(edits=(cfg.set(above, "filters", str(depth)),))


CHECKS = (inputs, boxes, masks, strides, anchors, last, training, multiple)

"""Whole networks: `[net]` with training settings, backbone, and a classifier or neck and heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ghostyolo.errors import OptionError
from ghostyolo.layers.softmax import Softmax
from ghostyolo.layers.upsample import Upsample
from ghostyolo.network import Network, Node
from ghostyolo.network.net_options import MAX_SIDE, NetOptions
from ghostyolo.network.outputs import classifier_output, detection_heads
from ghostyolo.zoo.base import Family, check_choice, refuse
from ghostyolo.zoo.blocks import conv, depthwise
from ghostyolo.zoo.ghostnet import GhostNet
from ghostyolo.zoo.heads import ANCHORS, default_anchors, yolo_heads
from ghostyolo.zoo.necks import NECKS, add_neck
from ghostyolo.zoo.net_rules import net_for

CLASSES, SIZE, NECK, NECK_WIDTH, HEADS = 80, (416, 416), "pan", 64, (8, 16, 32)  # of a detector
# Detector 1 had three anchors and one more convolution a head, and bottlenecks in the neck.
VERSION = "detector 2: one anchor a head, a ghost module for each join of the neck"
NOT_BACKBONE = ("extra, ", "neck, ", "head, ")  # begin the names of a detector's other layers


def build(
    task: str,
    family: Family,
    *,
    classes: int | None = None,
    size: tuple[int, int] | None = None,
    comment: str = "",
    **options: Any,
) -> Network:
    """Build the network of a task, one of `TASKS`.

    classes, size, options: arguments of `detector`, `classifier` or `backbone`; None leaves the
    default. Raises `OptionError` for an option that the task does not have.
    """
    check_choice("task", task, tuple(TASKS))
    given = {"classes": classes, **options}
    given = {name: value for name, value in given.items() if value is not None}
    for name, value in given.items():
        if task == "backbone" or (task == "classify" and name != "classes"):
            refuse(name, value, f"task {task}")
    if size:
        given["size"] = size
    return TASKS[task](family, comment=comment, **given)


def detector(
    family: Family,
    *,
    classes: int = CLASSES,
    size: tuple[int, int] = SIZE,
    neck: str = NECK,
    neck_width: int = NECK_WIDTH,
    heads: tuple[int, ...] = HEADS,
    anchors: tuple[float, ...] = (),
    comment: str = "",
) -> Network:
    """Build a YOLO detector on a family's backbone; neck and heads are the same for all families.

    size: the input's (h, w) in pixels. heads: their strides, some of 4, 8, 16 and 32. anchors: w,
    h, w, h, ... in pixels of the input, in equal parts for the heads, smallest stride first; COCO's
    by default. Raises `OptionError` for values that are invalid or do not fit each other.
    """
    family = family.for_detection()
    family.check()
    _check_heads(classes, size, neck, neck_width, heads, anchors)
    network = Network(_detector_net(size, classes), comment=_header(comment, family, VERSION))
    features = dict(family.features(network))
    _check_strides(features, size)
    features = _extended(network, features, heads)
    ghostnet = family if isinstance(family, GhostNet) else GhostNet()
    maps = add_neck(network, {s: features[s] for s in heads}, neck, neck_width, ghostnet)
    yolo_heads(network, maps, classes, anchors or default_anchors(heads, size))
    return network


def classifier(
    family: Family,
    *,
    classes: int | None = None,
    size: tuple[int, int] | None = None,
    comment: str = "",
) -> Network:
    """Build the classifier of a family, with the classes and image size of its paper by default.

    size: the input's (h, w) in pixels. Raises `OptionError` for invalid values.
    """
    network = backbone(family, size=size, comment=comment)
    classes = family.classes if classes is None else classes
    _check_classes(classes)
    network.add(Softmax(), family.logits(network, network[-1], classes), name="probabilities")
    return network


def backbone(family: Family, *, size: tuple[int, int] | None = None, comment: str = "") -> Network:
    """Build the family's layers before its classifier. Raises `OptionError` for invalid values."""
    size = size or family.size
    family.check()
    _check_size(size)
    options = _classifier_net(size).changed(**family.training)
    network = Network(options, comment=_header(comment, family))
    dict(family.features(network))
    return network


def backbone_layers(network: Network) -> int:
    """Return the number of first layers that are the backbone.

    In the detectors of this module these are the layers before the first that is named as one of
    neck or head. In others they are the layers that all heads read, before the first [upsample]; in
    classifiers those before the layer with an output for each class.
    """
    if end := classifier_output(network):
        return end.source.index
    named = [node.index for node in network if node.title.startswith(NOT_BACKBONE)]
    read = [_read_by(network, node.inputs[0]) for node, _ in detection_heads(network)]
    shared = set.intersection(*read) if read else set()
    own = [node.index for node in network if node.index not in shared or _enlarges(network, node)]
    return min(named or own, default=0)


def _enlarges(network: Network, node: Node) -> bool:
    return isinstance(node.layer, Upsample) and node.shape.h > network.shape(node.inputs[0]).h


def _read_by(network: Network, index: int) -> set[int]:
    """Return the layers whose outputs a layer depends on."""
    read = {index}
    for node in reversed(network.nodes[: index + 1]):
        if node.index in read:
            read.update(node.inputs)
    return read - {index}


TASKS: dict[str, Callable[..., Network]] = {
    "detect": detector,
    "classify": classifier,
    "backbone": backbone,
}


def _check_strides(features: dict[int, Node], size: tuple[int, int]) -> None:
    """Raise `OptionError` for a family whose maps do not have the strides that it gives them."""
    for stride, node in features.items():
        if (node.shape.h * stride, node.shape.w * stride) != size:
            h, w = size
            message = f"the family gives stride {stride} to maps of {node.shape} for {h}x{w} images"
            raise OptionError(message, hint="correct `features` in its class")


def _extended(
    network: Network, features: dict[int, Node], strides: tuple[int, ...]
) -> dict[int, Node]:
    """Return a backbone's maps by stride, after adding blocks for strides above its largest.

    Raises `OptionError` for a stride below the backbone's smallest.
    """
    finest, stride = min(features), max(features)
    x = features[stride]
    for wanted in sorted(strides):
        if wanted < finest:
            hint = f"use strides of {finest} and more"
            raise OptionError(f"the network has no maps of stride {wanted}", hint=hint)
        while stride < wanted:
            stride *= 2
            x = depthwise(network, x, 3, stride=2, name=f"extra, shrink to {stride}")
            x = features[stride] = conv(network, x, x.shape.c, name=f"extra, mix at {stride}")
    return features


def _detector_net(size: tuple[int, int], classes: int) -> NetOptions:
    """Return `[net]` of a detector.

    The values that do not follow from the data were chosen on BCCD's validation set:
    linear burn-in, then half a cosine; images are enlarged more than their aspect is changed.
    """
    return NetOptions(
        **net_for(classes),
        width=size[1],
        height=size[0],
        channels=3,
        saturation=1.5,
        exposure=1.35,
        hue=0.015,
        mosaic=1,
        mosaic_bound=1,
        learning_rate=0.001,
        learning_rate_min=0.00002,
        power=1.0,
        policy="sgdr",
    )


def _classifier_net(size: tuple[int, int]) -> NetOptions:
    """Return `[net]` of a classifier, with GhostNet's published learning rate and weight decay.

    These are 0.4 at batch size 1024, here scaled to the batch size of 128, and 4e-5.
    """
    return NetOptions(
        batch=128,
        width=size[1],
        height=size[0],
        channels=3,
        decay=0.00004,
        saturation=1.4,
        exposure=1.4,
        hue=0.05,
        learning_rate=0.05,
        burn_in=1000,
        max_batches=1_000_000,
        policy="poly",
        power=1.0,
    )


def _header(comment: str, family: Family, version: str = "") -> str:
    return "\n".join(line for line in (comment, version, *family.notes()) if line)


def _check_classes(classes: int) -> None:
    if classes < 1:
        raise OptionError(f"{classes} classes", hint="use 1 or more")


def _check_size(size: tuple[int, int], stride: int = 1) -> None:
    for side in size:
        if not 0 < side <= MAX_SIDE:
            raise OptionError(f"size {side}", hint=f"use 1 to {MAX_SIDE} pixels")
        if side % stride:
            near = max(1, round(side / stride)) * stride
            message = f"size {side} is not a multiple of the largest stride, {stride}"
            raise OptionError(message, hint=f"use {near}")


def _check_heads(
    classes: int,
    size: tuple[int, int],
    neck: str,
    neck_width: int,
    heads: tuple[int, ...],
    anchors: tuple[float, ...],
) -> None:
    _check_classes(classes)
    check_choice("neck", neck, NECKS)
    if neck_width < 4:
        raise OptionError(f"neck width {neck_width} is below 4", hint=f"use {NECK_WIDTH}")
    unknown = [stride for stride in heads if stride not in ANCHORS]
    if unknown or not heads or len(set(heads)) < len(heads):
        message = f"heads at strides {','.join(map(str, heads)) or '(none)'}"
        hint = f"use different ones of {', '.join(map(str, ANCHORS))}"
        raise OptionError(message, hint=hint)
    _check_size(size, 32)
    if len(anchors) % 2 or any(side <= 0 for side in anchors):
        message = f"{len(anchors)} anchor numbers" if len(anchors) % 2 else "anchors below 0"
        raise OptionError(message, hint="give a width and a height for each anchor, in pixels")
    if len(anchors) // 2 % len(heads):
        message = f"{len(anchors) // 2} anchors do not divide among {len(heads)} heads"
        raise OptionError(message, hint=f"give a multiple of {len(heads)} pairs")

"""Whole networks: a `[net]` that trains well, a body, and what stands on it."""

from __future__ import annotations

from ghostyolo.errors import OptionError
from ghostyolo.layers.dropout import Dropout
from ghostyolo.layers.softmax import Softmax
from ghostyolo.netoptions import MAX_SIDE, NetOptions
from ghostyolo.network import Network
from ghostyolo.zoo.blocks import GATES, conv
from ghostyolo.zoo.ghost import Style, body, tail
from ghostyolo.zoo.heads import ANCHORS, default_anchors, yolo_heads
from ghostyolo.zoo.necks import NECKS, neck

HARD_GATE = "The gates are hard sigmoids through hardtan: OpenCV's Darknet importer refuses this."
NECK_WIDTH = 64
VOC_CLASSES = 20
DROPOUT = 0.2  # before the classifier; ghostnet_pytorch/ghostnet.py


def detector(
    style: Style,
    *,
    classes: int = 80,
    size: tuple[int, int] = (416, 416),
    neck_kind: str = "pan",
    neck_width: int = NECK_WIDTH,
    strides: tuple[int, ...] = (8, 16, 32),
    anchors: tuple[float, ...] = (),
    comment: str = "",
) -> Network:
    """Build a GhostNet-YOLO detector.

    size: the input's (h, w) in pixels. strides: of the heads, among 4, 8, 16 and 32. anchors: w, h,
    w, h, ... in pixels of the input, dealt out to the heads from fine to coarse; COCO's by default.
    Raises `OptionError` for values that do not fit each other.
    """
    _check_style(style)
    _check_heads(classes, size, neck_kind, neck_width, strides, anchors)
    network = Network(_detector_net(size, classes), comment=_header(comment, style))
    taps = body(network, style)
    maps = neck(network, {s: taps[s] for s in strides}, neck_kind, neck_width, style)
    yolo_heads(network, maps, classes, anchors or default_anchors(strides, size))
    return network


def classifier(
    style: Style, *, classes: int = 1000, size: tuple[int, int] = (224, 224), comment: str = ""
) -> Network:
    """Build the paper's classification network. Raises `OptionError`."""
    network = backbone(style, size=size, comment=comment)
    _check_classes(classes)
    x = tail(network, network[-1], style)
    x = network.add(Dropout(probability=DROPOUT), x, name="dropout")
    x = conv(network, x, classes, norm=False, activation="linear", name="classes")
    network.add(Softmax(), x, name="probabilities")
    return network


def backbone(style: Style, *, size: tuple[int, int] = (224, 224), comment: str = "") -> Network:
    """Build stem and bottlenecks alone. Raises `OptionError`."""
    _check_style(style)
    _check_size(size)
    network = Network(_classifier_net(size), comment=_header(comment, style))
    body(network, style)
    return network


def _detector_net(size: tuple[int, int], classes: int) -> NetOptions:
    """Length follows AlexeyAB's rule: 2000 iterations a class, at least 6000.

    His batch of 64 is for sets as large as VOC; on a few hundred pictures many small steps learn
    much faster than few large ones. The rest was chosen on BCCD's val: the rate falls along half a
    cosine after a straight rise, pictures are enlarged more than they are distorted.
    """
    iterations = max(6000, 2000 * classes)
    large = classes >= VOC_CLASSES
    return NetOptions(
        batch=64 if large else 4,
        subdivisions=4 if large else 1,
        width=size[1],
        height=size[0],
        channels=3,
        momentum=0.9,
        decay=0.0005,
        saturation=1.5,
        exposure=1.35,
        hue=0.015,
        mosaic=1,
        mosaic_bound=1,
        learning_rate=0.001,
        learning_rate_min=0.00002,
        burn_in=iterations // 20,
        power=1.0,
        max_batches=iterations,
        policy="sgdr",
    )


def _classifier_net(size: tuple[int, int]) -> NetOptions:
    """Rate and decay are the paper's (0.4 at batch 1024, 4e-5), the rate scaled to the batch."""
    return NetOptions(
        batch=128,
        subdivisions=1,
        width=size[1],
        height=size[0],
        channels=3,
        momentum=0.9,
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


def _header(comment: str, style: Style) -> str:
    lines = [comment, HARD_GATE if style.gate == "hard" else ""]
    return "\n".join(line for line in lines if line)


def _check_style(style: Style) -> None:
    if not 0.05 <= style.width <= 16:
        raise OptionError(f"width {style.width:g}", hint="use 0.05 to 16, such as 0.5, 1.0 or 1.3")
    if style.ratio < 1:
        raise OptionError(f"ratio {style.ratio} is below 1", hint="use 2, the paper's")
    if style.dw < 1 or style.dw % 2 == 0:
        hint = "use an odd kernel, such as 3"
        raise OptionError(f"cheap kernels of {style.dw}x{style.dw} have no centre", hint=hint)
    if style.gate not in GATES:
        raise OptionError(f"gate '{style.gate}'", hint=f"use {' or '.join(GATES)}")


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
    neck_kind: str,
    neck_width: int,
    strides: tuple[int, ...],
    anchors: tuple[float, ...],
) -> None:
    _check_classes(classes)
    if neck_kind not in NECKS:
        raise OptionError(f"neck '{neck_kind}'", hint=f"use one of {', '.join(NECKS)}")
    if neck_width < 4:
        raise OptionError(f"neck width {neck_width} is below 4", hint=f"use {NECK_WIDTH}")
    unknown = [stride for stride in strides if stride not in ANCHORS]
    if unknown or not strides or len(set(strides)) < len(strides):
        message = f"heads at strides {','.join(map(str, strides)) or '(none)'}"
        hint = f"use different ones of {', '.join(map(str, ANCHORS))}"
        raise OptionError(message, hint=hint)
    _check_size(size, 32)
    if len(anchors) % 2 or any(side <= 0 for side in anchors):
        message = f"{len(anchors)} anchor numbers" if len(anchors) % 2 else "anchors below 0"
        raise OptionError(message, hint="give a width and a height for each anchor, in pixels")
    if len(anchors) // 2 % len(strides):
        message = f"{len(anchors) // 2} anchors do not divide among {len(strides)} heads"
        raise OptionError(message, hint=f"give a multiple of {len(strides)} pairs")

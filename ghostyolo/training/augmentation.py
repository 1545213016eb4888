"""The augmentation of a training run, from the keys of `[net]`, the heads and the loss."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ghostyolo.augment.classification import ClassificationAugmentation
from ghostyolo.augment.detection import Augmentation, move_boxes
from ghostyolo.data import Sample
from ghostyolo.data.images import Placement
from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss.base import MIXED, LossConfig
from ghostyolo.network import Network

# The mixtures that mixup, cutmix and mosaic select. Source: src/parser.c parse_net_options.
MIXTURES = ((), ("mixup",), ("cutmix",), ("mosaic",), ("cutmix", "mosaic"))


def detection(
    network: Network, loss: LossConfig, *, object_side: float = 0.0, no_mosaic: bool = False
) -> Augmentation:
    """Return the augmentation of a detector; jitter and resize are those of the last head.

    object_side: see `Columns`. no_mosaic: whether it is for the last part of the run, see
    `LossConfig`.
    """
    options = network.options
    last = [node.layer for node in network if isinstance(node.layer, Yolo)][-1]
    settings = replace(
        _appearance(network),
        jitter=last.jitter,
        resize=last.resize,
        letter_box=bool(options.letter_box),
        mosaic=loss.mosaic if options.mosaic else 0.0,
        mosaic_scale=_mosaic_scale(loss, object_side) if options.mosaic else 1.0,
        mosaic_bound=bool(options.mosaic_bound),
        mixup=MIXED if options.mixup and not options.mosaic else 0.0,
        blur=options.blur,
        gaussian_noise=options.gaussian_noise,
        min_visible=loss.min_visible,
    )
    if not no_mosaic:
        return settings
    return replace(settings, jitter=settings.jitter / 4, resize=1.0, mosaic=0.0, mixup=0.0)


def classification(
    network: Network, loss: LossConfig, *, object_side: float = 0.0, no_mosaic: bool = False
) -> ClassificationAugmentation:
    """Return the augmentation of a classifier; no_mosaic: as in `detection`."""
    options = network.options
    return ClassificationAugmentation(
        min_crop=options.min_crop,
        max_crop=options.max_crop,
        angle=options.angle,
        aspect=options.aspect,
        mixed=0.0 if no_mosaic else MIXED,
        mixtures=MIXTURES[mixture(network)],
        blur=options.blur,
        appearance=_appearance(network),
    )


def detection_truths(network: Network, image: np.ndarray, sample: Sample) -> np.ndarray:
    """Return the truths of a picture that is not augmented: rows of `Compose`, (k, 5)."""
    size, trained = network.options.size, ~sample.ignore
    place = Placement.of(image.shape[:2], size, bool(network.options.letter_box))
    boxes = place.to_input(sample.boxes_xyxy_px[trained])
    cxcywh, kept = move_boxes(boxes, [0, 0, *size[::-1]], False, size)
    return np.column_stack((cxcywh, sample.classes[trained][kept]))


def classification_truths(network: Network, image: np.ndarray, sample: Sample) -> np.ndarray:
    """Return the truths of a picture that is not augmented: rows of `Compose`, (1, 2)."""
    return np.array([(1.0, sample.classes[0])])


def _mosaic_scale(loss: LossConfig, object_side: float) -> float:
    """Return the least scale of the pictures of a mosaic, .5 to 1; the largest is 1.

    It is the scale at which an object of the median side has `LossConfig.mosaic_side`, so that
    large objects are less often cut and small ones stay as large as they are.
    """
    if not loss.mosaic_side or not object_side:
        return 1.0
    return min(max(loss.mosaic_side / object_side, 0.5), 1.0)


def _appearance(network: Network) -> Augmentation:
    options = network.options
    colour = {name: getattr(options, name) for name in ("hue", "saturation", "exposure")}
    return Augmentation(flip=bool(options.flip), **colour)


def mixture(network: Network) -> int:
    """Return the number by which Darknet selects a classifier's mixture, an index of `MIXTURES`."""
    options = network.options
    if options.cutmix:
        return 4 if options.mosaic else 2
    return 3 if options.mosaic else options.mixup

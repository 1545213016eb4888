"""What belongs to a loss and has no key in `[net]`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ghostyolo.augment.classification import ClassificationAugmentation
from ghostyolo.augment.detection import Augmentation
from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss import LOSSES, Cost, entropy
from ghostyolo.network import Network

# what of a forward pass it takes is told by `tasks`; then truths as `data.Batches` has them, and
# the input's (h, w) in pixels
AnyLoss = Callable[[Any, Tensor, tuple[int, int]], Cost]

MIXED = 0.5  # of the pictures, where the cfg asks for mosaic or mixup; src/data.c of Darknet


@dataclass(frozen=True)
class Recipe:
    """How a loss is trained.

    rate: what `[net] learning_rate` is multiplied by. clip: largest norm of the gradient. ema:
    horizon of the weights' moving average, as a share of the run; 0 for none. finish: share of the
    run, its last, in which pictures come whole and hardly changed. visible: least share of a
    truth's area that a crop must leave. mosaic: share of the pictures that are made of four where
    the cfg asks for mosaic.
    """

    loss: AnyLoss
    rate: float = 1.0
    nesterov: bool = False
    clip: float = math.inf
    ema: float = 0.0
    finish: float = 0.0
    visible: float = 0.0
    mosaic: float = MIXED


# Darknet sums its deltas over all slots of an image; the modern loss is a mean over slots taken,
# some fifty times smaller: so one learning_rate serves both. The rest was chosen on BCCD's val.
RECIPES = {
    "modern": Recipe(
        LOSSES["modern"],
        rate=50.0,
        nesterov=True,
        clip=10.0,
        ema=0.04,
        finish=0.15,
        visible=0.25,
        mosaic=1.0,
    ),
    "darknet": Recipe(LOSSES["darknet"]),
}

# A mean over pictures, as Darknet's, so the cfg's rate is taken as it is.
CLASSIFIER = {"cross-entropy": Recipe(entropy.cost, nesterov=True, ema=0.02)}
# What the keys mixup, cutmix and mosaic of [net] ask for. Source: src/parser.c parse_net_options.
MIXTURES = ((), ("mixup",), ("cutmix",), ("mosaic",), ("cutmix", "mosaic"))


def augmentation(network: Network, recipe: Recipe, *, finish: bool = False) -> Augmentation:
    """Return how the cfg wants pictures changed; jitter and resize are the last head's.

    finish: in the end of the run, see `Recipe`.
    """
    options = network.options
    last = [node.layer for node in network if isinstance(node.layer, Yolo)][-1]
    settings = Augmentation(
        jitter=last.jitter,
        resize=last.resize,
        flip=bool(options.flip),
        hue=options.hue,
        saturation=options.saturation,
        exposure=options.exposure,
        letter_box=bool(options.letter_box),
        mosaic=recipe.mosaic if options.mosaic else 0.0,
        mosaic_bound=bool(options.mosaic_bound),
        mixup=MIXED if options.mixup and not options.mosaic else 0.0,
        blur=options.blur,
        gaussian_noise=options.gaussian_noise,
        visible=recipe.visible,
    )
    if not finish:
        return settings
    return replace(settings, jitter=settings.jitter / 4, resize=1.0, mosaic=0.0, mixup=0.0)


def crops(network: Network, recipe: Recipe, *, finish: bool = False) -> ClassificationAugmentation:
    """Return how the cfg wants pictures changed for a classifier; finish: see `Recipe`."""
    options = network.options
    settings = ClassificationAugmentation(
        min_crop=options.min_crop,
        max_crop=options.max_crop,
        angle=options.angle,
        aspect=options.aspect,
        mixed=MIXED,
        mixtures=MIXTURES[mixture(network)],
        blur=options.blur,
        appearance=Augmentation(
            flip=bool(options.flip),
            hue=options.hue,
            saturation=options.saturation,
            exposure=options.exposure,
        ),
    )
    return replace(settings, mixed=0.0) if finish else settings


def mixture(network: Network) -> int:
    """Return Darknet's number of how a classifier's pictures are mixed, a place in `MIXTURES`."""
    options = network.options
    if options.cutmix:
        return 4 if options.mosaic else 2
    return 3 if options.mosaic else options.mixup

"""What belongs to a loss and has no key in `[net]`."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ghostyolo.data.augment import Augmentation
from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss import LOSSES, Loss
from ghostyolo.network import Network

MIXED = 0.5  # of the pictures, where the cfg asks for mosaic or mixup; src/data.c of Darknet


@dataclass(frozen=True)
class Recipe:
    """How a loss is trained.

    rate: what `[net] learning_rate` is multiplied by. clip: largest norm of the gradient. ema:
    horizon of the weights' moving average, as a share of the run; 0 for none. finish: share of the
    run, its last, in which pictures come whole and hardly changed. visible: least share of a
    truth's area that a crop must leave.
    """

    loss: Loss
    rate: float = 1.0
    nesterov: bool = False
    clip: float = math.inf
    ema: float = 0.0
    finish: float = 0.0
    visible: float = 0.0


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
    ),
    "darknet": Recipe(LOSSES["darknet"]),
}


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
        mosaic=MIXED if options.mosaic else 0.0,
        mosaic_bound=bool(options.mosaic_bound),
        mixup=MIXED if options.mixup else 0.0,
        blur=options.blur,
        gaussian_noise=options.gaussian_noise,
        visible=recipe.visible,
    )
    calm = {"jitter": settings.jitter / 4, "resize": 1.0, "mosaic": 0.0, "mixup": 0.0}
    return replace(settings, **calm) if finish else settings

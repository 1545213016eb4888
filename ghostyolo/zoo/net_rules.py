"""The keys of a detector's `[net]` that follow from its data: batch, weight decay and length."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

SMALLEST_BATCH, LARGEST_BATCH = 4, 64
UPDATES_PER_EPOCH = 100  # at least, with a batch above the smallest
PASS = 16  # pictures of a forward pass; a larger batch is divided
LEAST, PER_CLASS, EPOCHS = 6000, 2000, 100  # updates of a run; epochs of one with small batches
LONG = 20_000  # updates of a run, from more of which on the decay is the small one
LARGE_DECAY, SMALL_DECAY = 0.002, 0.0005
VOC_CLASSES = 20


class Setting(NamedTuple):
    """Keys of `[net]` that are set together, with their values, and what these follow from."""

    values: dict[str, Any]
    why: str

    def __str__(self) -> str:
        return " ".join(f"{key}={value}" for key, value in self.values.items())


def net_settings(classes: int, pictures: int | None = None) -> tuple[Setting, Setting, Setting]:
    """Return batch, decay and length for a number of classes and of pictures to train on.

    pictures: None if they are not known. Then a data set of fewer than 20 classes is taken for a
    few hundred pictures, one of more for VOC or COCO.

    Batch: the largest of 4, 8 ... 64 with at least 100 updates an epoch, else 4. On 205 pictures,
    at one learning rate and 20 epochs, batch 4 (51 updates an epoch) has an AP of .513 and batch 8
    (26) .471; batch 2 (102) adds nothing. Length: with batch 64 AlexeyAB's, which is for this
    batch; on fewer pictures 100 epochs, up to which AP rose on 205, and no fewer updates than
    AlexeyAB's least. Decay: .002 has an AP .011 above that of .0005 in runs of 5,125 updates. Its
    effect grows with the number of updates: 20,000 with .002 shrink weights half as much as the
    160,000 with .0005 that these rules give COCO.

    Source: docs/experiments.md, 2026-11-22 and 2026-11-25; AlexeyAB/darknet README, how to train
    custom objects: 2000 iterations a class, at least 6000 and at least the number of pictures;
    cfg/yolov4.cfg: batch 64, decay .0005.
    """
    if pictures is None:
        return _by_classes(classes)
    batch = SMALLEST_BATCH
    while batch < LARGEST_BATCH and pictures >= 2 * batch * UPDATES_PER_EPOCH:
        batch *= 2
    updates, why = _length(classes, pictures, batch)
    an_epoch, epochs = math.ceil(pictures / batch), round(updates * batch / pictures)
    larger = f"; batch {2 * batch} is for {2 * batch * UPDATES_PER_EPOCH:,} pictures or more"
    return (
        _batch(
            batch,
            f"{an_epoch:,} updates an epoch of {pictures:,} pictures"
            + larger * (batch < LARGEST_BATCH),
        ),
        _decay(updates > LONG, f"{updates:,} updates; {SMALL_DECAY} is for more than {LONG:,}"),
        _iterations(updates, f"{epochs:,} epochs; the rule is {why}"),
    )


def net_for(classes: int) -> dict[str, Any]:
    """Return the keys and values of `net_settings` for a number of classes."""
    settings = net_settings(classes)
    return {key: value for setting in settings for key, value in setting.values.items()}


def _by_classes(classes: int) -> tuple[Setting, Setting, Setting]:
    large, why = classes >= VOC_CLASSES, f"{classes} classes"
    return (
        _batch(LARGEST_BATCH if large else SMALLEST_BATCH, why),
        _decay(large, why),
        _iterations(max(LEAST, PER_CLASS * classes), why),
    )


def _length(classes: int, pictures: int, batch: int) -> tuple[int, str]:
    """Return the number of updates, and the rule that gives it."""
    if batch < LARGEST_BATCH:
        updates = max(LEAST, math.ceil(EPOCHS * pictures / batch))
        return updates, f"{EPOCHS} epochs and at least {LEAST:,} updates"
    rule = f"{PER_CLASS:,} updates a class, at least {LEAST:,} and one a picture"
    return max(LEAST, PER_CLASS * classes, pictures), rule


def _batch(batch: int, why: str) -> Setting:
    return Setting({"batch": batch, "subdivisions": max(1, batch // PASS)}, why)


def _decay(small: bool, why: str) -> Setting:
    return Setting({"decay": SMALL_DECAY if small else LARGE_DECAY}, why)


def _iterations(updates: int, why: str) -> Setting:
    return Setting({"max_batches": updates, "burn_in": updates // 20}, why)

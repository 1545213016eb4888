"""How a loss and a cfg together say that pictures are changed."""

from __future__ import annotations

import pytest

from ghostyolo.augment.detection import Augmentation
from ghostyolo.loss import DETECTION_LOSSES as LOSSES
from ghostyolo.loss import loss_config
from ghostyolo.network import Network, loads
from ghostyolo.training import augmentation
from support import tiny


def network(net: str = "", head: str = "") -> Network:
    text = tiny.CFG.replace("hue=.1\n", f"hue=.1\n{net}\n")
    return loads(text + head)


@pytest.mark.parametrize("name", LOSSES)
def test_augmentation_follows_the_cfg(name: str) -> None:
    net = "letter_box=1\nflip=0\nmosaic=1\nmosaic_bound=1\nblur=3\ngaussian_noise=5"
    got = augmentation.detection(network(net, "resize=1.4\n"), loss_config(name))
    assert got == Augmentation(
        jitter=0.2,
        resize=1.4,
        flip=False,
        hue=0.1,
        saturation=1.5,
        exposure=1.5,
        letter_box=True,
        mosaic=loss_config(name).mosaic,
        mosaic_bound=True,
        blur=3,
        gaussian_noise=5,
        min_visible=loss_config(name).min_visible,
    )


def test_darknet_loss_changes_no_augmentation() -> None:
    got = augmentation.detection(network(), loss_config("darknet"))
    assert (got.mosaic, got.mixup, got.min_visible) == (0, 0, 0)


@pytest.mark.parametrize(
    ("net", "mosaic", "mixup"),
    [("mixup=1", 0, 0.5), ("mosaic=1\nmixup=1", 0.5, 0), ("mosaic=1\ncutmix=1", 0.5, 0)],
)
def test_mosaic_takes_precedence_over_mixup(net: str, mosaic: float, mixup: float) -> None:
    got = augmentation.detection(network(net), loss_config("darknet"))
    assert (got.mosaic, got.mixup) == (mosaic, mixup)


def test_the_end_of_a_run_has_no_mosaics() -> None:
    made = network("mosaic=1", "resize=1.4\n")
    last = augmentation.detection(made, loss_config("modern"), no_mosaic=True)
    assert (last.mosaic, last.mixup, last.resize) == (0, 0, 1)
    assert 0 < last.jitter < augmentation.detection(made, loss_config("modern")).jitter


@pytest.mark.parametrize(
    ("name", "object_side", "scale"),
    [
        ("modern", 0.0, 1),  # no objects
        ("modern", 0.1, 1),
        ("modern", 0.3, 2 / 3),
        ("modern", 0.9, 0.5),
        ("darknet", 0.9, 1),
    ],
)
def test_mosaics_show_large_objects_smaller(name: str, object_side: float, scale: float) -> None:
    got = augmentation.detection(network("mosaic=1"), loss_config(name), object_side=object_side)
    assert got.mosaic_scale == pytest.approx(scale)

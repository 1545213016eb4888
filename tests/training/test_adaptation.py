"""--adapt: the classes, the `[net]` and the anchors of a cfg for a data set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ghostyolo.convert import convert
from ghostyolo.data import Dataset, Sample
from ghostyolo.data.anchors import anchor_heads
from ghostyolo.layers.yolo import Yolo
from ghostyolo.model.model import Model
from ghostyolo.network import Network, dumps, load, loads
from ghostyolo.network.outputs import class_counts
from ghostyolo.network.passes import resize
from ghostyolo.training.adaptation import adapted
from ghostyolo.training.options import TrainOptions
from ghostyolo.zoo.families import make_family
from ghostyolo.zoo.net_rules import net_settings
from ghostyolo.zoo.networks import detector
from support import tiny

MANY = {"batch": 64, "subdivisions": 4, "decay": 0.0005, "burn_in": 8000, "max_batches": 160000}
FEW = {"batch": 4, "subdivisions": 1, "decay": 0.002, "burn_in": 300, "max_batches": 6000}


def written(classes: int, **changes: Any) -> Network:
    """Return the network of the cfg that gencfg writes, read from its text."""
    network = detector(make_family("ghostnet", width=0.1), classes=classes, size=(64, 64))
    network.options = network.options.changed(**changes)
    return loads(dumps(network), path="x.cfg")


def data(classes: int, pictures: int = 40, boxes: int = 2, seed: int = 0) -> Dataset:
    """Return a data set of pictures of 64x64 pixels with so many boxes each."""
    rng = np.random.default_rng(seed)
    none, labels = np.zeros(boxes, bool), np.zeros(boxes, np.int64)

    def sample(number: int) -> Sample:
        sides = rng.integers(5, 40, (boxes, 2))
        corners = np.hstack((np.zeros_like(sides), sides)).astype(np.float32)
        return Sample(f"{number}.jpg", corners, labels, none, (64, 64), number)

    names = tuple(f"name{number}" for number in range(classes))
    return Dataset(names, tuple(map(sample, range(pictures))), "train", "DATA")


def anchors(network: Network) -> list[list[float]]:
    return [pair for head in anchor_heads(network) for pair in head.anchors.tolist()]


@pytest.mark.parametrize(("before", "after"), [(80, 1), (1, 80), (2, 3), (20, 30), (3, 3)])
@pytest.mark.parametrize("pictures", [40, 1000])
def test_net_is_that_of_the_data(before: int, after: int, pictures: int) -> None:
    network = adapted(written(before), data(after, pictures, 1), TrainOptions())
    for setting in net_settings(after, pictures):
        assert {key: getattr(network.options, key) for key in setting.values} == setting.values
    assert {count for _, count in class_counts(network)} == {after}


@pytest.mark.parametrize("options", [{}, {"epochs": 3}, {"batch": 2}])
def test_adapting_twice_changes_nothing_more(
    options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """So a run that is started from its own cfg, or resumed with --adapt, is the same."""
    once = adapted(written(80), data(3), TrainOptions(**options))
    caplog.clear()
    again = adapted(loads(dumps(once)), data(3), TrainOptions(**options))
    assert again == once
    assert not any("clustered" in line or "classes" in line for line in caplog.messages)


def test_each_change_is_a_line(caplog: pytest.LogCaptureFixture) -> None:
    adapted(written(80), data(1), TrainOptions())
    *lines, last = caplog.messages
    assert lines == [
        "--adapt: classes=1 (80): those of DATA",
        "--adapt: batch=4 (64) subdivisions=1 (4): 10 updates an epoch of 40 pictures; "
        "batch 8 is for 800 pictures or more",
        "--adapt: decay=0.002 (0.0005): 6,000 updates; 0.0005 is for more than 20,000",
        "--adapt: max_batches=6000 (160000) burn_in=300 (8000): 600 epochs; "
        "the rule is 100 epochs and at least 6,000 updates",
    ]
    assert last.startswith("--adapt: anchors clustered at 64x64 (HxW): 80 boxes have a mean IoU of")


def test_weights_with_other_heads_are_told_with_the_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network, weights = written(80), str(tmp_path / "coco.weights")
    Model(network).save_weights(weights)
    after = adapted(network, data(3), TrainOptions(weights=weights))
    (line,) = (line for line in caplog.messages if "convert" in line)
    start = re.search(r"convert CFG \S*coco.weights (start.conv.\d+), then --weights", line)
    assert start and "has the heads for 80 classes" in line
    convert(network, weights, tmp_path / start[1])
    model = Model(after)
    model.load_weights(tmp_path / start[1])
    caplog.clear()
    adapted(written(3), data(3), TrainOptions(weights=weights))
    assert "convert" not in caplog.text


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"batch": 8}, ("batch", "subdivisions")),
        ({"overrides": {"subdivisions": 8}}, ("batch", "subdivisions")),
        ({"overrides": {"decay": 0.001}}, ("decay",)),
        ({"overrides": {"max_batches": 90}}, ("burn_in", "max_batches")),
        ({"epochs": 3}, ("burn_in", "max_batches")),
    ],
)
def test_what_an_option_gives_is_left_to_it(options: dict[str, Any], kept: tuple[str, ...]) -> None:
    found = adapted(written(80), data(1), TrainOptions(**options)).options
    expected = FEW | {key: MANY[key] for key in kept}
    assert {key: getattr(found, key) for key in expected} == expected


@pytest.mark.parametrize(
    "changes", [{"batch": 32}, {"subdivisions": 16}, {"decay": 0.0001}], ids=str
)
def test_cfg_with_values_of_its_own_keeps_them(
    changes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    before = written(80, **changes)
    assert adapted(before, data(1), TrainOptions()).options == before.options
    kept = [line for line in caplog.messages if line.startswith("--adapt: keeps the cfg's own ")]
    assert [line.split("own ")[1].split("=")[0] for line in kept] == [
        "batch", "decay", "max_batches",
    ]  # fmt: skip
    assert "the data suggests batch=4 subdivisions=1 (10 updates an epoch" in kept[0]


def test_anchors_are_for_the_size_of_the_run() -> None:
    """Also where an option sets it; and do not depend on those of the cfg."""
    expected = anchors(adapted(resize(written(80), (96, 32)), data(3), TrainOptions()))
    overrides = {"width": 32, "height": 96}
    found = anchors(adapted(written(3), data(3), TrainOptions(overrides=overrides)))
    assert found == expected != anchors(adapted(written(80), data(3), TrainOptions()))


def test_weights_keep_the_anchors_that_their_heads_were_trained_with(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not so the weights of first layers alone, or of other classes."""
    before = written(3)
    found = adapted(before, data(3), TrainOptions(weights="best.weights"))
    assert anchors(found) == anchors(before)
    assert "keeps the anchors, with which heads of the weights were trained" in caplog.text
    expected = anchors(adapted(before, data(3), TrainOptions()))
    assert expected != anchors(before)
    for network, weights in (
        (before, "first.conv.9"),
        (before, "timm:ghostnet_100.in1k"),
        (written(80), "best.weights"),
    ):
        assert anchors(adapted(network, data(3), TrainOptions(weights=weights))) == expected


def test_teacher_keeps_the_anchors(caplog: pytest.LogCaptureFixture) -> None:
    found = adapted(written(80), data(3), TrainOptions(teacher="runs/train/big"))
    assert anchors(found) == anchors(written(80))
    assert "keeps the anchors, with which heads of the teacher were trained" in caplog.text


@pytest.mark.parametrize(("boxes", "why"), [(0, "there is no box"), (1, "2 boxes of ")])
def test_too_few_boxes_keep_the_anchors(
    boxes: int, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    found = adapted(written(80), data(3, 2, boxes), TrainOptions())
    assert anchors(found) == anchors(written(80))
    assert f"--adapt: keeps the anchors: split 'train': {why}" in caplog.text


def test_heads_have_room_for_the_boxes_of_the_fullest_picture(
    caplog: pytest.LogCaptureFixture,
) -> None:
    found = adapted(written(80), data(3, 2, 201), TrainOptions())
    assert [node.layer.max for node in found if isinstance(node.layer, Yolo)] == [201] * 3
    assert "--adapt: max=201: the most boxes of a picture, in each [yolo]" in caplog.messages
    assert "max=" not in dumps(adapted(written(80), data(3, 2, 200), TrainOptions()))


def test_other_cfg_gets_classes_and_anchors(tmp_path: Path) -> None:
    network = load(tiny.write(tmp_path))
    found = adapted(network, data(2), TrainOptions())
    assert found.options == network.options
    assert (found[-1].layer.classes, found[2].layer.filters) == (2, 14)
    assert found[-1].layer.anchors != network[-1].layer.anchors

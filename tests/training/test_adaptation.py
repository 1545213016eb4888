"""--adapt: the heads and the `[net]` of a cfg for another number of classes."""

from __future__ import annotations

from typing import Any

import pytest

from ghostyolo.data import Dataset
from ghostyolo.network import Network, dumps, loads
from ghostyolo.network.outputs import class_counts
from ghostyolo.training.adaptation import adapted
from ghostyolo.training.options import TrainOptions
from ghostyolo.zoo.families import make_family
from ghostyolo.zoo.networks import detector

MANY = {"batch": 64, "subdivisions": 4, "decay": 0.0005, "burn_in": 8000, "max_batches": 160000}
FEW = {"batch": 4, "subdivisions": 1, "decay": 0.002, "burn_in": 300, "max_batches": 6000}


def written(classes: int, **changes: Any) -> Network:
    """Return the network of the cfg that gencfg writes, read from its text."""
    network = detector(make_family("ghostnet", width=0.5), classes=classes, size=(64, 64))
    network.options = network.options.changed(**changes)
    return loads(dumps(network), path="x.cfg")


def data(classes: int) -> Dataset:
    return Dataset(tuple(f"name{number}" for number in range(classes)), (), "train", "DATA")


@pytest.mark.parametrize(("before", "after"), [(80, 1), (1, 80), (2, 3), (20, 30)])
def test_adapted_cfg_is_the_one_that_gencfg_writes(before: int, after: int) -> None:
    network = adapted(written(before), data(after), TrainOptions())
    assert network.options == written(after).options
    assert {count for _, count in class_counts(network)} == {after}


def test_each_change_is_told(caplog: pytest.LogCaptureFixture) -> None:
    adapted(written(80), data(1), TrainOptions(epochs=3))
    assert caplog.messages == [
        "--adapt changes the cfg to classes=1 (80), batch=4 (64), subdivisions=1 (4), "
        "decay=0.002 (0.0005): what gencfg writes for so many classes"
    ]


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
    assert caplog.messages == ["--adapt changes the cfg to classes=1 (80)"]


def test_same_classes_change_nothing(caplog: pytest.LogCaptureFixture) -> None:
    before = written(80)
    assert adapted(before, data(80), TrainOptions()) is before
    assert caplog.messages == []

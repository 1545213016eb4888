"""What gencfg and --adapt set in `[net]` by the data."""

from __future__ import annotations

from typing import Any

import pytest

from ghostyolo.zoo.net_rules import net_for, net_settings

KEYS = ("batch", "subdivisions", "decay", "max_batches", "burn_in")


def values(classes: int, pictures: int | None) -> dict[str, Any]:
    return {key: v for each in net_settings(classes, pictures) for key, v in each.values.items()}


@pytest.mark.parametrize(
    ("classes", "pictures", "expected"),
    [
        (3, 205, (4, 1, 0.002, 6000, 300)),  # BCCD
        (80, 128, (4, 1, 0.002, 6000, 300)),  # many classes make no large set
        (1, 400, (4, 1, 0.002, 10_000, 500)),
        (1, 799, (4, 1, 0.002, 19_975, 998)),
        (1, 800, (8, 1, 0.002, 10_000, 500)),
        (1, 3200, (32, 2, 0.002, 10_000, 500)),
        (1, 20_000, (64, 4, 0.002, 20_000, 1000)),
        (20, 16_551, (64, 4, 0.0005, 40_000, 2000)),  # VOC 2007 and 2012
        (80, 118_287, (64, 4, 0.0005, 160_000, 8000)),  # COCO
    ],
)
def test_settings_follow_from_the_data(
    classes: int, pictures: int, expected: tuple[float, ...]
) -> None:
    assert values(classes, pictures) == dict(zip(KEYS, expected, strict=True))


@pytest.mark.parametrize(("classes", "pictures"), [(80, 118_287), (20, 16_551), (3, 205), (1, 1)])
def test_classes_alone_stand_for_the_usual_sets_of_so_many(classes: int, pictures: int) -> None:
    assert net_for(classes) == values(classes, pictures)


@pytest.mark.parametrize("classes", [1, 30])
def test_no_run_is_short_and_no_batch_starves(classes: int) -> None:
    for pictures in (1, 10, 100, 1000, 5000, 10_000, 100_000):
        found = values(classes, pictures)
        updates, batch = found["max_batches"], found["batch"]
        assert updates >= 6000 and updates * batch >= 60 * pictures
        assert batch == 4 or pictures / batch >= 100
        assert batch // found["subdivisions"] <= 16


def test_each_setting_says_why() -> None:
    assert [f"{each}: {each.why}" for each in net_settings(3, 205)] == [
        "batch=4 subdivisions=1: 52 updates an epoch of 205 pictures; batch 8 is for 800 "
        "pictures or more",
        "decay=0.002: 6,000 updates; 0.0005 is for more than 20,000",
        "max_batches=6000 burn_in=300: 117 epochs; the rule is 100 epochs and at least 6,000 "
        "updates",
    ]
    assert [each.why for each in net_settings(80)] == ["80 classes"] * 3

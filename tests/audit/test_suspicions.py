"""Errors in labels are found beside detections as a network makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ghostyolo.audit.evidence import Labels, Views, features
from ghostyolo.audit.logistic import Logistic
from ghostyolo.audit.planted import CLASS, DOUBLE, OK, PLACE, SPURIOUS, Planter
from ghostyolo.audit.suspicions import KINDS, MISSING, Suspicion, suspicions, views_of
from ghostyolo.boxes import iou
from ghostyolo.data import Dataset, Sample
from ghostyolo.model.detections import Detections

SIZE, PICTURES, OBJECTS = (300, 400), 40, 6


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return objects that hardly overlap, and their classes."""
    boxes: list[np.ndarray] = []
    while len(boxes) < OBJECTS:
        sides = rng.uniform(30, 90, 2)
        corner = rng.random(2) * (np.array(SIZE[::-1]) - sides)
        box = np.concatenate((corner, corner + sides))
        if not boxes or iou(box[None], np.array(boxes)).max() < 0.1:
            boxes.append(box)
    return np.array(boxes, np.float32), rng.integers(0, 3, OBJECTS)


def look(boxes: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> Detections:
    """Return what a good network sees: nearly all objects, some twice, and some that are none."""
    kept = rng.random(len(boxes)) < 0.97
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], (1, 2))
    seen = (boxes + rng.normal(0, 0.04, boxes.shape) * sides)[kept]
    scores, own = rng.uniform(0.5, 0.98, len(seen)), classes[kept]
    confused = rng.random(len(seen)) < 0.1
    other = Detections(seen[confused], 0.2 * scores[confused], (own[confused] + 1) % 3)
    corner = rng.random((3, 2)) * 200
    false = Detections(
        np.concatenate((corner, corner + 50), 1), rng.uniform(0.01, 0.2, 3), [0, 1, 2]
    )
    parts = [Detections(seen, scores, own), other, false]
    names = ("boxes", "scores", "classes")
    return Detections(*(np.concatenate([getattr(part, key) for part in parts]) for key in names))


def damaged(
    seed: int,
) -> tuple[Dataset, list[Views], dict[tuple[str, int], str], list[tuple[str, np.ndarray]]]:
    """Return labels of which some are wrong, views, the wrong labels, and the boxes removed."""
    rng = np.random.default_rng(seed)
    samples, views, wrong, removed = [], [], {}, []
    for number in range(PICTURES):
        path = f"{number}.jpg"
        boxes, classes = scene(rng)
        views.append(Views(look(boxes, classes, rng), look(boxes, classes, rng)))
        labels = Labels(boxes, classes, SIZE)
        if number % 3 == 0:
            removed.append((path, boxes[-1]))
            labels = Labels(boxes[:-1], classes[:-1], SIZE)
        if number % 2:
            planter = Planter(np.full(3, 1 / 3), np.full((1, 2), 0.15))
            labels, states = planter.plant(labels, rng)
            wrong |= {(path, row): KINDS[kind] for row, kind in enumerate(states) if kind != OK}
        ignore = np.zeros(len(labels.boxes), bool)
        samples.append(Sample(path, labels.boxes, labels.classes, ignore, SIZE, number))
    return Dataset(("a", "b", "c"), samples, "train", "data"), views, wrong, removed


@pytest.fixture(scope="module")
def audited() -> tuple[Any, ...]:
    """Return what `damaged` does, and the suspicions."""
    dataset, views, wrong, removed = damaged(0)
    return dataset, views, wrong, removed, suspicions(dataset, views)


def test_errors_are_found_and_named(audited: tuple[Any, ...]) -> None:
    _, _, wrong, removed, every = audited
    found = [each for each in every if each.probability >= 0.5]
    of_labels = [each for each in found if each.label is not None]
    right = [each for each in of_labels if wrong.get((each.path, each.label)) == each.kind]
    doubles = sum(kind == KINDS[DOUBLE] for kind in wrong.values())
    planted = len(wrong) - doubles // 2  # of two labels of an object one is reported
    assert planted > 10
    assert len(right) >= 0.8 * planted and len(right) >= 0.8 * len(of_labels)
    missing = [each for each in found if each.kind == MISSING]
    assert len(missing) >= 0.8 * len(removed)
    assert sum(is_one_of(each, removed) for each in missing) >= 0.8 * max(
        len(missing), len(removed)
    )
    assert [each.probability for each in found] == sorted(
        (each.probability for each in found), reverse=True
    )


def is_one_of(suspicion: Suspicion, removed: Sequence[tuple[str, np.ndarray]]) -> bool:
    assert suspicion.seen is not None
    box = np.array(suspicion.seen[0])[None]
    return any(path == suspicion.path and iou(box, own[None]) > 0.5 for path, own in removed)


def test_json_has_what_is_labelled_and_what_is_seen(audited: tuple[Any, ...]) -> None:
    dataset, *_, found = audited
    rows = [each.as_dict(dataset.names) for each in found]
    missing = next(row for row in rows if row["kind"] == MISSING)
    assert "label" not in missing and set(missing["seen"]) == {"class", "name", "score", "box"}
    other = next(row for row in rows if row["kind"] == KINDS[CLASS])
    assert other["label"]["name"] in dataset.names and other["format"] == "xyxy"
    path = next(each for each in dataset.samples if each.path == other["file"])
    np.testing.assert_allclose(
        path.boxes_xyxy_px[other["label"]["index"]], other["label"]["box"], atol=0.01
    )


def test_ignored_labels_are_not_judged(audited: tuple[Any, ...]) -> None:
    dataset, views, *_ = audited
    ignored = [
        Sample(
            s.path, s.boxes_xyxy_px, s.classes, np.ones(len(s.classes), bool), s.size, s.image_id
        )
        for s in dataset.samples
    ]
    found = suspicions(Dataset(dataset.names, ignored, "train", "data"), views)
    assert {each.kind for each in found} == {MISSING}


def test_a_data_set_without_labels_or_detections_has_no_suspicions() -> None:
    empty = Sample("a.jpg", np.zeros((0, 4)), np.zeros(0, int), np.zeros(0, bool), SIZE, 1)
    nothing = Views(Detections.empty(), Detections.empty())
    assert suspicions(Dataset(("a",), [empty], "train", "data"), [nothing]) == []


def test_the_mirror_image_is_seen_in_pixels_of_the_picture() -> None:
    """A detector that finds what is bright finds it at the same place in both views."""

    def detect(images: Sequence[np.ndarray]) -> list[Detections]:
        found = []
        for image in images:
            y, x = np.nonzero(image[..., 0])
            box = [x.min(), y.min(), x.max() + 1, y.max() + 1]
            found.append(Detections([box], [0.9], [0]))
        return found

    image = np.zeros((40, 60, 3), np.uint8)
    image[5:15, 10:30] = 255
    views = views_of(image, detect)
    assert views.plain.boxes.tolist() == views.mirrored.boxes.tolist() == [[10, 5, 30, 15]]


@pytest.mark.parametrize("kind", [SPURIOUS, CLASS, PLACE, DOUBLE])
def test_planted_errors_are_what_they_are_called(kind: int) -> None:
    rng = np.random.default_rng(kind)
    planter = Planter(np.array([0.5, 0.5, 0]), np.full((4, 2), 0.2))
    boxes, classes = scene(rng)
    labels, count = Labels(boxes, classes % 2, SIZE), 0
    for _ in range(60):
        changed, states = planter.plant(labels, rng)
        for row in np.flatnonzero(states == kind):
            best = iou(changed.boxes[[row]], boxes)[0]
            if kind == SPURIOUS:
                assert row >= OBJECTS and best.max() < 0.3
            elif kind == CLASS:
                assert changed.classes[row] != labels.classes[row] and changed.classes[row] < 2
                assert best[row] > 0.999
            elif kind == PLACE:
                assert 0.2 < best[row] < 0.85
            elif row >= OBJECTS:
                assert best.max() > 0.6 and states[best.argmax()] in (DOUBLE, CLASS, PLACE)
            count += 1
    assert count > 5


def test_probabilities_are_those_of_a_linear_boundary() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 2))
    states = (rng.random(4000) < 1 / (1 + np.exp(-2 * x[:, 0]))).astype(int)
    found = Logistic(x, states, 2)(np.array([[-1.0, 0], [0, 0], [1, 0]]))
    np.testing.assert_allclose(found.sum(1), 1)
    np.testing.assert_allclose(found[:, 1], 1 / (1 + np.exp([2, 0, -2])), atol=0.07)


def test_features_of_a_label_that_is_seen() -> None:
    labels = Labels(np.array([[10, 10, 50, 50.0]]), np.array([1]), SIZE)
    view = Detections(labels.boxes, [0.8], [1])
    found = features(labels, Views(view, view))
    assert found.shape == (1, 10)
    np.testing.assert_allclose(found[0, :5], [np.log(4), np.log(0.001 / 0.999), 1, 1, 1], atol=1e-5)

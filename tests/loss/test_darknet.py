"""The loss in vectors against Darknet's own deltas, and against its rules cell by cell."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ghostyolo import boxes as bx
from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss import darknet, iou
from ghostyolo.network import load
from support import goldens

Numbers = Sequence[float]

# Darknet's C code: prediction, truth (cx, cy, w, h), then dx_box_iou's x, y, w, h by kind.
GRADIENTS = [
    (
        (0.5, 0.5, 0.4, 0.3),
        (0.55, 0.45, 0.3, 0.5),
        {
            "iou": (2.5, 0, 0.833333, 2.777777),
            "giou": (3.25, 0, 0.083333, 3.777777),
            "diou": (2.767697, -0.243902, 0.845231, 2.777777),
            "ciou": (2.767697, -0.243902, 0.835053, 2.791349),
        },
    ),
    (
        (0.2, 0.2, 0.1, 0.1),
        (0.7, 0.8, 0.2, 0.3),
        {
            "iou": (0, 0, 0, 0),
            "giou": (0.562130, 0.504808, 1.360946, 1.225961),
            "diou": (1.643626, 1.993966, 0.351225, 0.432277),
            "ciou": (1.643626, 1.993966, 0.351141, 0.432361),
        },
    ),
    (
        (0.5, 0.5, 0.2, 0.2),
        (0.5, 0.5, 0.4, 0.2),
        {
            "iou": (0, 0, 5, -2.5),
            "giou": (0, 0, 5, 2.5),
            "diou": (0, 0, 5, -2.5),
            "ciou": (0, 0, 5.004038, -2.504039),
        },
    ),
]
SIZE = (64, 96)


@pytest.mark.parametrize(("prediction", "truth", "expected"), GRADIENTS)
@pytest.mark.parametrize("kind", iou.KINDS)
def test_gradient_is_darknets(
    prediction: Numbers, truth: Numbers, expected: dict[str, Numbers], kind: str
) -> None:
    got = iou.darknet_gradient(torch.tensor([prediction]), torch.tensor([truth]), kind)
    np.testing.assert_allclose(got[0], expected[kind], atol=1e-5)


@pytest.mark.parametrize(("column", "kind"), list(enumerate(iou.KINDS)))
def test_values_and_gradients_are_darknets_on_sixty_pairs(column: int, kind: str) -> None:
    rows = goldens.read(goldens.FOLDER / "train/box_functions.json")["rows"]
    a, b = torch.tensor([row[:8] for row in rows]).split(4, 1)
    np.testing.assert_allclose(iou.KINDS[kind](a, b), [row[8 + column] for row in rows], atol=1e-6)
    got = iou.darknet_gradient(a, b, kind)
    np.testing.assert_allclose(got, [row[13 + column] for row in rows], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", iou.KINDS)
def test_values_are_those_of_numpy_and_differentiable(kind: str) -> None:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.random((30, 4)) + 0.01) for _ in range(2))
    xyxy = [bx.cxcywh_to_xyxy(box.numpy()) for box in (a, b)]
    got = iou.KINDS[kind](a[:, None], b)
    np.testing.assert_allclose(got, getattr(bx, kind)(*xyxy), atol=1e-12)
    if kind != "ciou":  # whose alpha is a constant to its authors
        assert torch.autograd.gradcheck(iou.KINDS[kind], (a.requires_grad_(), b))


def golden_mini_batches(path: Path) -> Iterator[tuple[torch.Tensor, dict, Any]]:
    """Yield truths and Darknet's report of each mini-batch, with head, output, delta by head."""
    golden, arrays = goldens.read(path.with_suffix(".json")), np.load(path)
    rows = torch.tensor([[r[0], *r[2:6], r[1]] for r in golden["truth_boxes[image,class,x,y,w,h]"]])
    layers = [node.layer for node in load(goldens.cfg_of(path))]
    heads, batch = [layer for layer in layers if isinstance(layer, Yolo)], golden["mini_batch"]
    lines = {(entry["it"], entry["sub"]): entry["lines"] for entry in golden["log_lines"]}
    for iteration, sub in product((1, 3), range(golden["subdivisions"])):
        prefix = f"it{iteration}_s{sub}_yolo"
        if iteration <= len(golden["iters"]):
            report = golden["iters"][iteration - 1]["sub"][sub]
            report["lines"] = lines[iteration, sub][: len(heads)]
            truths = rows[rows[:, 0] // batch == sub] - torch.eye(6)[0] * batch * sub
            keys = [f"{prefix}{head['i']}" for head in report["yolo"]]
            held = [
                (torch.from_numpy(arrays[f"{key}_out"]), arrays[f"{key}_delta"]) for key in keys
            ]
            yield truths, report, zip(heads, held, strict=True)


@goldens.each("train", "*.npz")
def test_deltas_and_costs_are_darknets(path: Path) -> None:
    for truths, report, heads in golden_mini_batches(path):
        seen = []
        for (head, (output, delta)), its, line in zip(
            heads, report["yolo"], report["lines"], strict=True
        ):
            got, statistics = darknet.deltas(head, output, truths, SIZE)
            np.testing.assert_allclose(got, delta, atol=3e-6 * np.abs(delta).max())
            assert statistics.cost == pytest.approx(its["cost"], rel=2e-6)
            shown = [getattr(statistics, key) for key in PRINTED]
            shown[1] = max(shown[1], 1)
            assert shown == pytest.approx(printed(line), rel=1e-5, abs=1e-5)
            seen.append(statistics)
        assert np.mean([each.cost for each in seen]) == pytest.approx(report["cost"], rel=2e-6)
        for key in ("total_bbox", "rewritten_bbox"):
            assert sum(getattr(each, key) for each in seen) == report[key]


PRINTED = ("iou", "count", "class_loss", "iou_loss", "total_loss")


def printed(line: str) -> list[float]:
    """Return the numbers PRINTED as they stand in Darknet's line."""
    return [float(number) for number in re.findall(r"([\d.]+)(?:\)|,| ?$)", line)[-5:]]


# The rules once more, one slot and one truth at a time, in the words of the reference.


class Literal:
    """Darknet's procedure for one head over plain numbers: no vectors, no shared code."""

    def __init__(self, head: Yolo, output: np.ndarray, size: tuple[int, int]) -> None:
        self.head, self.output, self.size = head, output, size
        self.images, _, self.rows, self.columns = output.shape
        self.delta = np.zeros_like(output)
        self.total = self.rewritten = 0
        self.overlaps, self.qualities = [], []
        counters = [max(c, 1) for c in head.counters_per_class]
        self.multipliers = [min(max(counters) / c, head.max_delta) for c in counters]

    def at(self, array: np.ndarray, image: int, k: int, row: int, column: int) -> np.ndarray:
        """Return a view of one slot's values."""
        depth = 5 + self.head.classes
        return array[image, k * depth : (k + 1) * depth, row, column]

    def anchor(self, n: int) -> tuple[float, float]:
        return self.head.anchors[2 * n], self.head.anchors[2 * n + 1]

    def box(self, p: Numbers, n: int, row: int, column: int) -> Numbers:
        aw, ah = self.anchor(n)
        if self.head.new_coords:
            w, h = (2 * p[2]) ** 2 * aw, (2 * p[3]) ** 2 * ah
        else:
            w, h = math.exp(p[2]) * aw, math.exp(p[3]) * ah
        x, y = (column + p[0]) / self.columns, (row + p[1]) / self.rows
        return x, y, w / self.size[1], h / self.size[0]

    def run(self, truths: Sequence[Numbers]) -> np.ndarray:
        for image in range(self.images):
            known = self.read([row for row in truths if row[0] == image])
            for k, row, column in product(
                range(len(self.head.mask)), range(self.rows), range(self.columns)
            ):
                self.background(known, image, k, row, column)
            for truth in known:
                self.assign(truth, image)
        if self.head.iou_thresh < 1:
            self.average()
        return self.delta

    def read(self, rows: Sequence[Numbers]) -> list[Numbers]:
        known = []
        for _, x, y, w, h, label in rows[: self.head.max]:
            if x == 0:
                break
            if 0 <= int(label) < self.head.classes:
                known.append((x, y, w, h, int(label)))
        return known

    def background(self, truths: list[Numbers], image: int, k: int, row: int, column: int) -> None:
        head = self.head
        p, d = (self.at(array, image, k, row, column) for array in (self.output, self.delta))
        box = self.box(p, head.mask[k], row, column)
        best = match = 0
        nearest = None
        for truth in truths:
            overlap = pair("iou", box, truth[:4])
            if overlap > best:
                best, nearest = overlap, truth
            if overlap > match and any(q > 0.25 for q in p[5:]):
                match = overlap
        d[4] = head.obj_normalizer * (0 - p[4])
        if match > head.ignore_thresh:
            smooth = head.obj_normalizer * (match - p[4])
            d[4] = max(d[4], smooth) if head.objectness_smooth else 0
        if best > head.truth_thresh:
            target = best**2 if head.objectness_smooth else 1
            d[4] = head.obj_normalizer * (target - p[4])
            label = nearest[4]
            self.pull_class(p, d, label)
            if head.objectness_smooth:
                d[5 + label] = self.multiplier(label) * (target - p[5 + label])
            self.pull_box(p, d, nearest, head.mask[k], row, column)

    def assign(self, truth: Numbers, image: int) -> None:
        head = self.head
        column, row = int(truth[0] * self.columns), int(truth[1] * self.rows)
        shape = (0, 0, *truth[2:4])
        boxes = [(0, 0, *np.divide(self.anchor(n), self.size[::-1])) for n in range(head.num)]
        overlaps = [pair("iou", box, shape) for box in boxes]
        best = overlaps.index(max(overlaps))
        wanted = [best]
        if head.iou_thresh < 1:
            kinds = [pair(head.iou_thresh_kind, box, shape) for box in boxes]
            wanted += [n for n in range(head.num) if n != best and kinds[n] > head.iou_thresh]
        for n in wanted:
            if n in head.mask:
                self.assign_slot(truth, image, head.mask.index(n), n, row, column)

    def assign_slot(
        self, truth: Numbers, image: int, k: int, n: int, row: int, column: int
    ) -> None:
        head, label = self.head, truth[4]
        p, d = (self.at(array, image, k, row, column) for array in (self.output, self.delta))
        self.pull_box(p, d, truth, n, row, column)
        if not head.objectness_smooth or d[4] == 0:
            d[4] = self.multiplier(label) * head.obj_normalizer * (1 - p[4])
        self.pull_class(p, d, label)
        box = self.box(p, n, row, column)
        self.overlaps.append(pair("iou", box, truth[:4]))
        self.qualities.append(pair("giou" if head.iou_loss == "giou" else "iou", box, truth[:4]))

    def multiplier(self, label: int) -> float:
        return self.multipliers[label] if self.multipliers else 1

    def pull_box(
        self, p: Numbers, d: np.ndarray, truth: Numbers, n: int, row: int, column: int
    ) -> None:
        head = self.head
        self.total += 1
        self.rewritten += any(d[:4])
        normalizer = head.iou_normalizer * self.multiplier(truth[4])
        x, y, w, h = truth[:4]
        if head.iou_loss == "mse":
            ratios = [
                side * s / a
                for side, s, a in zip((w, h), self.size[::-1], self.anchor(n), strict=True)
            ]
            sizes = [math.sqrt(r / 4) if head.new_coords else math.log(r) for r in ratios]
            targets = (x * self.columns - column, y * self.rows - row, *sizes)
            for i in range(4):
                d[i] += (2 - w * h) * normalizer * (targets[i] - p[i])
            return
        step = list(gradient(head.iou_loss, self.box(p, n, row, column), truth[:4]))
        for i in range(4):
            factor = math.exp(p[i]) if i > 1 and not head.new_coords else 1
            change = normalizer * step[i] * factor
            change = change if math.isfinite(change) else 0
            d[i] += min(max(change, -head.max_delta), head.max_delta)

    def pull_class(self, p: Numbers, d: np.ndarray, label: int) -> None:
        head, eps = self.head, self.head.label_smooth_eps
        if d[5 + label] != 0:
            d[5 + label] = (1 - eps / 2 - p[5 + label]) * self.multiplier(label)
            return
        pt = p[5 + label] + 1e-15
        focus = -(1 - pt) * (2 * pt * math.log(pt) + pt - 1) / 2
        for q in range(head.classes):
            if head.focal_loss:
                d[5 + q] = ((q == label) - p[5 + q]) * focus
            else:
                d[5 + q] = (1 - eps / 2 if q == label else eps / 2) - p[5 + q]
        if self.multipliers and not head.focal_loss:
            d[5 + label] *= self.multipliers[label] * head.cls_normalizer

    def average(self) -> None:
        places = (range(self.images), range(len(self.head.mask)))
        for place in product(*places, range(self.rows), range(self.columns)):
            d = self.at(self.delta, *place)
            if d[4] != 0 and any(d[5:] > 0):
                d[:4] /= sum(d[5:] > 0)

    def cost(self) -> float:
        squares = (self.delta**2).sum()
        if self.head.iou_loss == "mse":
            return squares
        depth = 5 + self.head.classes
        rest = sum(
            (self.delta[:, c] ** 2).sum() for c in range(self.delta.shape[1]) if c % depth > 3
        )
        apart = 1 - np.mean(self.qualities) if self.qualities else 0
        return self.head.iou_normalizer * apart + self.head.obj_normalizer * rest


def pair(kind: str, a: Numbers, b: Numbers) -> float:
    """Return one value of the family for two cxcywh boxes."""
    if kind != "iou":  # the tests of boxes hold these to Darknet's
        function = {"giou": bx.giou, "diou": bx.diou, "ciou": bx.ciou}[kind]
        return function(*(bx.cxcywh_to_xyxy(np.array([box], float)) for box in (a, b)))[0, 0]
    w, h = (
        min(a[i] + a[i + 2] / 2, b[i] + b[i + 2] / 2)
        - max(a[i] - a[i + 2] / 2, b[i] - b[i + 2] / 2)
        for i in (0, 1)
    )
    return w * h / (a[2] * a[3] + b[2] * b[3] - w * h) if w > 0 and h > 0 else 0


def gradient(kind: str, prediction: Numbers, truth: Numbers) -> list[float]:
    """Return dx_box_iou's x, y, w, h; the tests above hold it to Darknet's."""
    prediction, truth = (torch.tensor([box], dtype=torch.float64) for box in (prediction, truth))
    return iou.darknet_gradient(prediction, truth, kind)[0].tolist()


FLAGS = {
    "iou_loss": ("mse", "iou", "giou", "diou", "ciou"),
    "new_coords": (0, 1),
    "scale_x_y": (1.0, 1.2, 2.0),
    "ignore_thresh": (0.7, 0.3, 0.05),
    "truth_thresh": (1.0, 0.2, 0.4),
    "iou_thresh": (1.0, 0.2, 0.4),
    "iou_thresh_kind": ("iou", "giou", "diou", "ciou"),
    "iou_normalizer": (0.75, 0.07),
    "obj_normalizer": (1.0, 0.4),
    "cls_normalizer": (1.0, 0.5),
    "objectness_smooth": (0, 1),
    "label_smooth_eps": (0.0, 0.1),
    "focal_loss": (0, 1),
    "counters_per_class": ((), (5, 0, 40)),
    "max_delta": (float("inf"), 5.0, 0.3),
    "mask": ((3, 4, 5), (0, 1, 2), (5, 1)),
    "max": (200, 9),
}


def random_case(seed: int) -> tuple[Yolo, np.ndarray, np.ndarray]:
    """Return a head, an activated output and truths that crowd a few cells of three images."""
    rng = np.random.default_rng(seed)
    flags = {key: values[rng.integers(len(values))] for key, values in FLAGS.items()}
    anchors = (5, 7, 10, 12, 18, 25, 30, 28, 50, 40, 80, 60)
    head = Yolo(classes=3, num=6, anchors=anchors, **flags)
    output = rng.normal(0, 1, (3, len(head.mask) * 8, 4, 6))
    maps = output.reshape(3, -1, 8, 4, 6)
    logistic = 1 / (1 + np.exp(-maps))
    maps[:] = np.where(
        (np.arange(8) // 2 == 1)[:, None, None] & (not head.new_coords), maps, logistic
    )
    maps[:, :, :2] = maps[:, :, :2] * head.scale_x_y - (head.scale_x_y - 1) / 2
    maps[:, :, 5:].flat[rng.integers(0, maps[:, :, 5:].size, 300)] = rng.integers(0, 2, 300)
    centres = rng.random((4, 2))[rng.integers(0, 4, 24)] + rng.normal(0, 0.02, (24, 2))
    sizes = np.exp(rng.uniform(-3, 0, (24, 2)))
    rows = np.column_stack(
        (rng.integers(0, 3, 24), centres.clip(0.001, 0.999), sizes, rng.integers(0, 3, 24))
    )
    rows[rng.integers(24), 5] = rng.choice((-1, 3))
    rows[rng.integers(12, 24), 1] = 0
    return head, output, rows


@pytest.mark.parametrize("seed", range(40))
def test_vectors_obey_the_rules(seed: int) -> None:
    head, output, rows = random_case(seed)
    literal = Literal(head, output, SIZE)
    expected = literal.run(rows)
    got, statistics = darknet.deltas(head, torch.from_numpy(output), torch.from_numpy(rows), SIZE)
    np.testing.assert_allclose(got, expected, atol=1e-9 * np.abs(expected).max())
    assert statistics.cost == pytest.approx(literal.cost())
    assert statistics.count == len(literal.overlaps)
    assert statistics.iou == pytest.approx(np.mean(literal.overlaps or [0]))
    assert (statistics.total_bbox, statistics.rewritten_bbox) == (literal.total, literal.rewritten)


def test_images_do_not_see_each_other() -> None:
    head, output, rows = random_case(1)
    output, rows = torch.from_numpy(output), torch.from_numpy(rows)
    together, _ = darknet.deltas(head, output, rows, SIZE)
    for image in range(3):
        own = rows[rows[:, 0] == image] * torch.tensor([0, 1, 1, 1, 1, 1])
        alone, _ = darknet.deltas(head, output[image : image + 1], own, SIZE)
        torch.testing.assert_close(alone[0], together[image])


def test_rows_of_different_images_may_be_mixed() -> None:
    head, output, rows = random_case(2)
    output, rows = torch.from_numpy(output), torch.from_numpy(rows)
    grouped = rows[rows[:, 0].argsort(stable=True)]
    first, second = (darknet.deltas(head, output, each, SIZE)[0] for each in (rows, grouped))
    assert torch.equal(first, second)


@pytest.mark.parametrize("kind", ["mse", "ciou"])
def test_loss_has_darknets_cost_and_its_gradient_is_the_delta(kind: str) -> None:
    head = Yolo(classes=2, num=2, anchors=(10, 10, 30, 30), iou_loss=kind)
    raw = torch.randn(2, 14, 3, 3, generator=torch.manual_seed(0), requires_grad=True)
    truths = torch.tensor([[0, 0.5, 0.5, 0.3, 0.4, 1], [1, 0.2, 0.9, 0.1, 0.1, 0]])
    maps = raw.view(2, 2, 7, 3, 3)
    output = torch.cat((maps[:, :, :2].sigmoid(), maps[:, :, 2:4], maps[:, :, 4:].sigmoid()), 2)
    output = output.view(2, 14, 3, 3)
    delta, statistics = darknet.deltas(head, output, truths, SIZE)
    value, again = darknet.head_loss(head, raw, truths, SIZE)
    (value / 4).backward()
    torch.testing.assert_close(raw.grad, -delta / 4)
    assert value.item() == pytest.approx(statistics.cost)
    assert again == statistics


def test_half_precision_is_computed_in_single() -> None:
    head, output, rows = random_case(3)
    output, rows = torch.from_numpy(output).half(), torch.from_numpy(rows).float()
    delta, _ = darknet.deltas(head, output, rows, SIZE)
    assert delta.dtype == torch.float32
    assert torch.equal(delta, darknet.deltas(head, output.float(), rows, SIZE)[0])


def test_without_truths_everything_is_background() -> None:
    head = Yolo(classes=1, num=1, anchors=(10, 10), obj_normalizer=0.5)
    output = torch.rand(2, 6, 3, 4)
    delta, statistics = darknet.deltas(head, output, torch.zeros(0, 6), SIZE)
    torch.testing.assert_close(delta[:, 4], -output[:, 4] / 2)
    assert not delta[:, [0, 1, 2, 3, 5]].any()
    assert statistics.count == 0
    assert statistics.iou == 0


def test_a_centre_on_the_border_stays_in_its_cell() -> None:
    head = Yolo(classes=1, num=1, anchors=(10, 10))
    truths = torch.tensor([[0, 1.0, 1.0, 0.1, 0.1, 0]])
    delta, _ = darknet.deltas(head, torch.full((1, 6, 3, 4), 0.5), truths, SIZE)
    assert (delta[0, 4] > 0).nonzero().tolist() == [[2, 3]]


def test_show_details_changes_the_cost_only() -> None:
    head, output, rows = random_case(4)
    output, rows = torch.from_numpy(output), torch.from_numpy(rows)
    terse = dataclasses.replace(head, iou_loss="ciou", show_details=0)
    full = dataclasses.replace(terse, show_details=1)
    (a, brief), (b, detailed) = (darknet.deltas(each, output, rows, SIZE) for each in (terse, full))
    assert torch.equal(a, b)
    assert brief.cost == pytest.approx(float((a**2).sum()))
    assert dataclasses.replace(brief, cost=0) == dataclasses.replace(detailed, cost=0)


@goldens.each("train", "*.npz")
def test_rules_are_darknets(path: Path) -> None:
    truths, _, heads = next(golden_mini_batches(path))
    for head, (output, delta) in heads:
        got = Literal(head, output.double().numpy(), SIZE).run(truths.double().tolist())
        np.testing.assert_allclose(got, delta, atol=1e-5 * np.abs(delta).max())

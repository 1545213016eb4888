"""The modern loss against its rules, taken one truth and one slot at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ghostyolo.boxes import ciou, iou
from ghostyolo.loss import iou as pairs
from ghostyolo.loss import modern, modern_assignment
from ghostyolo.loss.base import HeadOutput
from ghostyolo.loss.modern_assignment import Slots, boxes_px
from ghostyolo.loss.predictions import TINY, Predictions
from support.head_runs import CLASSES, SIZE, make_runs

Place = tuple[int, int, int, int, int]  # head, image, anchor, row, column


def make_truths(seed: int, count: int = 6, images: int = 2) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    wh = rng.uniform(0.02, 0.6, (count, 2))
    xy = rng.uniform(0, 1, (count, 2))
    image, label = rng.integers(0, images, count), rng.integers(0, CLASSES, count)
    return torch.from_numpy(np.column_stack((image, xy, wh, label))).float()


class Literal:
    """The rules over plain numbers: every slot of the image is looked at for every truth."""

    def __init__(self, runs: list[HeadOutput], truths: torch.Tensor) -> None:
        self.heads = [run.head for run in runs]
        self.boxes, self.scores = [], []
        for run in runs:
            n, _, h, w = run.raw.shape
            output = run.head.module()(run.raw.detach())
            boxes, objectness, classes = run.head.decode(output.double(), SIZE)
            px = boxes.numpy() * [SIZE[1], SIZE[0], SIZE[1], SIZE[0]]
            scores = np.concatenate((objectness[..., None], classes), -1)
            self.boxes.append(px.reshape(n, h, w, 2, 4))
            self.scores.append(scores.reshape(n, h, w, 2, 1 + CLASSES))
        self.truths = truths.double().numpy() * [1, SIZE[1], SIZE[0], SIZE[1], SIZE[0], 1]
        self.matches = self.match()

    def places(self, image: int) -> list[Place]:
        return [
            (head, image, anchor, row, column)
            for head, boxes in enumerate(self.boxes)
            for row, column, anchor in product(*map(range, boxes.shape[1:4]))
        ]

    def at(self, table: list[np.ndarray], place: Place) -> np.ndarray:
        head, image, anchor, row, column = place
        return table[head][image, row, column, anchor]

    def near(self, place: Place, truth: np.ndarray) -> bool:
        """Whether the slot's cell is one of the sixteen around the truth's centre."""
        head, _, _, row, column = place
        stride = SIZE[0] / self.boxes[head].shape[1]
        first = [math.floor(truth[axis] / stride - 1.5) for axis in (1, 2)]
        return first[0] <= column < first[0] + 4 and first[1] <= row < first[1] + 4

    def fits(self, place: Place, truth: np.ndarray) -> bool:
        w, h = self.heads[place[0]].own_anchors[place[2]]
        return max(truth[3] / w, w / truth[3], truth[4] / h, h / truth[4]) < 4

    def price(self, place: Place, truth: np.ndarray) -> float:
        objectness, *classes = self.at(self.scores, place)
        total = 0.0
        for label, probability in enumerate(classes):
            q = math.sqrt(objectness * probability)
            total -= math.log(q) if label == truth[5] else math.log(1 - q)
        total -= 3 * math.log(max(self.overlap(place, truth), 1e-7))
        head, _, _, row, column = place
        stride = SIZE[0] / self.boxes[head].shape[1]
        x, y = (column + 0.5) * stride, (row + 0.5) * stride
        outside = abs(x - truth[1]) >= truth[3] / 2 or abs(y - truth[2]) >= truth[4] / 2
        return total + 10 * outside + 1e5 * (not self.fits(place, truth))

    def overlap(self, place: Place, truth: np.ndarray) -> float:
        return float(iou(corners(self.at(self.boxes, place)), corners(truth[1:5]))[0, 0])

    def match(self) -> dict[Place, int]:
        """Return which truth each taken slot is to become."""
        claims: dict[Place, list[tuple[float, int]]] = {}
        for number, truth in enumerate(self.truths):
            near = [place for place in self.places(int(truth[0])) if self.near(place, truth)]
            fitting = [place for place in near if self.fits(place, truth)]
            overlaps = sorted((self.overlap(place, truth) for place in fitting), reverse=True)
            k = max(4, math.floor(sum(overlaps[:10]) + 1e-9))
            ordered = sorted(fitting or near, key=lambda place: self.price(place, truth))
            for place in ordered[:k]:
                claims.setdefault(place, []).append((self.price(place, truth), number))
        return {place: min(claim)[1] for place, claim in claims.items()}

    def cost(self) -> tuple[float, float, float]:
        box = objectness = classes = 0.0
        for head, scores in enumerate(self.scores):
            for image, row, column, anchor in product(*map(range, scores.shape[:4])):
                place = (head, image, anchor, row, column)
                p, *q = self.at(self.scores, place)
                if place not in self.matches:
                    objectness -= math.log(1 - p)
                    continue
                truth = self.truths[self.matches[place]]
                objectness -= math.log(p)
                mine = corners(self.at(self.boxes, place))
                box += 5 * (1 - float(ciou(mine, corners(truth[1:5]))[0, 0]))
                for label, probability in enumerate(q):
                    target = self.overlap(place, truth) if label == truth[5] else 0
                    classes -= target * math.log(probability)
                    classes -= (1 - target) * math.log(1 - probability)
        return box, objectness, classes


def corners(cxcywh: np.ndarray) -> np.ndarray:
    x, y, w, h = cxcywh
    return np.array([[x - w / 2, y - h / 2, x + w / 2, y + h / 2]])


KEYS = ({}, {"scale_x_y": 1.1}, {"new_coords": 1, "scale_x_y": 2.0})


@pytest.mark.parametrize("keys", KEYS, ids=str)
@pytest.mark.parametrize("seed", range(6))
def test_slots_and_costs_obey_the_rules(seed: int, keys: dict[str, float]) -> None:
    runs, truths = make_runs(seed, **keys), make_truths(seed)
    literal, cost = Literal(runs, truths), modern.loss(runs, truths, SIZE)
    assert int(cost.divisor) == len(literal.matches)
    shown = [float(cost.parts[name]) for name in ("box", "objectness", "class")]
    assert shown == pytest.approx(literal.cost(), rel=1e-4)
    assert float(cost.total.detach()) == pytest.approx(sum(shown), rel=1e-5)


def gathered_class_costs(head: Predictions, slots: Slots, label: torch.Tensor) -> torch.Tensor:
    """Return the class costs from all classes of every slot of every truth, (M, K, C)."""
    values = slots.of(head.values)
    objectness, classes = head.logits(values[..., 4:5]), head.logits(values[..., 5:])
    log_q = (F.logsigmoid(objectness) + F.logsigmoid(classes)) / 2
    log_not_q = torch.log1p(-log_q.exp().clamp(max=1 - TINY))
    own = (log_q - log_not_q).gather(2, label[:, None].expand(*slots.truth.shape, 1))
    return -log_not_q.sum(2) - own[..., 0]


def plain_loss_terms(
    head: Predictions, slots: Slots, truths: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Yield the sums of box, objectness and class loss, with the gradients of autograd."""
    values, mine = slots.of(head.values), truths[slots.truth]
    boxes = head.boxes(values[:, :4], slots.anchor, slots.cell)
    wanted = boxes_px(mine, head.size)
    yield (1 - pairs.ciou(boxes, wanted)).sum()
    objectness = head.logits(head.values[:, :, 4])
    target = torch.zeros_like(objectness)
    target[slots.place] = 1
    yield F.binary_cross_entropy_with_logits(objectness, target, reduction="sum")
    classes, smooth = head.logits(values[:, 5:]), head.layer.label_smooth_eps
    hot = F.one_hot(mine[:, 5].long(), classes.shape[1]).to(classes) * (1 - smooth) + smooth / 2
    target = hot * pairs.iou(boxes.detach(), wanted)[:, None]
    yield F.binary_cross_entropy_with_logits(classes, target, reduction="sum")


@pytest.mark.parametrize("keys", [*KEYS, {"label_smooth_eps": 0.1}], ids=str)
def test_slots_and_gradients_are_those_of_the_gathered_classes(
    keys: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a crowd, in double precision: the same slots, and the loss to rounding."""
    monkeypatch.setattr(modern_assignment, "PART", 100)  # in many parts
    truths = make_truths(8, 150, 3).double()

    def outcome() -> tuple[list[Slots], list[torch.Tensor]]:
        runs = [run._replace(raw=run.raw.detach().double()) for run in make_runs(8, 3, **keys)]
        raws = [run.raw.requires_grad_() for run in runs]
        total = modern.loss(runs, truths, SIZE).total
        heads = [Predictions.of(run, SIZE) for run in runs]
        slots = modern_assignment.assign(heads, truths)
        return slots, [total.detach(), *torch.autograd.grad(total, raws)]

    slots, numbers = outcome()
    monkeypatch.setattr(modern_assignment, "_class_costs", gathered_class_costs)
    monkeypatch.setattr(modern, "_loss_terms", plain_loss_terms)
    other_slots, expected = outcome()
    assert sum(len(mine.truth) for mine in slots) > 300
    for mine, other in zip(slots, other_slots, strict=True):
        assert all(torch.equal(*pair) for pair in zip(mine, other, strict=True))
    for mine, other in zip(numbers, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-12, atol=1e-12)


def test_images_add_up_and_do_not_see_each_other() -> None:
    runs, truths = make_runs(3), make_truths(3, 8)
    whole = modern.loss(runs, truths, SIZE)
    parts = []
    for image in (0, 1):
        mine = truths[truths[:, 0] == image].clone()
        mine[:, 0] = 0
        alone = [HeadOutput(h, raw[image : image + 1]) for h, raw in runs]
        parts.append(modern.loss(alone, mine, SIZE))
    torch.testing.assert_close(sum(part.total for part in parts), whole.total)
    assert sum(part.divisor for part in parts) == whole.divisor


def test_every_truth_has_a_slot_however_odd_its_shape_and_place() -> None:
    """No anchor has such sides, some centres lie on the border, and each truth is alone."""
    odd = [(0.5, 0.5, 0.9, 0.01), (1.0, 1.0, 0.1, 0.1), (0.0, 0.0, 0.002, 0.002), (0.5, 0.5, 1, 1)]
    for box in odd:
        truths = torch.tensor([[0, *box, 1]])
        assert modern.loss(make_runs(1, 1), truths, SIZE).divisor >= 1, box


def test_equal_truths_share_no_slot() -> None:
    truths = make_truths(5, 1).repeat(2, 1)
    runs = make_runs(5)
    assert modern.loss(runs, truths, SIZE).divisor == modern.loss(runs, truths[:1], SIZE).divisor


def test_without_truths_everything_is_background() -> None:
    runs = make_runs(2)
    cost = modern.loss(runs, torch.zeros(0, 6), SIZE)
    cost.total.backward()
    assert (cost.divisor, cost.parts["box"], cost.parts["class"]) == (1, 0, 0)
    for run in runs:
        gradient = run.raw.grad.view(2, 2, 5 + CLASSES, *run.raw.shape[2:])
        assert (gradient[:, :, 4] > 0).all()
        assert not gradient[:, :, :4].any() and not gradient[:, :, 5:].any()


def test_labels_are_smoothed() -> None:
    truths = make_truths(4)
    plain, smooth = (
        modern.loss(make_runs(4, **k), truths, SIZE) for k in ({}, {"label_smooth_eps": 0.2})
    )
    assert smooth.divisor == plain.divisor
    assert smooth.parts["box"] == plain.parts["box"]
    assert smooth.parts["class"] != plain.parts["class"]


def test_gradient_is_that_of_the_total() -> None:
    """By objectness and classes; that of the boxes is held in the tests of the IoU family."""
    rng = torch.Generator().manual_seed(0)
    runs, truths = (
        [HeadOutput(h, raw.detach().double()) for h, raw in make_runs(7)],
        make_truths(7),
    )
    direction = [torch.randn(run.raw.shape, generator=rng).double() for run in runs]
    for each in direction:
        each.view(2, 2, 5 + CLASSES, *each.shape[2:])[:, :, :4] = 0
        each *= 1e-5

    def total(step: float) -> torch.Tensor:
        moved = [HeadOutput(h, raw + step * d) for (h, raw), d in zip(runs, direction, strict=True)]
        return modern.loss(moved, truths, SIZE).total

    for run in runs:
        run.raw.requires_grad_()
    total(0).backward()
    slope = sum(float((run.raw.grad * d).sum()) for run, d in zip(runs, direction, strict=True))
    assert float((total(1) - total(-1)).detach()) / 2 == pytest.approx(slope, rel=1e-5)


def test_loss_of_huge_and_half_precision_outputs_is_finite() -> None:
    runs, truths = make_runs(1), make_truths(1)
    huge = [HeadOutput(h, (raw.detach() * 1e4).requires_grad_()) for h, raw in runs]
    cost = modern.loss(huge, truths, SIZE)
    cost.total.backward()
    assert cost.total.isfinite() and all(run.raw.grad.isfinite().all() for run in huge)
    half = [HeadOutput(h, raw.detach().bfloat16().requires_grad_()) for h, raw in runs]
    assert modern.loss(half, truths, SIZE).total.dtype == torch.float32


def test_descent_ends_at_the_truths() -> None:
    """With every number of the heads free, the box that is surest of a class is the truth."""
    truths = torch.tensor([[0, 0.3, 0.3, 0.3, 0.25, 0], [0, 0.7, 0.6, 0.4, 0.5, 1]])
    runs = make_runs(0, 1)
    optimizer = torch.optim.Adam([run.raw for run in runs], lr=0.1)
    for _ in range(400):
        cost = modern.loss(runs, truths, SIZE)
        optimizer.zero_grad()
        (cost.total / cost.divisor).backward()
        optimizer.step()
    decoded = [head.decode(head.module()(raw.detach()), SIZE) for head, raw in runs]
    boxes, objectness, classes = (torch.cat(part, 1) for part in zip(*decoded, strict=True))
    for row in truths:
        score = (objectness * classes[..., int(row[5])])[0]
        found = boxes[0, score.argmax()].numpy()
        assert float(iou(corners(found), corners(row[1:5].numpy()))[0, 0]) > 0.85
        assert float(score.max()) > 0.8

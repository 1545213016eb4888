"""How pictures are changed for a classifier, and what their targets become."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from ghostyolo.augment import classification
from ghostyolo.augment.classification import ClassificationAugmentation, compose
from ghostyolo.augment.detection import Augmentation
from ghostyolo.augment.mosaic import Picture
from ghostyolo.errors import CfgError, OptionError
from ghostyolo.loss import cross_entropy
from ghostyolo.loss.cross_entropy import ClassLogits, probabilities
from ghostyolo.model.classifier import center
from ghostyolo.network import loads
from ghostyolo.training import augmentation
from ghostyolo.training.augmentation import mixture
from ghostyolo.training.unsupported import check_classifier
from support import pictures

PLAIN = ClassificationAugmentation(min_crop=32, max_crop=32)
LOSS = cross_entropy.CONFIG


def noise(h: int, w: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def flat(value: int, cls: int) -> Picture:
    """Return a picture of one grey and one class."""
    box = np.array([[0, 0, 40, 50]], np.float32)
    return Picture(np.full((50, 40, 3), value, np.uint8), box, np.array([cls]))


def made(
    settings: ClassificationAugmentation, size: tuple[int, int] = (32, 32), seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Mix greys 0 (class 0), 60, 120, 180 (classes 1 to 3)."""
    others = iter([flat(60, 1), flat(120, 2), flat(180, 3)])
    rng = np.random.default_rng(seed)
    return compose(flat(0, 0), lambda: next(others), (32, 32), settings, rng)


def test_defaults_take_the_picture_as_it_is() -> None:
    image = noise(32, 32)
    out = classification.augment(image, (32, 32), PLAIN, np.random.default_rng(0))
    np.testing.assert_array_equal(out, image)


def bilinear(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """Return a value between pixels; black lies outside. As Darknet's bilinear_interpolate."""
    left, top = int(np.floor(x)), int(np.floor(y))
    total = np.zeros(3)
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        row, column = top + i, left + j
        if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
            weight = (abs(1 - i - (y - top))) * (abs(1 - j - (x - left)))
            total += weight * image[row, column]
    return total


def test_turned_crop_is_the_formula() -> None:
    """Each pixel by Darknet's rotate_crop_image, written out."""
    image = cv2.GaussianBlur(noise(40, 50), (7, 7), 0)
    turn = classification.Crop(angle=0.4, scale=1.3, dx=3.0, dy=-2.0, aspect=1.2)
    out = classification.cut(image, 24, turn)
    cos, sin = np.cos(turn.angle), np.sin(turn.angle)
    for y in range(0, 24, 5):
        for x in range(0, 24, 5):
            across = ((x - 12) + turn.dx) / turn.scale * turn.aspect
            down = ((y - 12) + turn.dy) / turn.scale
            want = bilinear(image, cos * across - sin * down + 25, sin * across + cos * down + 20)
            np.testing.assert_allclose(out[y, x], want, atol=4)


def test_drawn_crops_stay_in_their_bounds() -> None:
    """The shorter side is resized to low..high, and the crop stays inside without aspect."""
    settings, rng = ClassificationAugmentation(min_crop=32, max_crop=64), np.random.default_rng(1)
    scales = set()
    for _ in range(300):
        turn = classification.draw((40, 80), 32, settings, rng)
        side = turn.scale * 40
        scales.add(round(side))
        assert side + 1e-6 >= 32 and side <= 64 + 1e-6
        assert abs(turn.dx) <= (80 * turn.scale - 32) / 2 and abs(turn.dy) <= (side - 32) / 2
        assert (turn.angle, turn.aspect) == (0, 1)
    assert scales == set(range(32, 65))
    wild = ClassificationAugmentation(min_crop=32, max_crop=32, angle=10, aspect=0.75)
    drawn = [classification.draw((40, 80), 32, wild, rng) for _ in range(300)]
    assert max(abs(turn.angle) for turn in drawn) <= np.deg2rad(10)
    assert min(t.aspect for t in drawn) < 0.8 and max(t.aspect for t in drawn) > 1.25
    assert all(0.75 <= turn.aspect <= 1 / 0.75 for turn in drawn)


def test_input_that_is_no_square_is_a_stretched_one() -> None:
    square = classification.augment(
        noise(60, 60), (48, 48), ClassificationAugmentation(48, 48), np.random.default_rng(3)
    )
    wide = classification.augment(
        noise(60, 60), (24, 48), ClassificationAugmentation(48, 48), np.random.default_rng(3)
    )
    np.testing.assert_array_equal(wide, cv2.resize(square, (48, 24)))


def test_half_of_the_pictures_is_flipped() -> None:
    image, rng = noise(32, 32), np.random.default_rng(0)
    settings = ClassificationAugmentation(32, 32, appearance=Augmentation(flip=True))
    flips = [
        np.array_equal(classification.augment(image, (32, 32), settings, rng), image[:, ::-1])
        for _ in range(200)
    ]
    assert 70 < sum(flips) < 130


# --- mixtures


@pytest.mark.parametrize("kind", ["mixup", "cutmix", "mosaic"])
@pytest.mark.parametrize("seed", range(5))
def test_shares_are_what_the_picture_shows(kind: str, seed: int) -> None:
    """Counted in the picture itself."""
    image, rows = made(ClassificationAugmentation(32, 32, mixed=1, mixtures=(kind,)), seed)
    assert rows[:, 0].sum() == pytest.approx(1)
    assert rows[:, 1].tolist() == list(range(classification.PARTS[kind]))
    if kind == "mixup":
        assert np.all(image == 30) and rows[:, 0].tolist() == [0.5, 0.5]
        return
    seen = [float((image[..., 0] == 60 * cls).mean()) for cls in range(len(rows))]
    assert rows[:, 0] == pytest.approx(seen)


def test_patch_of_a_cutmix_is_a_rectangle_of_nine_to_sixty_four_percent() -> None:
    for seed in range(60):
        image, rows = made(ClassificationAugmentation(32, 32, mixed=1, mixtures=("cutmix",)), seed)
        ys, xs = np.nonzero(image[..., 0])
        patch = image[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
        assert np.all(patch == 60)
        assert 0.07 < rows[1, 0] <= 0.64


def test_share_of_mixed_pictures() -> None:
    settings = ClassificationAugmentation(32, 32, mixed=0.5, mixtures=("cutmix", "mosaic"))
    parts = [len(made(settings, seed=seed)[1]) for seed in range(200)]
    assert 70 < parts.count(1) < 130
    assert 25 < parts.count(2) < 75 and 25 < parts.count(4) < 75


@pytest.mark.parametrize(
    ("keys", "number", "kinds"),
    [
        ("", 0, ()),
        ("mixup=1", 1, ("mixup",)),
        ("mixup=2", 2, ("cutmix",)),
        ("cutmix=1", 2, ("cutmix",)),
        ("mosaic=1\nmixup=1", 3, ("mosaic",)),
        ("mosaic=1\ncutmix=1", 4, ("cutmix", "mosaic")),
    ],
)
def test_mixture_is_what_darknet_makes_of_the_keys(
    keys: str, number: int, kinds: tuple[str, ...]
) -> None:
    network = loads(pictures.CFG.replace("max_batches=6", f"max_batches=6\n{keys}"))
    assert mixture(network) == number
    assert augmentation.classification(network, LOSS).mixtures == kinds
    assert augmentation.classification(network, LOSS, no_mosaic=True).mixed == 0


def test_crops_are_the_cfgs() -> None:
    keys = "min_crop=28\nmax_crop=40\nangle=7\naspect=.75\nhue=.1\nflip=0\nblur=5"
    network = loads(pictures.CFG.replace("max_batches=6", f"max_batches=6\n{keys}"))
    look = Augmentation(hue=0.1, saturation=1.2, exposure=1.2)
    assert augmentation.classification(network, LOSS) == ClassificationAugmentation(
        28, 40, 7, 0.75, 0.5, (), 5, look
    )
    assert augmentation.classification(loads(pictures.CFG), LOSS).max_crop == 64


# --- targets and the loss


def test_targets_are_shares() -> None:
    truths = torch.tensor([[0, 1, 2], [1, 0.3, 0], [1, 0.7, 1], [2, 0.5, 1], [2, 0.5, 1]])
    want = torch.tensor([[0, 0, 1, 0], [0.3, 0.7, 0, 0], [0, 1, 0, 0]])
    torch.testing.assert_close(probabilities(truths, 3, 4), want)


def test_label_smoothing_is_the_formula() -> None:
    """Of one picture 1 - eps and eps / (K - 1), of a mixture the mean of its parts'."""
    eps, classes = 0.1, 5

    def smooth(cls: int) -> torch.Tensor:
        return torch.tensor([1 - eps if k == cls else eps / (classes - 1) for k in range(classes)])

    truths = torch.tensor([[0, 1, 3], [1, 0.25, 0], [1, 0.75, 4]])
    want = torch.stack((smooth(3), 0.25 * smooth(0) + 0.75 * smooth(4)))
    found = probabilities(truths, 2, classes, eps)
    torch.testing.assert_close(found, want)
    torch.testing.assert_close(found.sum(1), torch.ones(2))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_gradient_is_probability_less_target(temperature: float) -> None:
    """As Darknet's softmax layer leaves it, whatever the temperature; torch's loss is the same."""
    torch.manual_seed(0)
    logits = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    truths = torch.tensor([[0, 1, 2], [1, 0.5, 0], [1, 0.5, 5], [2, 1, 1], [3, 1, 4]])
    found = cross_entropy.loss(ClassLogits(logits, temperature, 0.2), truths.double(), (32, 32))
    found.total.backward()
    want = probabilities(truths.double(), 4, 6, 0.2)
    predicted = (logits.detach() / temperature).softmax(1)
    torch.testing.assert_close(logits.grad, predicted - want)
    shown = torch.nn.functional.cross_entropy(logits.detach() / temperature, want, reduction="sum")
    torch.testing.assert_close(found.parts["loss"], shown)
    assert float(found.divisor) == 4


def test_huge_logits_cost_a_number() -> None:
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4]], requires_grad=True)
    truths = torch.tensor([[0, 1.0, 0], [1, 1, 0]])
    found = cross_entropy.loss(ClassLogits(logits), truths, (32, 32))
    assert float(found.total.detach()) == 2e4
    found.total.backward()
    assert torch.isfinite(logits.grad).all()


# --- validation's input


@pytest.mark.parametrize(("h", "w"), [(64, 100), (100, 64), (64, 64), (33, 32)])
def test_middle_of_a_picture(h: int, w: int) -> None:
    """The shorter side at the input's width, then what is left in the middle."""
    image = noise(h, w)
    if w < h:
        resized = cv2.resize(image, (32, h * 32 // w))
        low = (resized.shape[0] - 32) // 2
        want = resized[low : low + 32]
    else:
        resized = cv2.resize(image, (w * 32 // h, 32))
        low = (resized.shape[1] - 32) // 2
        want = resized[:, low : low + 32]
    np.testing.assert_array_equal(center(image, (32, 32)), want)


def test_input_taller_than_the_picture_repeats_its_edge() -> None:
    image = noise(32, 32)
    out = center(image, (40, 32))
    np.testing.assert_array_equal(out[4:36], image)
    np.testing.assert_array_equal(out[:4], np.repeat(image[:1], 4, 0))


# --- what is refused


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("max_batches=6", "max_batches=6\nmixup=7", r"\[net\] mixup=7; run with --set net.mixup"),
        ("max_batches=6", "max_batches=6\nlabel_smooth_eps=1", "label_smooth_eps=1.0 is not in"),
        (
            "max_batches=6",
            "max_batches=6\nmin_crop=70",
            "min_crop=70 max_crop=64; set the least and",
        ),
        ("max_batches=6", "max_batches=6\nletter_box=1", "letter_box=1 cannot be honoured .* dete"),
        ("[softmax]", "[softmax]\ngroups=3", r"x.cfg:\d+: \[softmax\] groups=3 cannot be honoured"),
        ("[softmax]", "[softmax]\nnoloss=1", "noloss=1 cannot be honoured"),
        ("[softmax]", "[softmax]\n[cost]\ntype=smooth", r"\[cost\] type=smooth cannot be honoured"),
        ("max_batches=6", "max_batches=0", "max_batches=0; set it, or give --epochs"),
    ],
)
def test_what_cannot_be_honoured_is_refused(old: str, new: str, message: str) -> None:
    check_classifier(loads(pictures.CFG))
    with pytest.raises(CfgError, match=message):
        check_classifier(loads(pictures.CFG.replace(old, new), path="x.cfg"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: ClassificationAugmentation(0, 32),
        lambda: ClassificationAugmentation(32, 31),
        lambda: ClassificationAugmentation(32, 32, aspect=0),
    ],
)
def test_crops_out_of_range(make: Callable[[], ClassificationAugmentation]) -> None:
    with pytest.raises(OptionError):
        make()

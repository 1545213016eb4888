"""Detection from Python: what is taken, what is refused, and that nothing in the model changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ghostyolo.boxes import iou
from ghostyolo.data.images import write_image
from ghostyolo.errors import DataError, OptionError
from ghostyolo.evaluation.validation import validate
from ghostyolo.model.detections import Detections
from ghostyolo.model.model import Model
from ghostyolo.network import loads
from support import tiny

RGB = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
GREY = np.repeat(RGB[..., :1], 3, 2)
READ_ONLY = RGB.copy()
READ_ONLY.flags.writeable = False


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny.cfg, tiny.weights, and a picture, x.png."""
    folder = tmp_path_factory.mktemp("detect")
    tiny.write(folder)
    tiny.eager_weights(folder)
    write_image(folder / "x.png", RGB)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return Model(folder / "tiny.cfg", folder / "tiny.weights")


def same(a: Detections, b: Detections) -> bool:
    pairs = ((a.boxes, b.boxes), (a.scores, b.scores), (a.classes, b.classes))
    return all(np.array_equal(*pair) for pair in pairs)


@pytest.mark.parametrize(
    ("make", "rgb"),
    [
        (lambda folder: folder / "x.png", RGB),
        (lambda folder: str(folder / "x.png"), RGB),
        (lambda folder: Image.open(folder / "x.png"), RGB),
        (lambda folder: Image.fromarray(GREY[..., 0]), GREY),
        (lambda folder: Image.fromarray(np.dstack((RGB, RGB[..., :1]))), RGB),
        (lambda folder: Image.fromarray(RGB).quantize(256), None),
        (lambda folder: RGB, RGB),
        (lambda folder: READ_ONLY, RGB),
        (lambda folder: RGB[::-1, ::2], RGB[::-1, ::2].copy()),
        (lambda folder: GREY[..., 0], GREY),
    ],
    ids=[
        "path", "str", "PIL", "PIL grey", "PIL RGBA", "PIL palette", "array", "read-only",
        "strided", "grey",
    ],
)  # fmt: skip
def test_picture_gives_the_boxes_of_its_rgb(
    make: Callable[[Path], Any], rgb: np.ndarray | None, model: Model, folder: Path
) -> None:
    picture = make(folder)
    rgb = np.asarray(picture.convert("RGB")) if rgb is None else rgb
    found, want = model.detect(picture), model.detector()([rgb])[0]
    assert len(found) > 3
    assert same(found, want)
    assert found.draw().shape == rgb.shape


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (RGB / 255, r"float64 picture; give uint8 0\.\.255: \(picture \* 255\)"),
        (RGB.astype("u2") * 257, r"uint16 picture; give uint8 0\.\.255: \(picture >> 8\)"),
        (RGB.transpose(2, 0, 1), r"channels last: picture\.transpose\(1, 2, 0\)"),
        (torch.rand(3, 48, 64), r"a Tensor is no picture; .*permute\(1, 2, 0\)"),
        (None, "a NoneType is no picture; give a path"),
    ],
    ids=["float", "16-bit", "CHW", "tensor", "None"],
)
def test_anything_else_is_refused_in_one_line(picture: Any, message: str, model: Model) -> None:
    for given in (picture, [RGB, picture]):
        with pytest.raises(DataError, match=message) as error:
            model.detect(given)
        assert "\n" not in str(error.value)


def test_picture_of_several_that_is_refused_is_named(model: Model, folder: Path) -> None:
    """By its index, and by its path if it has one."""
    text = folder / "text.png"
    text.write_text("no picture")
    Image.fromarray(RGB.astype("f4")[..., 0]).save(folder / "x.tif")
    for bad, told in (
        (RGB / 255, "index 3: float64 picture; give uint8"),
        (None, "index 3: a NoneType is no picture; give"),
        (folder / "no.png", f"{folder}/no.png: index 3: cannot read the picture: no such file"),
        (str(text), f"{text}: index 3: "),
        (Image.open(folder / "x.tif"), f"{folder}/x.tif: index 3: float32 picture; give"),
    ):
        given = [RGB, folder / "x.png", RGB, bad, RGB]
        for many in (given, tuple(given), (each for each in given)):
            for batch in (1, 2, 5):
                with pytest.raises(DataError) as caught:
                    list(model.detect(many, batch=batch))
                assert str(caught.value).startswith(told)
                many = iter(given)
        with pytest.raises(DataError) as caught:
            model.detect(bad)
        assert "index" not in str(caught.value)


def test_lists_give_lists_and_generators_are_taken_as_needed(model: Model, folder: Path) -> None:
    pictures = [RGB, folder / "x.png", Image.fromarray(RGB[:, ::-1]), GREY[..., 0]]
    single = [model.detect(each) for each in pictures]
    for many in (pictures, tuple(pictures)):
        found = model.detect(many)
        assert isinstance(found, list)
        assert all(map(same, found, single))
    assert model.detect([]) == []
    taken: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for number in range(5):
            taken.append(number)
            yield RGB

    stream = model.detect(frames(), batch=2)
    assert taken == []
    next(stream)
    assert taken == [0, 1]
    assert len(list(stream)) == 4


def test_batches_are_computed_at_once_with_the_same_boxes(
    model: Model, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    handle = model.register_forward_pre_hook(lambda module, args: counts.append(len(args[0])))
    pictures = [RGB, folder / "x.png", GREY, RGB, GREY]
    found, single = model.detect(pictures, batch=3), model.detect(pictures)
    handle.remove()
    assert counts == [3, 2, 1, 1, 1, 1, 1]
    for a, b in zip(found, single, strict=True):
        np.testing.assert_allclose(iou(a.boxes, b.boxes).max(1), 1, atol=1e-3)


def test_detections_keep_the_picture_but_of_a_file_its_path(model: Model, folder: Path) -> None:
    assert model.detect(RGB).picture is not None
    assert model.detect(folder / "x.png").picture == folder / "x.png"
    found = validate(model, tiny.pictures(folder / "data")).predictions
    assert {type(each.picture) for each in found} == {type(None)}


def test_numbers_out_of_range_are_refused(model: Model) -> None:
    for options in ({"thresh": 25}, {"nms": -0.1}, {"batch": 0}):
        (name, value) = next(iter(options.items()))
        with pytest.raises(OptionError, match=f"{name}={value}; give"):
            model.detect(RGB, **options)
    with pytest.raises(OptionError, match="--device tpu is not available"):
        model.detect(RGB, device="tpu")


def test_names_lie_beside_the_weights_or_are_set(model: Model, folder: Path) -> None:
    assert model.names == ()
    assert model.detect(RGB)[0].name.startswith("class ")
    names = [f"thing {number}" for number in range(6)]
    (folder / "some").mkdir()
    (folder / "some/my.names").write_text("\n".join(names))
    (folder / "some/x.weights").write_bytes((folder / "tiny.weights").read_bytes())
    named = Model(model.network, folder / "some/x.weights")
    other = Model(model.network)
    assert other.names == ()
    other.load_weights(folder / "some/x.weights")
    assert list(named.names) == list(other.names) == names
    assert set(named.detect(RGB).names) <= set(names)
    other.load_weights(folder / "tiny.weights")
    assert list(other.names) == names, "no file says otherwise"
    for given in (names, folder / "some/my.names"):
        other.names = ()
        other.names = given
        assert list(other.names) == names
    with pytest.raises(OptionError, match=r"2 names, .* has classes=6; give one"):
        other.names = ["a", "b"]
    assert list(other.names) == names


def test_model_is_ready_for_inference_and_nothing_changes(folder: Path) -> None:
    model, x = Model(folder / "tiny.cfg", folder / "tiny.weights"), torch.rand(2, 3, 64, 64)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = model.detect(RGB)
    model(x)
    model.trace(x)
    model.detect([RGB, GREY], batch=2)
    validate(model, tiny.pictures(folder / "others"))
    assert not any(module.training for module in model.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert same(model.detect(RGB), first)


def test_training_mode_is_left_as_it_was(folder: Path) -> None:
    """Detection and trace compute in inference mode in a model that is being trained."""
    model = Model(folder / "tiny.cfg", folder / "tiny.weights").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.detect(RGB)
    model.trace(torch.rand(2, 3, 64, 64))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    model(torch.rand(2, 3, 64, 64))
    assert not all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_folder_of_a_run_and_name_of_a_cfg_are_models(folder: Path) -> None:
    run = folder / "run"
    run.mkdir()
    (run / "model.cfg").write_text(tiny.CFG)
    (run / "best.weights").write_bytes((folder / "tiny.weights").read_bytes())
    (run / "model.names").write_text("a\nb\nc\nd\ne\nf\n")
    model = Model(run)
    assert list(model.names) == list("abcdef")
    assert same(model.detect(RGB), Model(loads(tiny.CFG), folder / "tiny.weights").detect(RGB))
    assert len(Model("ghostnet-0.5-imagenet").network) > 100

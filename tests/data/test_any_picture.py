"""Pictures as users hold them become the RGB of their file, or one line says what to give."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from ghostyolo.data.any_picture import as_rgb, is_many
from ghostyolo.data.images import decode_image
from ghostyolo.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
ALPHA = np.dstack((RGB, RGB[..., :1]))


def palette(colours: int = 8) -> Image.Image:
    return Image.fromarray(RGB).quantize(colours)


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(RGB),
        Image.fromarray(RGB).convert("L"),
        Image.fromarray(RGB).convert("1"),
        Image.fromarray(ALPHA),
        Image.fromarray(ALPHA).convert("LA"),
        palette(),
    ],
    ids=lambda picture: picture.mode,
)
@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
def test_pil_picture_gives_what_its_file_gives(picture: Image.Image, orientation: int) -> None:
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = orientation
    picture.save(file, "PNG", exif=exif)
    want = decode_image(file.getvalue(), "x.png")
    assert want.shape == ((6, 8, 3) if orientation < 5 else (8, 6, 3))
    np.testing.assert_array_equal(as_rgb(Image.open(file)), want)


@pytest.mark.parametrize(
    ("array", "want"),
    [
        (RGB, RGB),
        (RGB[::-1, ::2], RGB[::-1, ::2]),
        (RGB.transpose(1, 0, 2), RGB.transpose(1, 0, 2)),
        (np.asfortranarray(RGB), RGB),
        (ALPHA, RGB),
        (RGB[..., 0], RGB[..., [0, 0, 0]]),
        (RGB[..., 1:2], RGB[..., [1, 1, 1]]),
    ],
    ids=["rgb", "strided", "turned", "fortran", "rgba", "grey", "one channel"],
)
def test_array_is_taken_by_its_axes(array: np.ndarray, want: np.ndarray) -> None:
    got = as_rgb(array)
    assert got.flags.c_contiguous
    np.testing.assert_array_equal(got, want)


def test_rgb_is_not_copied() -> None:
    assert np.shares_memory(as_rgb(RGB), RGB)


TRUNCATED = io.BytesIO()
Image.fromarray(np.tile(RGB, (40, 40, 1))).save(TRUNCATED, "JPEG")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RGB / 255, r"float64 picture; give .*\(picture \* 255\)\.round\(\)\.astype"),
        (lambda: RGB.astype("f4"), r"float32 picture; give .*: picture\.round\(\)\.astype"),
        (lambda: RGB.astype("u2"), r"uint16 picture; give .*: \(picture >> 8\)\.astype"),
        (lambda: RGB.astype(int), r"int64 picture; give .*: picture\.astype\('uint8'\)$"),
        (lambda: RGB > 9, r"bool picture; give .*: picture\.astype\('uint8'\) \* 255"),
        (lambda: RGB.transpose(2, 0, 1), r"\(3, 6, 8\); give the channels last: picture\.transp"),
        (lambda: RGB[None], r"\(1, 6, 8, 3\); give a list of pictures: list\(pictures\)"),
        (lambda: RGB[..., :2], r"shape \(6, 8, 2\); give \(H, W, 3\) or \(H, W\)"),
        (lambda: RGB[:0], r"shape \(0, 8, 3\); give \(H, W, 3\)"),
        (lambda: RGB[0, 0], r"shape \(3,\); give \(H, W, 3\)"),
        (lambda: torch.rand(3, 6, 8), r"a Tensor is no picture; give .*\.permute\(1, 2, 0\)"),
        (lambda: None, r"a NoneType is no picture; give a path, .*; OpenCV's imread gives None"),
        (lambda: b"\xff\xd8", r"a bytes is no picture; give a path, a uint8 RGB array"),
        (lambda: Image.fromarray(RGB[..., 0].astype("u2")), r"uint16 picture; give .*>> 8"),
        (lambda: Image.fromarray(RGB[..., 0].astype("f4")), r"float32 picture; give"),
        (
            lambda: Image.new("La", (8, 6)),
            "PIL: conversion from La to .* not supported; give the path",
        ),
        (
            lambda: Image.open(io.BytesIO(TRUNCATED.getvalue()[:-900])),
            "PIL: image file is truncated.*; give the path of its file",
        ),
    ],
)
def test_anything_else_is_refused_with_the_remedy(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        as_rgb(make())
    assert "\n" not in str(error.value)


def test_the_remedies_work() -> None:
    grey = RGB[..., 0]
    remedies = {
        "(picture * 255).round().astype('uint8')": RGB / 255,
        "(picture >> 8).astype('uint8')": RGB.astype("u2") << 8,
        "picture.transpose(1, 2, 0)": RGB.transpose(2, 0, 1),
        "picture.astype('uint8') * 255": grey > 9,
    }
    for remedy, picture in remedies.items():
        with pytest.raises(DataError) as error:
            as_rgb(picture)
        assert remedy in str(error.value)
        want = (grey > 9)[..., None] * np.full(3, 255) if picture.dtype == bool else RGB
        np.testing.assert_array_equal(as_rgb(eval(remedy)), want)
    tensor = torch.from_numpy(RGB).permute(2, 0, 1) / 255
    with pytest.raises(DataError) as error:
        as_rgb(tensor)
    np.testing.assert_array_equal(as_rgb(eval(str(error.value).rpartition("): ")[2])), RGB)


def test_several_pictures_are_told_from_one() -> None:
    many: list[Any] = [[], [RGB], (RGB,), iter([RGB]), {"x.jpg": 1}.keys()]
    single: list[Any] = ["x.jpg", b"", RGB, Image.fromarray(RGB), torch.rand(3, 6, 8), None]
    assert all(map(is_many, many))
    assert not any(map(is_many, single))

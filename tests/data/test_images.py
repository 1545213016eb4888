"""Pictures: what comes out of files of every kind, and where one lies in a network's input."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ghostyolo.data.images import (
    Placement,
    inspect_image,
    picture_size,
    preprocess,
    read_image,
    write_image,
)
from ghostyolo.errors import DataError, OptionError
from support import published, tiny

ORIENTATIONS = {  # EXIF orientation -> how to turn the stored rows upright
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a),
}


@pytest.fixture
def picture():
    """A smooth RGB picture, 30 high and 40 wide, whose four corners differ."""
    small = np.array([[[250, 20, 20], [20, 250, 20]], [[20, 20, 250], [240, 240, 240]]], np.uint8)
    return cv2.resize(small, (40, 30))


def encoded(image, suffix):
    ok, data = cv2.imencode(suffix, image)
    assert ok
    return data.tobytes()


def bgr(image):
    return cv2.cvtColor(image, cv2.COLOR_RGB2BGR)


def exif(orientation, order=">"):
    mark = b"MM" if order == ">" else b"II"
    return mark + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def with_exif(jpeg, orientation, order):
    payload = b"Exif\0\0" + exif(orientation, order)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + jpeg[2:]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width, height):
    """A PNG of a few bytes that states a large size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(99))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm"])
def test_lossless_pictures_are_read_as_rgb(picture, suffix, tmp_path):
    path = tmp_path / f"größe 像{suffix}"
    path.write_bytes(encoded(bgr(picture), suffix))
    np.testing.assert_array_equal(read_image(path), picture)
    assert picture_size(path) == (30, 40)


def test_deep_grey_and_transparent_pictures_become_8_bit_rgb(picture, tmp_path):
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    alpha = cv2.cvtColor(bgr(picture), cv2.COLOR_BGR2BGRA)
    alpha[..., 3] = 0
    cases = {
        "deep": (bgr(picture).astype(np.uint16) * 257, picture),
        "grey": (grey, np.stack([grey] * 3, -1)),
        "alpha": (alpha, picture),
    }
    for name, (stored, expected) in cases.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(encoded(stored, ".png"))
        np.testing.assert_array_equal(read_image(path), expected, err_msg=name)


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("grey", [False, True])
def test_a_jpeg_is_read_as_opencv_reads_it_by_default(picture, grey, progressive, tmp_path):
    """Pixel for pixel, though libjpeg writes RGB and not the default BGR."""
    noise = np.random.default_rng(0).integers(0, 60, (31, 43, 3), dtype=np.uint8)
    image = cv2.resize(picture, (43, 31)) // 2 + noise
    stored = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if grey else image
    path = tmp_path / "x.jpg"
    cv2.imwrite(str(path), stored, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])
    np.testing.assert_array_equal(bgr(read_image(path)), cv2.imread(str(path)))


def test_a_cmyk_jpeg_becomes_rgb(picture, tmp_path):
    pillow = pytest.importorskip("PIL.Image", reason="Pillow writes the CMYK picture")
    buffer = io.BytesIO()
    pillow.fromarray(picture).convert("CMYK").save(buffer, "JPEG", quality=98)
    (tmp_path / "x.jpg").write_bytes(buffer.getvalue())
    difference = read_image(tmp_path / "x.jpg").astype(int) - picture
    assert np.abs(difference).mean() < 6


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pictures_are_turned_upright_and_their_header_says_so(
    picture, orientation, order, tmp_path
):
    path = tmp_path / "x.jpg"
    path.write_bytes(with_exif(encoded(bgr(picture), ".jpg"), orientation, order))
    expected = ORIENTATIONS[orientation](picture)
    image = read_image(path)
    assert picture_size(path) == image.shape[:2] == expected.shape[:2]
    assert np.abs(image.astype(int) - expected).mean() < 6


def test_the_header_and_the_decoder_agree_on_a_turned_png(picture, tmp_path):
    png = encoded(bgr(picture), ".png")
    (tmp_path / "x.png").write_bytes(png[:33] + chunk(b"eXIf", exif(6)) + png[33:])
    assert picture_size(tmp_path / "x.png") == read_image(tmp_path / "x.png").shape[:2] == (40, 30)


def test_sizes_of_painted_pictures_come_from_headers(tmp_path):
    folder = tiny.pictures(tmp_path / "shapes")
    for path in (folder / "JPEGImages").glob("*.jpg"):
        assert picture_size(path) == read_image(path).shape[:2] == (96, 128)


def test_sizes_of_photographs_come_from_headers():
    for path in [*published.DATA.all("images/*.jpg"), *published.DATA.all("bccd/*/*.jpg")[:5]]:
        assert picture_size(path) == read_image(path).shape[:2]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
def test_truncated_pictures_are_refused(picture, suffix, share, tmp_path):
    data = encoded(bgr(picture), suffix)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match=r"x\..*not a picture"):
        read_image(path)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8", b"\xff\xd8\xff\xe1\0\0", b"BM"])
def test_files_that_are_no_pictures_are_refused(data, tmp_path):
    (tmp_path / "x.jpg").write_bytes(data)
    for read in (read_image, picture_size):
        with pytest.raises(DataError, match="not a picture"):
            read(tmp_path / "x.jpg")


@pytest.mark.parametrize("size", [(60000, 60000), (20000, 20000)])
def test_huge_pictures_are_refused_by_their_header(size, tmp_path):
    (tmp_path / "x.png").write_bytes(bomb(*size))
    for read in (read_image, picture_size):
        with pytest.raises(DataError, match=rf"{size[0]}x{size[1]} pixels, more than"):
            read(tmp_path / "x.png")


def test_a_missing_picture_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(DataError, match=f"{path.name}: cannot read the picture"):
            read_image(path)


def test_fit_stretches_or_letterboxes_in_grey():
    image = np.full((50, 100, 3), (255, 128, 0), np.uint8)
    stretched, placement = preprocess(image, (64, 96), letterbox=False)
    assert (stretched.shape, stretched.dtype) == ((3, 64, 96), np.float32)
    assert stretched.flags.c_contiguous and placement.inner == (64, 96)
    np.testing.assert_allclose(stretched[:, 10, 10], [1, 128 / 255, 0], rtol=1e-6)
    boxed, placement = preprocess(image, (64, 96), letterbox=True)
    assert placement == Placement((50, 100), (64, 96), (48, 96)) and boxed.flags.c_contiguous
    assert (boxed[:, [0, 7, 56, 63]] == 0.5).all()
    np.testing.assert_allclose(boxed[0, 8:56], 1)


@pytest.mark.parametrize("letterbox", [False, True])
def test_fit_gives_the_same_with_channels_last_in_memory(letterbox):
    image = np.random.default_rng(0).integers(0, 256, (33, 70, 3), np.uint8)
    pixels = np.full((64, 96, 3), np.nan, np.float32)
    planes, placement = preprocess(image, (64, 96), letterbox)
    assert preprocess(image, (64, 96), letterbox, pixels.transpose(2, 0, 1))[1] == placement
    np.testing.assert_array_equal(pixels, planes.transpose(1, 2, 0))


def test_letterbox_sides_are_darknets():
    # The reference's vector: 7x5 (w x h) into 16x16 fills rows 2..12.
    planes, placement = preprocess(np.zeros((5, 7, 3), np.uint8), (16, 16), letterbox=True)
    assert placement.inner == (11, 16)
    assert np.flatnonzero((planes[0] == 0).all(1)).tolist() == list(range(2, 13))
    assert Placement.of((768, 576), (416, 416), True).inner == (416, 312)
    assert Placement.of((10, 10000), (32, 32), True).inner == (1, 32)


@pytest.mark.parametrize("letterbox", [False, True])
@pytest.mark.parametrize("source", [(480, 640), (640, 481), (33, 7)])
def test_placement_goes_there_and_back(source, letterbox):
    placement = Placement.of(source, (320, 416), letterbox)
    boxes = np.random.default_rng(0).uniform(0, 30, (20, 4))
    np.testing.assert_allclose(placement.to_source(placement.to_input(boxes)), boxes, atol=1e-3)
    h, w = source
    whole = placement.to_input(np.array([[0, 0, w, h]]))[0]
    margin = [(416 - placement.inner[1]) / 2, (320 - placement.inner[0]) / 2]
    np.testing.assert_allclose(whole[:2], margin, atol=1e-4)
    np.testing.assert_allclose(whole[2:] + whole[:2], [416, 320], atol=1e-3)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".tiff"])
def test_picture_is_written_in_its_format(picture, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"ä b{suffix}"
    write_image(path, picture)
    assert np.abs(read_image(path).astype(int) - picture).mean() < 4
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_picture_of_no_known_format_is_refused(picture, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.jpgg: cannot be written; give pictures with a suffix"):
        write_image(tmp_path / "x.jpgg", picture)
    with pytest.raises(OptionError, match="cannot write: No such file"):
        write_image(tmp_path / "none/x.jpg", picture)
    assert not list(tmp_path.iterdir())


def means(image, factor):
    """Return the means of blocks; those at the right and at the bottom may be smaller."""
    h, w = image.shape[:2]
    rows, columns = range(0, h, factor), range(0, w, factor)
    blocks = [[image[y : y + factor, x : x + factor] for x in columns] for y in rows]
    return np.array([[block.mean((0, 1)) for block in row] for row in blocks])


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(240, 320), (235, 317)])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
def test_a_reduced_picture_has_the_means_of_the_whole_one(picture, size, suffix, factor, tmp_path):
    path = tmp_path / f"x{suffix}"
    write_image(path, cv2.resize(picture, size[::-1], interpolation=cv2.INTER_CUBIC))
    image, whole, _ = inspect_image(path, factor)
    expected = means(read_image(path), factor)
    assert whole == size and image.shape == expected.shape
    assert np.abs(image - expected).max() <= 6  # colours are stored at half of the size


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_reduced_picture_is_upright(picture, orientation, tmp_path):
    path = tmp_path / "x.jpg"
    large = cv2.resize(picture, (160, 120))
    path.write_bytes(with_exif(encoded(bgr(large), ".jpg"), orientation, ">"))
    image, size, repaired = inspect_image(path, 4)
    expected = ORIENTATIONS[orientation](picture)
    assert image.shape == expected.shape and size == tuple(4 * n for n in expected.shape[:2])
    assert np.abs(image.astype(int) - expected).mean() < 3
    assert bool(repaired) == (orientation > 1)


@pytest.mark.parametrize("channels", [1, 4])
def test_a_reduced_grey_or_cmyk_picture_is_rgb(picture, channels, tmp_path):
    path, large = tmp_path / "x.jpg", Image.fromarray(cv2.resize(picture, (160, 120)))
    large.convert("L" if channels == 1 else "CMYK").save(path, quality=95)
    image, size, repaired = inspect_image(path, 2)
    assert (image.shape, size, len(repaired)) == ((60, 80, 3), (120, 160), 1)
    assert np.abs(image - means(read_image(path), 2)).mean() < 3

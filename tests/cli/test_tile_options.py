"""The options for large pictures in the commands: --tile, --overlap and --tile-only."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import ghostyolo
from ghostyolo import cli
from ghostyolo.inference.choice import open_runtime
from support import tiny

SIZE = (150, 200)


@pytest.fixture
def model(tmp_path: Path) -> list[str]:
    """Return a cfg and weights that find something everywhere."""
    return [str(tiny.write(tmp_path)), str(tiny.eager_weights(tmp_path))]


def picture(path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8)
    cv2.imwrite(str(path), pixels)
    return path


def test_detect_and_python_find_the_same(
    model: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tiles of the network's input, and of another size and overlap without the whole picture."""
    path = picture(tmp_path / "noise.png")
    runtime = open_runtime(*model, name="torch")
    counts = []
    for options, tiles in [
        ([], None),
        (["--tile", "auto"], ghostyolo.Tiles()),
        (
            ["--tile", "64x80", "--overlap", "0.3", "--tile-only"],
            ghostyolo.Tiles((64, 80), 0.3, whole=False),
        ),
    ]:
        words = ["detect", *model, str(path), "--json", "--runtime", "torch", *options]
        assert cli.main(words) == 0
        (row,) = json.loads(capsys.readouterr().out)
        (found,) = runtime.detector(tiles=tiles)([ghostyolo.read_image(path)])
        assert [each["class"] for each in row["detections"]] == found.classes.tolist()
        boxes = [each["box"] for each in row["detections"]]
        np.testing.assert_allclose(boxes, found.boxes, atol=0.01)
        counts.append(len(found))
    assert counts[0] < min(counts[1:]) and len(set(counts)) == 3


def test_a_video_is_drawn_with_tiles(model: list[str], tmp_path: Path) -> None:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, SIZE[::-1])
    frame = cv2.imread(str(picture(tmp_path / "noise.png")))
    for _ in range(3):
        writer.write(frame)
    writer.release()
    words = ["detect", *model, str(path), "--out", str(tmp_path / "out"), "--tile", "auto"]
    assert cli.main([*words, "--runtime", "torch", "--quiet"]) == 0
    rows = json.loads((tmp_path / "out/detections.json").read_text())
    whole = ghostyolo.Model(*model).detect(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    assert len(rows) == 3 and all(len(row["detections"]) > len(whole) for row in rows)
    assert cv2.VideoCapture(str(tmp_path / "out/clip.mp4")).get(cv2.CAP_PROP_FRAME_COUNT) == 3


def test_val_scores_whole_pictures(model: list[str], tmp_path: Path) -> None:
    data = tiny.pictures(tmp_path / "shapes", size=SIZE)
    tiles = ghostyolo.Tiles((80, 80))
    result = ghostyolo.val(model[0], data, weights=model[1], runtime="torch", tiles=tiles)
    plain = ghostyolo.val(model[0], data, weights=model[1], runtime="torch")
    assert len(result.predictions) == len(plain.predictions) == 3
    assert all(each.boxes.max(0)[2] > 120 for each in result.predictions)
    assert sum(map(len, result.predictions)) > sum(map(len, plain.predictions))
    words = ["val", *model, str(data), "--runtime", "torch", "--tile", "80", "--quiet", "--json"]
    assert cli.main(words) == 0


def test_a_picture_of_one_tile_is_as_before(model: list[str], tmp_path: Path) -> None:
    path = picture(tmp_path / "noise.png")
    computing = ghostyolo.Model(*model)
    plain = computing.detect(path)
    tiled = computing.detect(path, tiles=ghostyolo.Tiles(SIZE))
    assert np.array_equal(plain.boxes, tiled.boxes) and np.array_equal(plain.scores, tiled.scores)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--overlap", "0.3"], "--overlap without --tile; give --tile auto or HxW"),
        (["--tile-only"], "--tile-only without --tile; give --tile auto or HxW"),
        (["--tile", "big"], "--tile big; write height x width, as 416x416, or one number for a"),
        (["--tile", "0"], "tiles of 0x0; give pixels, HxW"),
        (["--tile", "1"], "47,000 tiles of 1x1 in a picture; give larger tiles, or a smaller"),
        (["--tile", "auto", "--overlap", "1"], "overlap=1.0; give a fraction of a tile's sides"),
    ],
)
def test_options_that_make_no_tiles(
    options: list[str],
    message: str,
    model: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = picture(tmp_path / "noise.png")
    words = ["detect", *model, str(path), "--json", "--runtime", "torch", *options]
    assert cli.main(words) == 1
    assert message in capsys.readouterr().err

"""Jobs of detection: rows go to files one by one, which are whole whatever happens."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import ghostyolo.files
from ghostyolo.data.images import preprocess
from ghostyolo.errors import OptionError
from ghostyolo.model.detector import Detector
from ghostyolo.network import load
from ghostyolo.prediction import predict, writers
from ghostyolo.prediction.job import DetectionJob, Done, Outputs
from ghostyolo.prediction.sources import SourceImage, Sources, Stream
from ghostyolo.prediction.video import VideoWriter
from support import tiny

FRAMES = 5


def rows_of(count: int) -> list[predict.Row]:
    """Return rows with as many detections as their number, and names that need escapes."""
    found = {"class": 1, "name": 'a "é"\n,', "score": 0.5, "box": [1.5, 2.0, 3.25, 1e-7]}
    return [
        predict.picture_row((4, 6), {"format": "xyxy", "detections": [found] * n}, f"é{n}.jpg", n)
        for n in range(count)
    ]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_lists_are_written_as_if_at_once(count: int, tmp_path: Path) -> None:
    rows, stream = rows_of(count), io.BytesIO()
    pairs: list[tuple[Any, bytes]] = [
        (partial(writers.json_list, indent=1), json.dumps(rows, indent=1).encode()),
        (writers.json_list, json.dumps(rows).encode()),
        (
            partial(writers.coco_results, classes=2),
            json.dumps(
                [each for n, row in enumerate(rows) for each in writers.coco_rows(row, n, 2)]
            ).encode(),
        ),
    ]
    for writer, whole in pairs:
        with writer(tmp_path / "x") as add:
            for row in rows:
                add(row)
        assert (tmp_path / "x").read_bytes() == whole
    with writers.json_list(stream) as add:
        for row in rows:
            add(row)
    assert stream.getvalue() == json.dumps(rows).encode() + b"\n"


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """Return three pictures and a video."""
    rng, paths = np.random.default_rng(0), [tmp_path / f"{n}.png" for n in range(3)]
    images = rng.integers(0, 256, (3 + FRAMES, 48, 64, 3)).astype(np.uint8)
    for path, image in zip(paths, images, strict=False):
        cv2.imwrite(str(path), image)
    video = VideoWriter(tmp_path / "x.mp4", 10.0)
    for image in images[3:]:
        video.add(image)
    video.close()
    return Sources(paths, [Stream(str(video.path), str(video.path), live=False)])


def job(
    folder: Path,
    sources: Sources,
    stop: Callable[[int], object] = lambda call: None,
    **options: Any,
) -> DetectionJob:
    """Return a job that writes all files. stop: called with the number of each batch."""
    (folder / "out").mkdir()
    network, calls = load(tiny.write(folder)), 0

    def run(images: np.ndarray) -> list[np.ndarray]:
        nonlocal calls
        stop(calls)
        calls += 1
        return [np.full((len(images), *network[-1].shape), 0.9, np.float32)]

    names = {name: folder / f"out/x.{name}" for name in ("json", "jsonl", "csv", "coco")}
    outputs = Outputs(folder=folder / "out/drawn", voc=folder / "out/voc", **names)
    return DetectionJob(Detector(network, run), sources, outputs, **options)


def files(folder: Path) -> dict[str, list[predict.Row]]:
    """Return the rows in each file of a job."""
    return {
        "json": json.loads((folder / "x.json").read_text()),
        "jsonl": list(map(json.loads, (folder / "x.jsonl").read_text().splitlines())),
        "folder": json.loads((folder / "drawn/detections.json").read_text()),
    }


def check(folder: Path, rows: list[predict.Row]) -> None:
    """Check that all files hold these rows, and that nothing half written is beside them."""
    assert files(folder) == {"json": rows, "jsonl": rows, "folder": rows}
    count = sum(len(row["detections"]) for row in rows)
    assert len(json.loads((folder / "x.coco").read_text())) == count
    with open(folder / "x.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == count
    lines = [path.read_text().splitlines() for path in (folder / "voc").iterdir()]
    assert sum(map(len, lines)) == count
    assert not list(folder.rglob("*.part"))


def test_every_file_has_every_row_and_python_gets_them_too(
    sources: Sources, tmp_path: Path
) -> None:
    rows: list[predict.Row] = []
    done = job(tmp_path, sources, on_row=rows.append, batch=2).run()
    assert [row.get("frame") for row in rows] == [None] * 3 + list(range(FRAMES))
    count = sum(len(row["detections"]) for row in rows)
    assert done == Done(3 + FRAMES, count, 0, done.seconds)
    assert list(done.seconds) == ["output", "reading", "network", "boxes"]
    assert count > 0
    check(tmp_path / "out", rows)


def test_limit_is_of_pictures_and_of_the_frames_of_each_video(
    sources: Sources, tmp_path: Path
) -> None:
    rows: list[predict.Row] = []
    job(tmp_path, sources, on_row=rows.append, limit=2).run()
    assert [row.get("frame") for row in rows] == [None, None, 0, 1]
    video = cv2.VideoCapture(str(tmp_path / "out/drawn/x.mp4"))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 2


@pytest.mark.parametrize("call", [2, 5])
def test_interruption_leaves_whole_files(call: int, sources: Sources, tmp_path: Path) -> None:
    """In the pictures, and in the video."""
    rows: list[predict.Row] = []

    def stop(number: int) -> None:
        if number == call:
            raise KeyboardInterrupt

    begun = job(tmp_path, sources, stop, on_row=rows.append)
    with pytest.raises(KeyboardInterrupt):
        begun.run()
    check(tmp_path / "out", rows)


def test_error_before_the_first_picture_replaces_nothing(sources: Sources, tmp_path: Path) -> None:
    def stop(number: int) -> None:
        raise OptionError("no")

    begun = job(tmp_path, sources, stop)
    (tmp_path / "out/x.csv").write_text("old")
    with pytest.raises(OptionError):
        begun.run()
    assert (tmp_path / "out/x.csv").read_text() == "old"


class FullDisk(io.BufferedWriter):
    """A file on a disk without room."""

    def write(self, data: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_is_told_of_the_file_that_it_hit(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def alone(path: str, seconds: float) -> Any:
        file: Any = opened(path, seconds)
        return FullDisk(file.detach()) if path.endswith(".csv.part") else file

    opened = ghostyolo.files._alone
    monkeypatch.setattr(ghostyolo.files, "_alone", alone)
    begun = job(tmp_path, sources)
    with pytest.raises(OptionError, match=r"x\.csv: cannot write: No space left on device; free"):
        begun.run()
    assert not list((tmp_path / "out").glob("x.csv*"))
    assert json.loads((tmp_path / "out/x.json").read_text()) == []


def test_stream_without_room_is_told() -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    told = pytest.raises(OptionError, match="cannot write the rows: No space left on device")
    with told, writers.json_list(Full()):
        pass


@pytest.mark.parametrize("letterbox", [0, 1])
@pytest.mark.parametrize("channels", [3, 1])
def test_frames_become_the_same_input_as_pictures(
    letterbox: int, channels: int, tmp_path: Path
) -> None:
    """Though they are resized before their channels are swapped."""
    text = tiny.write(tmp_path).read_text().replace("channels=3", f"channels={channels}")
    path = tmp_path / "x.cfg"
    path.write_text(text.replace("[net]", f"[net]\nletter_box={letterbox}"))
    detector = Detector(load(path), lambda images: [])
    image = np.random.default_rng(0).integers(0, 256, (333, 517, 3)).astype(np.uint8)
    want = preprocess(image, detector.options.size, bool(letterbox), channels=channels)
    frame = SourceImage("x", np.ascontiguousarray(image[..., ::-1]), 0, bgr=True)
    for item in (SourceImage("x", image), frame):
        got = predict.detector_input(detector, item, keep=True)
        np.testing.assert_array_equal(got.value[0], want[0])
        assert got.value[1] == want[1]
        np.testing.assert_array_equal(got.image, image)

"""Where pictures come from, and the files that detections go to."""

from __future__ import annotations

import http.server
import io
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from ghostyolo.data.paths import SUFFIXES
from ghostyolo.errors import DataError, OptionError
from ghostyolo.model.detections import Detections
from ghostyolo.prediction import predict, sources, video, writers
from ghostyolo.prediction.predict import Prediction, predict_files
from ghostyolo.prediction.sources import VIDEOS, SourceImage, Sources, Stream, find_sources
from ghostyolo.prediction.writers import output_paths

SIZE = (48, 64)


def picture(path: Path, level: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*SIZE, 3), level, np.uint8))
    return path


def film(path: Path, levels: list[int], fps: float = 10.0) -> Path:
    """Write a video of grey frames."""
    writer = video.VideoWriter(path, fps)
    for level in levels:
        writer.add(np.full((*SIZE, 3), level, np.uint8))
    writer.close()
    return path


def found(path: str = "dir/img_000042.jpg") -> Prediction:
    boxes = np.array([[-1, 2, 21, 30], [30, 4, 64, 48]], np.float32)
    detections = Detections(boxes, np.array([0.9, 0.5]), np.array([1, 0]))
    return Prediction(path, SIZE, detections)


def found_row() -> predict.Row:
    item = found()
    return predict.picture_row(item.size, predict.detected(item.result, ("a", "b")), item.source)


def written(writer: AbstractContextManager[writers.AddRow], rows: list[predict.Row]) -> None:
    """Write rows one by one, as a job does."""
    with writer as add:
        for row in rows:
            add(row)


class Site(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, and /live.mjpg: pictures of which nobody says how many will come."""

    def do_GET(self) -> None:
        if self.path != "/live.mjpg":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=part")
        self.end_headers()
        for level in (0, 120, 240):
            data = cv2.imencode(".jpg", np.full((*SIZE, 3), level, np.uint8))[1].tobytes()
            head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            self.wfile.write(head.encode() + data + b"\r\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder and yield its address."""
    handler = partial(Site, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_words_are_told_apart(tmp_path: Path) -> None:
    picture(tmp_path / "a.png"), picture(tmp_path / "in/b.png"), film(tmp_path / "c.mp4", [9])
    words = [str(tmp_path), "0", "rtsp://host/live", "-", str(tmp_path / "a.png")]
    got = sources.find_sources(words)
    assert got.pictures == [tmp_path / "a.png", Path("-")]
    assert [(s.name, s.address, s.live) for s in got.streams] == [
        (str(tmp_path / "c.mp4"), str(tmp_path / "c.mp4"), False),
        ("camera-0", 0, True),
        ("rtsp://host/live", "rtsp://host/live", True),
    ]
    deep = sources.find_sources([str(tmp_path)], recursive=True).pictures
    assert deep == [tmp_path / "a.png", tmp_path / "in/b.png"]
    assert sources.find_sources([f"{tmp_path}/**/b.png"]).pictures == [tmp_path / "in/b.png"]
    with pytest.raises(
        DataError, match="no pictures in this folder; look into its subfolders with"
    ):
        sources.find_sources([str(picture(tmp_path / "deep/er/x.png").parents[1])])


def test_every_picture_that_training_reads_is_found_and_others_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.jfif", "b.gif", "c.JPE", "d.avif", "notes.txt", ".hidden", "e.xml"):
        (tmp_path / name).touch()
    found = sources.find_sources([tmp_path]).pictures
    assert [path.name for path in found] == ["a.jfif", "b.gif", "c.JPE", "d.avif"]
    message = "2 files are neither pictures nor videos: e.xml, notes.txt"
    assert [record.getMessage() for record in caplog.records] == [f"{tmp_path}: {message}"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("http://host/x.jpg", "is a picture at an address; fetch it: curl -L http://host/x.jpg |"),
        ("https://host/x.png?size=1", "is a picture at an address"),
        ("99999999999", "no camera has this number"),
    ],
)
def test_word_that_is_no_source_is_refused(word: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        sources.find_sources([word])


def test_standard_input_is_a_picture_or_a_list(tmp_path: Path) -> None:
    data = picture(tmp_path / "a.png", 70).read_bytes()
    got = sources.read_source(sources.STDIN, io.BytesIO(data))
    assert isinstance(got, SourceImage)
    assert got.image.tolist() == np.full((*SIZE, 3), 70).tolist()
    assert isinstance(sources.read_source(sources.STDIN, io.BytesIO(b"no picture")), DataError)
    assert sources.with_list(["x", "-"], ["a.png\n", "\n", " b c.png \n"]) == [
        "x",
        "a.png",
        "b c.png",
    ]


def test_video_gives_its_frames_in_order(tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4", [0, 80, 160, 240])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.mp4"], "nothing is left beside it"
    frames = Stream(str(path), str(path), live=False).open()
    assert (frames.fps, frames.total) == (10.0, 4)
    got = list(frames)
    frames.close()
    assert [frame.frame for frame in got] == [0, 1, 2, 3]
    assert [round(frame.image.mean() / 80) for frame in got] == [0, 1, 2, 3]
    assert all(frame.image.shape == (*SIZE, 3) for frame in got)
    frames = Stream(str(path), str(path), live=False).open()
    frames.reuse = True
    means = [(round(frame.image.mean() / 80), id(frame.image)) for frame in frames]
    assert [mean for mean, _ in means] == [0, 1, 2, 3]
    assert len({place for _, place in means}) == 1


def test_video_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(b"no video")
    with pytest.raises(DataError, match=r"x\.mp4: cannot open the video; check that it is there"):
        Stream(str(path), str(path), live=False).open()


def test_video_at_an_address_loses_no_frame_and_one_without_end_is_live(tmp_path: Path) -> None:
    film(tmp_path / "x.mp4", [0, 80, 160, 240])
    with served(tmp_path) as address:
        frames = sources.find_sources([f"{address}/x.mp4"]).streams[0].open()
        assert (frames.total, frames.live) == (4, False)
        assert [frame.frame for frame in frames] == [0, 1, 2, 3]
        frames.close()
        frames = sources.find_sources([f"{address}/live.mjpg"]).streams[0].open()
        assert (frames.total, frames.live) == (0, True)
        assert len(list(frames)) == 3
        frames.close()


def test_annotated_video_has_a_name_of_its_own(tmp_path: Path) -> None:
    names = ("a/b c.avi", "b/b c.mp4", "rtsp://host/li?ve=1", "rtsp://other/li?ve=1")
    streams = [Stream(name, name, live="://" in name) for name in names]
    assert [path.name for path in output_paths(Sources([], streams), tmp_path).values()] == [
        "b c.mp4", "b c-2.mp4", "li-ve-1.mp4", "li-ve-1-2.mp4",
    ]  # fmt: skip


@pytest.mark.parametrize("fps", [119.877, 1000 / 7, 29.97002997, 240.0, 1.0, 0.5])
def test_video_of_any_frame_rate(fps: float, tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4", [0, 240], fps)
    assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(fps, rel=1e-3)


def test_video_that_a_full_disk_cut_short_is_refused(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk."""
    script = f"""if True:
        import resource, signal
        from pathlib import Path
        import numpy as np
        from ghostyolo.errors import OptionError
        from ghostyolo.prediction.video import VideoWriter
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
        writer = VideoWriter(Path({str(tmp_path / "x.mp4")!r}), 10.0)
        rng = np.random.default_rng(0)
        for _ in range(40):
            writer.add(rng.integers(0, 256, (96, 128, 3), np.uint8))
        try:
            writer.close()
        except OptionError as error:
            print(error)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "cannot write the video: " in done.stdout
    assert "of 40 frames; free some space" in done.stdout
    assert not list(tmp_path.iterdir())


def test_window_without_a_display_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in video.DISPLAYS:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(OptionError, match="--show: there is no display; leave --show out"):
        video.window("x")


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_batches_keep_pictures_and_errors_in_their_turn(batch: int, tmp_path: Path) -> None:
    paths = [picture(tmp_path / f"{n}.png", 30 * n) for n in range(6)]
    paths[2].write_text("broken")
    counts = []

    def detector(images: list[np.ndarray]) -> list[Detections]:
        counts.append(len(images))
        scores = [image.mean() / 255 for image in images]
        return [Detections(np.zeros((1, 4)), np.array([s]), np.zeros(1)) for s in scores]

    got = list(predict_files(detector, paths, batch=batch))
    assert isinstance(got[2], DataError)
    good = [item for item in got if isinstance(item, Prediction)]
    assert [item.source for item in good] == [str(p) for n, p in enumerate(paths) if n != 2]
    scores = [float(item.result.scores[0]) for item in good]
    np.testing.assert_allclose(scores, [30 * n / 255 for n in (0, 1, 3, 4, 5)], atol=1e-6)
    assert max(counts) <= batch and sum(counts) == 5


def test_coco_counts_as_coco_does() -> None:
    row = found_row()
    assert writers.coco_rows(row, 7, 2)[0] == {
        "image_id": 42, "category_id": 2, "bbox": [-1, 2, 22, 28], "format": "xywh",
        "score": 0.9,
    }  # fmt: skip
    assert writers.coco_rows({**row, "file": "dog.jpg"}, 7, 80)[0]["image_id"] == 7
    assert writers.coco_rows({**row, "frame": 3}, 7, 80)[0]["image_id"] == 7
    truth = COCO()
    truth.dataset = {"images": [{"id": 42}], "categories": [{"id": 1}, {"id": 2}]}
    truth.createIndex()
    loaded = truth.loadRes(writers.coco_rows(row, 7, 2)).anns.values()
    assert [each["bbox"] for each in loaded] == [[-1, 2, 22, 28], [30, 4, 34, 44]]
    assert (writers.COCO_IDS[0], writers.COCO_IDS[11], writers.COCO_IDS[79]) == (1, 13, 90)
    assert len(writers.COCO_IDS) == 80


def test_pictures_that_are_one_to_coco_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = found_row()
    frames = [{**row, "file": "x7.mp4", "frame": n} for n in (0, 1)]
    written(writers.coco_results(tmp_path / "x.json", 2), frames)
    assert not caplog.messages
    written(writers.coco_results(tmp_path / "x.json", 2), [row, row, {**row, "file": "43.jpg"}])
    assert "2 pictures have COCO's id 42; give each a number" in caplog.text


def test_pictures_that_are_one_to_voc_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = found_row()
    frames = [{**row, "file": "a/x.mp4", "frame": n} for n in (0, 1)]
    written(writers.voc_files(tmp_path, ("a", "b"), 2), [row, *frames])
    assert not caplog.messages
    written(
        writers.voc_files(tmp_path, ("a", "b"), 2),
        [*frames, {**row, "file": "b/x.mp4", "frame": 1}],
    )
    assert "2 pictures are named 'x_1' for VOC; give each a name" in caplog.text


@pytest.mark.parametrize(
    ("names", "files"),
    [
        (("car/truck", "car_truck"), ["car_truck_0", "car_truck_1"]),
        (("../x", "a\0\udcff"), [".._x", "a__"]),
        (("猫" * 300, "b"), ["猫" * 66, "b"]),
    ],
)
def test_classes_whose_name_no_file_can_have(
    names: tuple[str, str], files: list[str], tmp_path: Path
) -> None:
    """Each has a file of its own, written at the end of the work."""
    written(writers.voc_files(tmp_path, names, 2), [found_row()])
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found.keys() == {f"comp4_det_test_{stem}.txt" for stem in files}
    assert all(found.values())


def test_files_of_other_programs(tmp_path: Path) -> None:
    row = found_row()
    written(writers.voc_files(tmp_path, ("a", "b", "c"), 3), [row])
    texts = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert texts == {
        "comp4_det_test_a.txt": "img_000042 0.500000 31.000000 5.000000 64.000000 48.000000\n",
        "comp4_det_test_b.txt": "img_000042 0.900000 1.000000 3.000000 22.000000 31.000000\n",
        "comp4_det_test_c.txt": "",
    }
    assert list(writers.yolo_lines(found()))[1] == "0 0.734375 0.541667 0.531250 0.916667 0.50000\n"
    with writers.json_lines(tmp_path / "x.jsonl") as add_row:
        add_row(row)
        assert not (tmp_path / "x.jsonl").exists(), "it is in its place when it is whole"
        odd = {**row, "file": "ä\udcff.jpg"}  # as Python spells a name that is not UTF-8
        add_row(odd)
    text = (tmp_path / "x.jsonl").read_text("utf-8")
    assert "ä" in text
    assert [json.loads(line) for line in text.splitlines()] == [row, odd]
    written(writers.csv_table(tmp_path / "x.csv"), [odd])
    assert (tmp_path / "x.csv").read_text("utf-8").splitlines() == [
        "file,frame,class,name,score,left,top,right,bottom",
        "ä\\udcff.jpg,,1,b,0.9,-1.0,2.0,21.0,30.0",
        "ä\\udcff.jpg,,0,a,0.5,30.0,4.0,64.0,48.0",
    ]


def test_an_empty_folder_is_told_all_that_it_is_searched_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures in this folder") as caught:
        find_sources([tmp_path])
    assert set(re.findall(r"(\.\w+)[,)]", str(caught.value))) == SUFFIXES | VIDEOS

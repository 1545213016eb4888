"""The page of a run: whole, escaped, in need of nothing else, and readable in a real browser."""

from __future__ import annotations

import base64
import html
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from ghostyolo import cli, report
from ghostyolo.data import Dataset
from ghostyolo.errors import OptionError
from ghostyolo.evaluation.average_precision import score
from ghostyolo.evaluation.error_types import outcomes_of
from ghostyolo.evaluation.validation import Validation
from ghostyolo.inference.environment import versions
from ghostyolo.model.detections import Detections
from ghostyolo.network import loads
from ghostyolo.report import RunReport, plots, render, tables
from ghostyolo.report.html import duration
from ghostyolo.report.page import TITLES
from ghostyolo.report.pictures import LETTER, LINE, _labelled, jpeg, with_most_errors
from support import html_pages, tiny
from support.detections import random_case
from support.html_pages import HOSTILE, LOADING, Page


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def run(folder: Path) -> RunReport:
    """Make a run of six classes with bad names, whose pictures are coloured spots."""
    detections, data = random_case(0, ignore=0.2)
    picture = np.random.default_rng(0).integers(0, 255, (10, 10, 3), np.uint8)
    picture = cv2.resize(picture, (300, 300))
    samples = []
    for number, sample in enumerate(data.samples):
        path = folder / f"<b>&{number}.png"
        cv2.imwrite(str(path), picture)
        samples.append(replace(sample, path=str(path)))
    val = replace(data, names=HOSTILE, samples=tuple(samples), path="<i>data</i>", split="val")
    train = replace(val, split="train")
    train.defects["zero-size <box>"] = 3
    rows = [
        {"iteration": i, "epoch": i, "loss": 9 / i, "loss_box": 3 / i, "rate": 0.01 / i}
        | {"AP": i / 20, "AP50": i / 10, "AP75": float("nan"), "VOC": i / 10, "box": 7.0}
        for i in range(1, 8)
    ]
    (folder / "train_batch10.jpg").write_bytes(jpeg(picture))
    (folder / "train_batch9.jpg").write_bytes(jpeg(picture))
    (folder / "train_batch<b>.jpg").write_bytes(jpeg(picture))
    return RunReport(
        title="<run> & more",
        network=loads(f"# </code><script>x</script>\n{tiny.CFG}"),
        command=("ghostyolo", "train", "a b.cfg", "<data>"),
        rows=rows,
        seconds={"pictures": 2.0, "updates": 75.0, "writing": 0.5},
        train=train,
        validation=validated(val, detections),
        weights="best.weights",
        batches=report.batch_files(folder),
        versions=versions("cpu"),
        date="2025-01-02",
    )


def validated(val: Dataset, detections: list[Detections]) -> Validation:
    return Validation(loads(tiny.CFG), val, detections, score(detections, val), {})


@pytest.fixture(scope="module")
def text(run: RunReport) -> str:
    return render(run)


def test_run_that_began_without_a_column_gets_it(tmp_path: Path) -> None:
    """Of an older version: new columns come last, and are empty in the old rows."""
    old = {"iteration": 1234567, "epoch": 0.95, "loss": 2.0, "AP": 0.25}
    rows = [old, {**old, "epoch": 2, "val_loss": 3.0, "recall": 0.5}]
    report.write_rows(tmp_path / "results.csv", rows)
    assert (tmp_path / "results.csv").read_text().splitlines() == [
        "iteration,epoch,loss,AP,val_loss,recall",
        "1234567,0.95,2,0.25,,",
        "1234567,2,2,0.25,3,0.5",
    ]
    report.draw_curve(tmp_path / "curve.png", rows)
    loss, precision = plots.results(rows)
    assert ("c2", "val_loss") in loss.legend and "recall over 2 validations" in precision.alt


def test_page_has_every_section_and_names_it(text: str) -> None:
    page = Page(text)
    assert page.sections() == list(TITLES)
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert links == [f"#{name}" for name in TITLES]
    assert [tag for tag, _ in page.tags].count("h1") == 1


def test_page_loads_nothing(text: str) -> None:
    html_pages.check_loads_nothing(text)
    html_pages.check_references(text)


def test_what_comes_from_outside_is_escaped(text: str) -> None:
    page = Page(text)
    shown = "".join(page.text)
    for name in HOSTILE:
        assert name in shown
    for part in ("<run> & more", "<i>data</i>", "zero-size <box>", "<b>&", "a b.cfg", "'<data>'"):
        assert part in shown
    assert "</code><script>x</script>" in shown
    assert "http://evil" not in html.unescape(
        "".join(str(a.get(key)) for _, a in page.tags for key in LOADING)
    )


def test_every_drawing_says_what_it_shows(text: str) -> None:
    drawings = [attrs for tag, attrs in Page(text).tags if tag == "svg"]
    assert len(drawings) == 3 + 2 + 2 * 6 + 1  # results, curves, pictures, anchors
    assert all(attrs["role"] == "img" and len(str(attrs["aria-label"])) > 10 for attrs in drawings)


def test_training_batches_and_validation_grids_are_shown(run: RunReport, text: str) -> None:
    pictures = [attrs for tag, attrs in Page(text).tags if tag == "img"]
    shown = [base64.b64decode(str(attrs["src"]).partition(",")[2]) for attrs in pictures]
    assert shown == [*run.scored["grids"], *(path.read_bytes() for path in run.batches.values())]
    assert list(run.batches) == [9, 10]
    assert [str(attrs["alt"]).split(":")[0] for attrs in pictures[-2:]] == [
        "Iteration 9", "Iteration 10",
    ]  # fmt: skip


def test_pictures_are_small_jpegs(text: str) -> None:
    uris = re.findall(r'href="data:image/jpeg;base64,(.*?)"', text)
    assert len(uris) == 6
    for uri in uris:
        image = cv2.imdecode(np.frombuffer(base64.b64decode(uri), np.uint8), cv2.IMREAD_COLOR)
        assert image.shape == (300, 300, 3)
    assert len(text) < 2e6


def test_the_worst_pictures_come_first_with_every_mark(run: RunReport) -> None:
    assert run.validation is not None
    samples = run.validation.dataset.samples
    outcomes = [
        outcomes_of(*pair) for pair in zip(run.validation.predictions, samples, strict=True)
    ]
    counts = [sum(outcome.errors().values()) for outcome in outcomes]
    shown = with_most_errors(run.validation.predictions, samples, outcomes, HOSTILE)
    paths = [sample.path for sample in samples]
    rows = [paths.index(picture["path"]) for picture in shown]
    assert [counts[row] for row in rows] == sorted(counts, reverse=True)[: len(rows)]
    for row, picture in zip(rows, shown, strict=True):
        assert Counter(mark["outcome"] for mark in picture["drawings"]["truths"]) == Counter(
            outcomes[row].truths
        )
        assert Counter(mark["outcome"] for mark in picture["drawings"]["detections"]) == Counter(
            outcomes[row].detections
        )
        corners = np.array(sorted((mark["x"], mark["y"]) for mark in picture["drawings"]["truths"]))
        expected = sorted(map(tuple, samples[row].boxes_xyxy_px[:, :2] * 560 / 300))
        assert corners == pytest.approx(np.array(expected), abs=0.06)


def test_labels_begin_or_end_at_their_boxes() -> None:
    """Whatever the width of a letter is, up to the one for which places are kept."""
    rng = np.random.default_rng(0)
    marks: list[dict[str, Any]] = [
        {
            "x": x,
            "y": y,
            "w": w,
            "h": h,
            "label": "a long name of a class 0.5"[: rng.integers(3, 26)],
        }
        for x, y, w, h in (rng.random((40, 4)) * (460, 320, 90, 90) + (0, 0, 9, 9)).tolist()
    ]
    drawn = [mark for mark in _labelled(marks, (420, 560)) if mark["label"]]
    assert len(drawn) > 15
    for mark in drawn:
        for letter in (5, LETTER):
            width = letter * len(mark["label"])
            left = mark["text_x"] - width * {"start": 0, "middle": 0.5, "end": 1}[mark["anchor"]]
            top = mark["text_y"] - 0.75 * LINE
            aside = max(left - mark["x"] - mark["w"], mark["x"] - left - width)
            above = max(top - mark["y"] - mark["h"], mark["y"] - top - LINE)
            assert aside <= 3 and above <= 1, mark


def test_page_is_the_same_each_time(run: RunReport, text: str) -> None:
    assert render(run) == text


def test_the_plots_have_the_colours_of_the_page(text: str) -> None:
    assert "var(--ink)" in text
    assert "#0101" not in text


def lacking(run: RunReport, **changes: Any) -> list[str]:
    return Page(render(replace(run, **changes))).sections()


def test_missing_parts_are_left_out(run: RunReport) -> None:
    bare = RunReport("bare", run.network)
    assert Page(render(bare)).sections() == ["scores", "cfg"]
    assert "no validation set" in render(bare)
    unscored = lacking(run, validation=None)
    assert unscored == [
        "results", "scores", "batches", "anchors", "data", "time", "origin", "cfg"
    ]  # fmt: skip
    assert "results" not in lacking(run, rows=())
    assert lacking(run, rows=run.rows[:1]) == list(TITLES)


def scored(run: RunReport, val: Dataset, detections: list[Detections]) -> list[str]:
    return lacking(run, train=None, validation=validated(val, detections))


def test_nothing_there_and_nothing_found(run: RunReport) -> None:
    assert run.validation is not None
    none = [Detections.empty()] * len(run.validation.dataset)
    everything = list(TITLES)
    assert scored(run, run.validation.dataset, none) == everything
    empty = [np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool)]
    samples = [
        replace(s, boxes_xyxy_px=empty[0], classes=empty[1], ignore=empty[2])
        for s in run.validation.dataset.samples
    ]
    truthless = replace(run.validation.dataset, samples=tuple(samples))
    rest = [name for name in everything if name not in ("sizes", "box_sizes", "curves", "anchors")]
    assert scored(run, truthless, none) == rest
    assert scored(run, truthless, list(run.validation.predictions)) == rest
    without = [name for name in rest if name not in ("grids", "pictures")]
    assert scored(run, replace(run.validation.dataset, samples=()), []) == without


@pytest.mark.parametrize("count", [1, 1000])
def test_any_number_of_classes(run: RunReport, count: int) -> None:
    assert run.validation is not None
    names = tuple(f"class {number}" for number in range(count))
    samples = tuple(
        replace(s, classes=s.classes * 7 % count) for s in run.validation.dataset.samples
    )
    found = [
        Detections(d.boxes, d.scores, d.classes * 7 % count) for d in run.validation.predictions
    ]
    val = replace(run.validation.dataset, names=names, samples=samples)
    page = render(replace(run, train=val, validation=validated(val, found)))
    assert Page(page).sections() == list(TITLES)
    assert len(page) < 4e6
    assert ("997 are left out" in page) == (count == 1000)


def test_a_picture_that_is_gone_is_left_out(run: RunReport) -> None:
    assert run.validation is not None
    gone = tuple(replace(sample, path="gone.png") for sample in run.validation.dataset.samples)
    val = replace(run.validation.dataset, samples=gone)
    assert "pictures" not in lacking(run, validation=replace(run.validation, dataset=val))


def test_a_file_that_cannot_be_written_is_an_error(run: RunReport, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cannot write"):
        report.write(tmp_path / "no folder" / "x.html", RunReport("x", run.network))


def test_anchors_fit_as_counted_by_hand() -> None:
    scales = {8.0: np.array([[10.0, 10.0]]), 16.0: np.array([[20.0, 40.0]])}
    boxes = np.array([[10.0, 10.0], [20.0, 20.0], [40.0, 40.0], [5.0, 10.0]])
    rows, overlap = tables.anchor_fit(boxes, scales)
    assert [row[2] for row in rows] == [2, 2]
    assert overlap == pytest.approx((1 + 0.5 + 0.5 + 0.5) / 4)


def test_boxes_are_scaled_as_the_network_sees_them(run: RunReport) -> None:
    assert run.train is not None
    sample = replace(run.train.samples[0], size=(100, 200))
    sides = (sample.boxes_xyxy_px[:, 2:] - sample.boxes_xyxy_px[:, :2])[~sample.ignore]
    stretched = tables.box_sizes([sample], run.network.options)  # to 64x64
    assert stretched == pytest.approx(sides * (64 / 200, 64 / 100))
    letterboxed = tables.box_sizes([sample], run.network.options.changed(letter_box=1))
    assert letterboxed == pytest.approx(sides * 64 / 200)


def test_durations_read_well() -> None:
    spoken = {0.5: "0.50 s", 9.999: "10.0 s", 59.99: "1 min 0 s", 75: "1 min 15 s"}
    assert {value: duration(value) for value in spoken} == spoken
    assert duration(3700) == "1 h 1 min"


def test_val_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg, weights = tiny.write(tmp_path), tiny.eager_weights(tmp_path)
    words = ["val", str(cfg), str(weights), str(tiny.pictures(tmp_path / "data"))]
    page = tmp_path / "new folder" / "page.html"
    assert cli.main([*words, "--device", "cpu", "--report", str(page)]) == 0
    assert capsys.readouterr().out.endswith(f"report: {page}\n")
    text = page.read_text(encoding="utf-8")
    assert Page(text).sections() == [name for name in TITLES if name not in ("results", "batches")]
    assert f"ghostyolo val {cfg} {weights}" in "".join(Page(text).text)


def test_nothing_sticks_out_in_a_browser(text: str, tmp_path: Path) -> None:
    html_pages.check_in_browser(text, tmp_path, drawings=18)

"""Average precision, held against pycocotools, a plain VOC implementation and sums done by hand."""

from __future__ import annotations

import contextlib
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ghostyolo.data import Dataset
from ghostyolo.errors import DataError
from ghostyolo.evaluation.average_precision import Metrics, area_ap, eleven_point_ap, score
from ghostyolo.evaluation.validation import predict_all, without_unreadable
from ghostyolo.model.detections import Detections
from support.detections import ELSEWHERE, SHIFTED, SQUARE, dataset, found, random_case


def perfect(data: Dataset) -> list[Detections]:
    return [
        Detections(s.boxes_xyxy_px, np.full(len(s.classes), 0.9), s.classes) for s in data.samples
    ]


def pycocotools_scores(detections: list[Detections], data: Dataset) -> list[float]:
    """Return the reference's AP, AP50, AP75, small, medium, large and AR."""

    def rows(boxes: np.ndarray, **columns: np.ndarray) -> list[dict]:
        corners = boxes.astype(float)
        sizes = corners[:, 2:] - corners[:, :2]
        bboxes = np.concatenate((corners[:, :2], sizes), 1).tolist()
        lists = {name: column.tolist() for name, column in columns.items()}
        values = zip(bboxes, sizes.prod(1).tolist(), *lists.values(), strict=True)
        return [dict(zip(("bbox", "area", *lists), value, strict=True)) for value in values]

    truths, results = [], []
    for image, (seen, s) in enumerate(zip(detections, data.samples, strict=True)):
        crowd = s.ignore.astype(int)
        for row in rows(s.boxes_xyxy_px, category_id=s.classes, iscrowd=crowd):
            truths.append({"image_id": image, "id": len(truths) + 1, **row})
        for row in rows(seen.boxes, category_id=seen.classes, score=seen.scores):
            results.append({"image_id": image, **row})
    with contextlib.redirect_stdout(io.StringIO()):
        gt = COCO()
        gt.dataset = {
            "images": [{"id": image} for image in range(len(data.samples))],
            "categories": [{"id": cls} for cls in range(len(data.names))],
            "annotations": truths,
        }
        gt.createIndex()
        engine = COCOeval(gt, gt.loadRes(results), "bbox")
        engine.evaluate()
        engine.accumulate()
        engine.summarize()
    return [*engine.stats[:6], engine.stats[8]]


def plain_voc_hits(detections: list[Detections], data: Dataset, cls: int) -> list[bool]:
    """Go through one class's detections one by one, as the development kit's loop does."""
    rows = [
        (float(value), image, box)
        for image, seen in enumerate(detections)
        for box, value, c in zip(seen.boxes.tolist(), seen.scores, seen.classes, strict=True)
        if c == cls
    ]
    taken, hits = set(), []
    for _, image, box in sorted(rows, key=lambda row: -row[0]):
        best, match = -1.0, None
        s = data.samples[image]
        for index, truth in enumerate(s.boxes_xyxy_px.tolist()):
            overlap = plain_iou(box, truth) if s.classes[index] == cls else -1.0
            if overlap > best:
                best, match = overlap, index
        if best < 0.5:
            hits.append(False)
        elif not s.ignore[match]:
            hits.append((image, match) not in taken)
            taken.add((image, match))
    return hits


def plain_iou(a: list[float], b: list[float]) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(w, 0) * max(h, 0)
    return common / (sum((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b)) - common)


def plain_area(hits: list[bool], truths: int) -> float:
    """Sum rectangles under the curve, each as high as the best precision from there on."""
    precision = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits))]
    return sum(max(precision[i:]) / truths for i in range(len(hits)) if hits[i])


def counted(data: Dataset, cls: int) -> int:
    return sum(int(((s.classes == cls) & ~s.ignore).sum()) for s in data.samples)


def voc(metrics: Metrics, cls: int = 0) -> tuple[float, float]:
    scores = metrics.classes[cls]
    return scores.voc_area, scores.voc_11_point


@pytest.mark.parametrize("seed", [0, 1])
def test_perfect_detections_score_one(seed: int) -> None:
    _, data = random_case(seed, ignore=0.2)
    mean = score(perfect(data), data).mean
    scores = (mean.ap, mean.ap50, mean.ap75, mean.ar, mean.voc_area, mean.voc_11_point)
    assert scores == pytest.approx((1,) * 6)


@pytest.mark.parametrize("ignore", [0.0, 0.25])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_coco_scores_are_those_of_pycocotools(seed: int, ignore: float) -> None:
    detections, data = random_case(seed, ignore)
    mean = score(detections, data).mean
    ours = [mean.ap, mean.ap50, mean.ap75, mean.ap_small, mean.ap_medium, mean.ap_large, mean.ar]
    assert ours == pytest.approx(pycocotools_scores(detections, data), abs=1e-9)
    assert 0.05 < mean.ap < 0.9


@pytest.mark.parametrize("ignore", [0.0, 0.25])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_voc_area_is_that_of_a_plain_implementation(seed: int, ignore: float) -> None:
    detections, data = random_case(seed, ignore)
    metrics = score(detections, data)
    for cls in range(3):
        hits = plain_voc_hits(detections, data, cls)
        expected = plain_area(hits, counted(data, cls))
        assert metrics.classes[cls].voc_area == pytest.approx(expected, abs=1e-12)
        assert 0.05 < expected < 0.95


def test_the_two_protocols_agree_at_iou_half() -> None:
    for seed in range(3):
        mean = score(*random_case(seed, ignore=0)).mean
        assert mean.ap50 == pytest.approx(mean.voc_area, abs=0.02)


def test_curves_computed_by_hand() -> None:
    hits = np.array([True, False, True])  # precision 1, 1/2, 2/3 at recall 1/4, 1/4, 1/2
    assert area_ap(hits, 4) == pytest.approx(0.25 * 1 + 0.25 * 2 / 3)
    # recall 0, .1, .2 have precision 1; .3, .4, .5 have 2/3; above nothing was found
    assert eleven_point_ap(hits, 4) == pytest.approx((3 * 1 + 3 * 2 / 3) / 11)


def test_eleven_points_count_a_recall_that_is_just_reached() -> None:
    hits = np.array([True] * 3)  # 3 of 10: the points 0, .1, .2, .3
    assert eleven_point_ap(hits, 10) == pytest.approx(4 / 11)


def test_second_detection_of_a_truth_is_wrong_even_if_another_truth_is_free() -> None:
    data = dataset([(*SQUARE, 0), (15, 10, 55, 50, 0)])
    metrics = score([found((*SQUARE, 0, 0.9), (11, 10, 51, 50, 0, 0.8))], data)
    assert voc(metrics) == pytest.approx((0.5, 6 / 11))  # COCO would give it the free one
    assert metrics.classes[0].ap50 == pytest.approx(1)


def test_a_detection_counts_for_its_class_and_picture_only() -> None:
    data = dataset([(*SQUARE, 0)], [(*SQUARE, 1)])
    swapped = [found((*SQUARE, 1, 0.9)), found((*SQUARE, 0, 0.9))]
    assert score(swapped, data).mean.ap50 == 0
    assert score(swapped, data).mean.voc_area == 0


def test_overlap_of_exactly_half_is_enough() -> None:
    data = dataset([(0, 0, 40, 40, 0)])
    metrics = score([found((0, 0, 40, 20, 0, 0.9))], data)
    assert voc(metrics) == (1, 1)
    assert metrics.classes[0].ap50 == pytest.approx(1)


def test_ignored_truth_is_neither_missed_nor_found() -> None:
    data = dataset([(*SQUARE, 0, 1), (*ELSEWHERE, 0)])
    excused = found((*SHIFTED, 0, 0.95), (*SQUARE, 0, 0.9), (*ELSEWHERE, 0, 0.5))
    for detections in (excused, excused[2:]):
        scores = score([detections], data).classes[0]
        assert scores.truths == 1
        assert (scores.voc_area, scores.voc_11_point) == (1, 1)
        assert scores.ap50 == pytest.approx(1)


def test_a_detection_inside_an_ignored_truth_is_ignored_by_coco_only() -> None:
    data = dataset([(0, 0, 100, 100, 0, 1), (*ELSEWHERE, 0)])
    scores = score([found((40, 40, 60, 60, 0, 0.9), (*ELSEWHERE, 0, 0.5))], data).classes[0]
    assert scores.ap50 == pytest.approx(1)
    assert scores.voc_area == pytest.approx(0.5)


def test_class_without_truths_has_no_score_and_is_left_out_of_the_mean() -> None:
    data = dataset([(*SQUARE, 0)])
    metrics = score([found((*SQUARE, 0, 0.9), (*SQUARE, 1, 0.9))], data)
    assert metrics.classes[1].truths == 0
    assert math.isnan(metrics.classes[1].ap)
    assert math.isnan(metrics.classes[1].voc_area)
    assert metrics.mean.ap == pytest.approx(1)
    assert metrics.mean.truths == 1


def test_sizes_are_scored_separately() -> None:
    data = dataset([(0, 0, 20, 20, 0), (50, 50, 100, 100, 0), (100, 100, 250, 250, 0)])
    scores = score([found((0, 0, 20, 20, 0, 0.9), (100, 100, 250, 250, 0, 0.8))], data).classes[0]
    expected = pytest.approx((1, 0, 1))
    assert (scores.ap_small, scores.ap_medium, scores.ap_large) == expected


def test_nothing_found_scores_zero() -> None:
    data = dataset([(*SQUARE, 0)], [])
    metrics = score([Detections.empty()] * 2, data)
    scores = metrics.classes[0]
    assert (scores.ap, scores.ap50, scores.ar, *voc(metrics)) == (0,) * 5


@pytest.mark.parametrize("pictures", [[], [[]], [[(*SQUARE, 0, 1)]]])
def test_no_truths_have_no_score(pictures: list) -> None:
    data = dataset(*pictures)
    detections = [found((*SQUARE, 0, 0.9)) for _ in pictures]
    metrics = score(detections, data)
    assert metrics.mean.truths == 0
    assert math.isnan(metrics.mean.ap)
    assert json.loads(json.dumps(metrics.as_dict(), allow_nan=False))["mean"]["voc_area"] is None


def test_table_is_aligned_and_shows_missing_scores() -> None:
    data = dataset([(*SQUARE, 0)], names=("a", "a long name"))
    lines = score([found((*SQUARE, 0, 0.9))], data).table().splitlines()
    assert lines[0].split("  ")[0] == "class"
    assert lines[1].split() == ["a", "1", *["1.000"] * 5]
    assert lines[2].split() == ["a", "long", "name", "0", *["-"] * 5]
    assert lines[3].startswith("mean ")
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[4] == "AP small -, medium 1.000, large -, AR 1.000"


def test_as_dict_has_every_class() -> None:
    data = dataset([(*SQUARE, 0)])
    result = score([found((*SQUARE, 0, 0.9))], data).as_dict()
    assert [row["name"] for row in result["classes"]] == ["a", "b"]
    assert result["classes"][0]["ap75"] == pytest.approx(1)
    assert result["classes"][1]["ap75"] is None


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    score([Detections.empty()], dataset([(*SQUARE, 0)]))
    assert capfd.readouterr() == ("", "")


def test_class_that_the_data_set_lacks_is_an_error() -> None:
    with pytest.raises(DataError, match="class 7, the data set has 2"):
        score([found((*SQUARE, 7, 0.9))], dataset([(*SQUARE, 0)]))


def test_detections_must_be_one_a_sample() -> None:
    with pytest.raises(ValueError, match="2 detections for 1 samples"):
        score([Detections.empty()] * 2, dataset([]))


def test_pictures_that_cannot_be_read_are_in_no_score(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = dataset(*[[(*SQUARE, 0)]] * 19)
    samples = [
        replace(each, path=str(tmp_path / f"{i}.png")) for i, each in enumerate(data.samples)
    ]
    data = replace(data, samples=tuple(samples))
    for each in data.samples:
        cv2.imwrite(each.path, np.full((300, 300, 3), each.image_id, np.uint8))
    lost = [0, 7, *range(8, 16), 18]  # at the ends, and all that are read at once
    for number in lost:
        Path(data.samples[number].path).write_bytes(b"no picture")
    cv2.imwrite(data.samples[1].path, np.full((300, 300), 1, np.uint8))

    def detector(images: list[np.ndarray]) -> list[Detections]:
        return [found((*SQUARE, 0, float(image.mean()) / 20)) for image in images]

    done: list[int] = []
    everything = predict_all(detector, data, lambda count, total: done.append(count))
    assert done == [8, 16, 19]
    assert [i for i, each in enumerate(everything) if each is None] == lost
    for _ in range(2):  # of a later validation nothing is counted or told again
        some, there = without_unreadable(predict_all(detector, data), data)
        assert data.defects == {"unreadable picture": len(lost), "grey picture, read as RGB": 1}
        assert there.defects == data.defects
    assert len(caplog.messages) == len(lost) and "0.png: not a picture" in caplog.messages[0]
    numbers = [each.image_id for each in there.samples]
    assert numbers == [i for i in range(19) if i not in lost]
    assert [round(20 * float(each.scores[0])) for each in some] == numbers
    assert (score(some, there).mean.truths, score(some, there).mean.ap50) == (8, 1)
    with pytest.raises(DataError, match="split 'test': no picture can be read; check the files"):
        without_unreadable([None] * 19, data)

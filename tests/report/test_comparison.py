"""The page of a comparison: whole, escaped, in need of nothing else, and readable in a browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from ghostyolo.evaluation.comparison import Comparison, Difference, Side
from ghostyolo.evaluation.intervals import compared
from ghostyolo.model.detections import Detections
from ghostyolo.report import comparison as page
from support import html_pages
from support.detections import random_case
from support.html_pages import HOSTILE, Page


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Return a comparison of three sides, the second of two seeds, with bad names."""
    folder = tmp_path_factory.mktemp("comparison")
    found, data = random_case(0, ignore=0.2)
    samples = []
    for number, sample in enumerate(data.samples):
        path = folder / f"<b>&{number}.png"
        cv2.imwrite(str(path), np.full((300, 300, 3), 90, np.uint8))
        samples.append(replace(sample, path=str(path)))
    data = replace(data, names=HOSTILE, samples=tuple(samples), path="<i>data</i>", split="val")
    none = [Detections.empty()] * len(data)
    predictions = (found,), (found, found), (none,)
    scores, differences = compared(predictions, data, 100)
    sides = [
        Side(letter, (HOSTILE[0],) * len(own), ("torch 2",) * len(own), own, 0.0123, each)
        for letter, own, each in zip("ABC", predictions, scores, strict=True)
    ]
    others = [
        Difference(side, sides[0], each, 1.25, len(data))
        for side, each in zip(sides[1:], differences, strict=True)
    ]
    return Comparison(data, tuple(sides), tuple(others), 100)


@pytest.fixture(scope="module")
def text(comparison: Comparison) -> str:
    return page.render(comparison, ["ghostyolo", "compare", "<a>"])


def test_page_has_every_section(comparison: Comparison, text: str) -> None:
    read = Page(text)
    assert read.sections() == list(page.TITLES)
    shown = "".join(read.text)
    for name in (*HOSTILE, "<i>data</i>", "'<a>'", "<b>&"):
        assert name in shown
    for each in comparison.differences:
        assert each.verdict[1:] in shown
    assert "no difference between A and B" in comparison.differences[0].verdict
    assert "A is better than C" in comparison.differences[1].verdict


def test_page_loads_nothing(text: str) -> None:
    html_pages.check_loads_nothing(text)
    html_pages.check_references(text)


def test_pictures_show_the_truths_and_each_side(comparison: Comparison, text: str) -> None:
    drawings = [attrs for tag, attrs in Page(text).tags if tag == "svg"]
    assert len(drawings) == 2 + 6 * 4
    assert all(attrs["role"] == "img" and len(str(attrs["aria-label"])) > 10 for attrs in drawings)
    same = replace(comparison, sides=comparison.sides[:1] * 2)
    assert "pictures" not in Page(page.render(same)).sections()


def test_nothing_sticks_out_in_a_browser(text: str, tmp_path: Path) -> None:
    html_pages.check_in_browser(text, tmp_path, drawings=2 + 6 * 4)

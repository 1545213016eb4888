"""The fast reading of COCO's files against Python's own json, on damaged and unusual files."""

from __future__ import annotations

import logging
import random
from pathlib import Path

import pytest

from ghostyolo.data.layouts import coco_file

FILE = """{"images": [{"id": 7, "file_name": "a.jpg", "height": 40, "width": 20, "x": [1.5, "ä"]},
{"id": "8", "file_name": "b"}], "annotations": [{"id": 1, "image_id": 7, "category_id": 1,
"bbox": [1, 2.5, 3e0, 4], "iscrowd": 0, "segmentation": [[1.5, 2]]}, {"image_id": 8,
"category_id": "1", "bbox": null, "iscrowd": true}], "categories": [{"id": 1, "name": "x"}]}"""
PIECES = (
    "NaN", "null", '"\\ud800"', "123456789012345678901234567890", "1e999", "-0", "01", "\\u0041",
    "\xff", "\0", "\t", "[", "{", '"id": 3,', ",", "true", "1.0", "-", '"', "9223372036854775808",
)  # fmt: skip


def test_it_reads_what_json_reads_or_leaves_it_to_json(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    rng, path, read = random.Random(0), tmp_path / "x.json", 0
    for _ in range(1500):
        text = FILE
        for _ in range(rng.choice((1, 1, 2))):
            place = rng.randrange(len(text))
            text = text[:place] + rng.choice(PIECES) + text[place + rng.choice((0, 0, 1, 4)) :]
        path.write_bytes(text.encode("latin-1" if rng.random() < 0.1 else "utf-8"))
        if found := coco_file.decoded(path):
            read += 1
            assert repr(found) == repr(coco_file.parsed(path)), text
    assert read > 150

"""Runs that are resumed over changed labels are refused, and told what has changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ghostyolo.data import open_dataset
from ghostyolo.errors import OptionError
from ghostyolo.training.label_record import difference, record
from ghostyolo.training.loop import fit
from support import runs, tiny

PICTURE = "train_00001"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tiny.pictures(tmp_path / "shapes")


def stopped(data: Path, folder: Path) -> None:
    """Run two of four updates."""
    with pytest.raises(KeyboardInterrupt):
        fit(runs.configured(data, folder, val=open_dataset(data, "val")), runs.Silent(2))


def resumed(data: Path, folder: Path) -> None:
    fit(runs.configured(data, folder, val=open_dataset(data, "val")), runs.Silent(), resume=True)


def edited(split: str, old: str, new: str, count: int = 1) -> Callable[[Path], None]:
    def edit(data: Path) -> None:
        for path in sorted((data / "Annotations").glob(f"{split}_*.xml"))[:count]:
            path.write_text(path.read_text().replace(old, new))

    return edit


def without_a_picture(data: Path) -> None:
    path = data / "ImageSets/Main/train.txt"
    path.write_text(path.read_text().replace(f"{PICTURE}\n", ""))


def renamed(data: Path) -> None:
    next(data.glob("*.names")).write_text("checker\nring\ntriangle\ncross\nstar\nblob\n")


def box_left_out(data: Path) -> None:
    path = data / f"Annotations/{PICTURE}.xml"
    first, _, rest = path.read_text().partition("<object>")
    path.write_text(first + rest.partition("</object>")[2])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (edited("train", "<xmin>", "<xmin>1"), r"train .*\(pictures: 1 with other labels, such as"),
        (edited("val", "<difficult>0", "<difficult>1"), "labels of val .*1 with other labels"),
        (box_left_out, rf"{PICTURE}.jpg; boxes: \d+ instead of \d+\)"),
        (without_a_picture, r"\(pictures: 1 gone; boxes: \d+ instead of \d+\)"),
        (renamed, "classes: checker, ring, .* instead of ring, checker, "),
    ],
)
def test_changed_labels_are_told(
    change: Callable[[Path], None], told: str, data: Path, tmp_path: Path
) -> None:
    stopped(data, tmp_path / "run")
    before = (tmp_path / "run/checkpoint.pt").read_bytes()
    change(data)
    with pytest.raises(OptionError, match=told) as caught:
        resumed(data, tmp_path / "run")
    hint = f"restore them, or start anew from its weights: --weights {tmp_path}/run/last.weights"
    assert f"; {hint} --name NEW" in str(caught.value)
    assert (tmp_path / "run/checkpoint.pt").read_bytes() == before


def test_unchanged_labels_elsewhere_are_the_same(data: Path, tmp_path: Path) -> None:
    """What a checkpoint records does not depend on the folder."""
    before = record(open_dataset(data, "train"))
    data.rename(tmp_path / "moved")
    assert difference(before, open_dataset(tmp_path / "moved", "train")) == ""


def test_run_without_a_record_resumes_and_is_told(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stopped(data, tmp_path / "run")
    old = runs.checkpoint(tmp_path / "run")
    del old["labels"]
    torch.save(old, tmp_path / "run/checkpoint.pt")
    edited("train", "<xmin>", "<xmin>1")(data)
    resumed(data, tmp_path / "run")
    assert "has no record of its labels, so whether they have changed is not known" in caplog.text
    assert runs.checkpoint(tmp_path / "run")["labels"]["train"]["boxes"]

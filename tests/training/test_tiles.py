"""Training on tiles of large pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ghostyolo
from ghostyolo.data import open_dataset
from ghostyolo.data.tiled import EMPTY, VISIBLE, tiled, to_train
from ghostyolo.errors import OptionError
from support import tiny

SIZE, TILES = (150, 200), ghostyolo.Tiles((80, 90), 0.2)


def test_tiles_hold_the_parts_of_boxes_that_they_show(tmp_path: Path) -> None:
    dataset = open_dataset(tiny.pictures(tmp_path, SIZE))
    tiles = tiled(dataset, TILES, (64, 64))
    whole = {sample.image_id: sample for sample in dataset.samples}
    shown = dict.fromkeys(whole, 0)
    for tile in tiles.samples:
        owner = whole[str(tile.image_id).split(", ")[0]]
        left, top, right, bottom = tile.window
        assert tile.size == (bottom - top, right - left)
        image, defects = tile.read()
        assert not defects
        assert np.array_equal(image, owner.read()[0][top:bottom, left:right])
        boxes = owner.boxes_xyxy_px
        cut = boxes.clip((left, top) * 2, (right, bottom) * 2)
        parts = (cut[:, 2:] - cut[:, :2]).prod(1) / (boxes[:, 2:] - boxes[:, :2]).prod(1)
        kept = parts >= VISIBLE
        np.testing.assert_array_equal(tile.boxes_xyxy_px, cut[kept] - (left, top) * 2)
        assert tile.classes.tolist() == owner.classes[kept].tolist()
        shown[owner.image_id] += int((parts[kept] == 1).sum())
    assert len(tiles) == len({each.image_id for each in tiles.samples}) == 10 * len(dataset)
    for image_id, count in shown.items():  # each is whole in the picture itself, most in a tile too
        assert count >= len(whole[image_id].classes)


def test_few_empty_tiles_are_trained_on(tmp_path: Path) -> None:
    tiles = tiled(open_dataset(tiny.pictures(tmp_path, SIZE)), TILES, (64, 64))
    some = tiles.only(np.flatnonzero(tiles.columns.trained < 2))
    shown = int((some.columns.trained > 0).sum())
    chosen, again = to_train(some, 1), to_train(some, 1)
    assert len(chosen) == min(len(some), shown + round(EMPTY * shown))
    assert [each.image_id for each in chosen.samples] == [each.image_id for each in again.samples]
    assert (chosen.columns.trained > 0).sum() == shown


def test_a_run_is_scored_on_whole_pictures_and_resumes(tmp_path: Path) -> None:
    data, cfg = tiny.pictures(tmp_path / "shapes", SIZE), tiny.write(tmp_path)
    options = {"tile": "80x90", "device": "cpu", "workers": 0, "loss": "modern"}
    run = ghostyolo.train(cfg, data, epochs=1, folder=tmp_path / "run", **options)
    again = ghostyolo.val(run.folder, data, runtime="torch", tiles=TILES)
    assert len(again.predictions) == tiny.COUNTS["val"]
    assert again.scores["AP50"] == pytest.approx(run.scores["AP50"], abs=1e-6)
    assert run.results[-1]["AP50"] == pytest.approx(run.scores["AP50"], abs=1e-6)
    with pytest.raises(OptionError, match=r"has --tile 80x90 --overlap 0\.2, not 60x60"):
        ghostyolo.train(
            cfg, data, epochs=1, folder=run.folder, resume=True, **{**options, "tile": "60"}
        )
    done = ghostyolo.train(cfg, data, epochs=1, folder=run.folder, resume=True, **options)
    assert done.results == run.results


def test_an_overlap_without_tiles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--overlap without --tile"):
        ghostyolo.train(tiny.write(tmp_path), tmp_path, overlap=0.3)

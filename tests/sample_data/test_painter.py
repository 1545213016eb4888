"""The embedded data set: labels exact, the same again for a seed, and readable as VOC."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostyolo.data import open_dataset, read_image
from ghostyolo.errors import DataError, OptionError
from ghostyolo.sample_data.painter import NAMES, Object, paint_scene, write_dataset
from ghostyolo.sample_data.sprites import KINDS, paint_object

SIZE = (256, 320)
COUNTS = {"train": 6, "val": 2, "test": 3}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "shapes", COUNTS, seed=3)


@pytest.fixture(scope="module")
def objects() -> list[Object]:
    scenes = (paint_scene(np.random.default_rng([7, index]), SIZE) for index in range(60))
    return [each for _, found in scenes for each in found]


@pytest.mark.parametrize("size", [(14, 14), (40, 31), (150, 160)])
@pytest.mark.parametrize("name", KINDS)
def test_an_object_touches_all_four_sides_of_its_box(name: str, size: tuple[int, int]) -> None:
    for seed in range(5):
        mask, colour = paint_object(name, size, np.random.default_rng(seed))
        assert mask.shape == size
        assert colour.shape == (*size, 3)
        for side in (mask[0], mask[-1], mask[:, 0], mask[:, -1]):
            assert side.max() > 0.05
        assert 0.2 < mask.mean() < 0.95


def test_scene_holds_every_class_at_every_scale(objects: list[Object]) -> None:
    assert {each.name for each in objects} == set(NAMES)
    boxes = np.array([each.box_xyxy_px for each in objects])
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1)
    assert min(sides) < 30
    assert max(sides) > 120
    assert sum(each.truncated for each in objects) > 3
    assert sum(each.occluded for each in objects) > 3


def test_boxes_lie_within_the_picture(objects: list[Object]) -> None:
    for left, top, right, bottom in (each.box_xyxy_px for each in objects):
        assert 0 <= left < right <= SIZE[1]
        assert 0 <= top < bottom <= SIZE[0]


def test_written_data_set_opens_as_voc_without_a_defect(folder: Path) -> None:
    for split, count in COUNTS.items():
        data = open_dataset(folder, split, NAMES)
        assert len(data.samples) == count
        assert not data.defects
        assert data.names == NAMES
        assert {sample.size for sample in data.samples} == {SIZE}
        assert read_image(data.samples[0].path).shape == (*SIZE, 3)


def test_labels_are_read_as_they_were_painted(folder: Path) -> None:
    rng = np.random.default_rng([3, 4, *b"train"])
    image, objects = paint_scene(rng, SIZE)
    sample = open_dataset(folder, "train", NAMES).samples[4]
    assert sample.boxes_xyxy_px.tolist() == [list(each.box_xyxy_px) for each in objects]
    assert [NAMES[cls] for cls in sample.classes] == [each.name for each in objects]
    assert sample.ignore.tolist() == [each.difficult for each in objects]
    stored = read_image(sample.path).astype(int)
    assert np.abs(stored - image).mean() < 8


def test_names_file_lists_the_classes(folder: Path) -> None:
    assert (folder / "shapes.names").read_text().split() == list(NAMES)


def test_a_seed_paints_the_same_again_and_more_leaves_the_first_alone(
    folder: Path, tmp_path: Path
) -> None:
    again = write_dataset(tmp_path / "again", {"train": 2}, seed=3)
    other = write_dataset(tmp_path / "other", {"train": 2}, seed=4)
    for stem in ("train_00000", "train_00001"):
        for file in (f"JPEGImages/{stem}.jpg", f"Annotations/{stem}.xml"):
            assert (again / file).read_bytes() == (folder / file).read_bytes()
            assert (other / file).read_bytes() != (folder / file).read_bytes()


def test_pictures_of_other_sizes(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "small", {"val": 3}, size=(96, 64))
    assert {sample.size for sample in open_dataset(root, "val", NAMES).samples} == {(96, 64)}


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(DataError, match="not empty"):
        write_dataset(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_seed_below_zero_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="-1 is below 0"):
        write_dataset(tmp_path / "new", seed=-1)
    assert not (tmp_path / "new").exists()

"""The cfg that gencfg writes for a data set, in Python and as a command."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import ghostyolo
from ghostyolo import gencfg
from ghostyolo.data import open_dataset
from ghostyolo.data.anchors import fit_anchors
from ghostyolo.errors import DataError
from ghostyolo.network import Network, dumps, load, loads
from ghostyolo.network.passes import resize
from ghostyolo.training.options import TrainOptions
from ghostyolo.training.run import prepare
from ghostyolo.zoo import networks
from support import tiny

Command = Callable[..., tuple[int, str, str]]
SIZE, WORDS = (64, 64), ("--width", "0.1", "--size", "64x64")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("data") / "shapes")


@pytest.fixture(scope="module")
def only_train(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without val and test: a part of train is held out."""
    folder = tmp_path_factory.mktemp("data") / "only train"
    shutil.copytree(data, folder)
    for split in ("val", "test"):
        (folder / f"ImageSets/Main/{split}.txt").unlink()
    return folder


def written(*words: object) -> Network:
    """Return the network of the cfg that gencfg writes, read from its text."""
    args = gencfg.parser().parse_args([*map(str, words)])
    return loads(dumps(gencfg.build(args, "")), path="x.cfg")


def trained(network: Network, data: Path, **options: object) -> str:
    """Return the text of the cfg of a run, without comments."""
    config = prepare(network, data, TrainOptions(folder="none", **options), "cpu")
    return "".join(line for line in dumps(config.network).splitlines(True) if line[0] != "#")


@pytest.mark.parametrize("epochs", [None, 20])
@pytest.mark.parametrize("which", ["data", "only_train"])
def test_every_way_leads_to_the_same_cfg(
    which: str, epochs: int | None, request: pytest.FixtureRequest
) -> None:
    """For one size: gencfg --data, --adapt on a cfg of gencfg, both, and from another size."""
    folder = request.getfixturevalue(which)
    fitted = written(*WORDS, "--data", folder)
    expected = trained(fitted, folder, epochs=epochs)
    assert trained(written(*WORDS), folder, epochs=epochs, adapt=True) == expected
    assert trained(fitted, folder, epochs=epochs, adapt=True) == expected
    other = resize(written("--width", "0.1", "--size", "96x128"), SIZE)
    assert trained(other, folder, epochs=epochs, adapt=True) == expected


def test_three_commands_lead_to_the_same_cfg(data: Path) -> None:
    """Gencfg with the names, anchors, train."""
    named = written(*WORDS, "--names", data / "shapes.names")
    by_hand = fit_anchors(named, data).network
    expected = trained(written(*WORDS, "--data", data), data, epochs=20)
    assert trained(by_hand, data, epochs=20) == expected


def test_call_and_command_are_the_same(data: Path) -> None:
    assert ghostyolo.network_for(data, width=0.1, size=SIZE) == written(*WORDS, "--data", data)


def test_comment_says_what_each_setting_follows_from(
    data: Path, invoke: Command, tmp_path: Path
) -> None:
    cfg = tmp_path / "x.cfg"
    code, out, err = invoke("gencfg", "--data", data, *WORDS, "--out", cfg)
    assert (code, out) == (0, "")
    assert err == f"ghostyolo: {cfg}: written, 6 classes, 64x64, batch 4\n"
    lines = load(cfg).comment.splitlines()
    assert lines.pop(1) == networks.VERSION
    assert lines[:5] == [
        f"Written by python -m ghostyolo.gencfg --data {data} {' '.join(WORDS)}",
        f"For {data}, split train: 6 pictures, 37 boxes, 6 classes "
        "(ring, checker, triangle, cross, star, blob).",
        "names: train reads them from the data set.",
        "batch=4 subdivisions=1: 2 updates an epoch of 6 pictures; "
        "batch 8 is for 800 pictures or more.",
        "decay=0.002: 6,000 updates; 0.0005 is for more than 20,000.",
    ]
    assert lines[5].startswith("max_batches=6000 burn_in=300: ")
    assert lines[6].startswith("anchors: clustered at 64x64 (HxW); 37 boxes have a mean IoU of ")
    assert len(lines) == 7


def test_held_out_pictures_do_not_count(only_train: Path) -> None:
    network = ghostyolo.network_for(only_train, width=0.1, size=SIZE)
    held, whole = open_dataset(only_train, "val"), open_dataset(only_train)
    assert f": {len(whole) - len(held)} pictures, " in network.comment


def test_a_val_without_pictures_does_not_matter(data: Path, tmp_path: Path) -> None:
    """Neither one in five of a single picture beside its labels, nor an empty list."""
    single = with_boxes(tmp_path / "made", min(data.glob("JPEGImages/*.jpg")), 20)
    for path in (*single.glob("*/train/*"), single / "classes.txt"):
        path.rename(single / path.name)
    for kind in ("images", "labels"):
        shutil.rmtree(single / kind)
    listed = shutil.copytree(data, tmp_path / "listed")
    (listed / "ImageSets/Main/val.txt").write_text("")
    for folder in (single, listed):
        with pytest.raises(DataError, match="split 'val': is empty"):
            open_dataset(folder, "val")
        network = ghostyolo.network_for(folder, width=0.1, size=SIZE)
        assert f": {len(open_dataset(folder))} picture" in network.comment


def test_crowded_pictures_have_room(data: Path, tmp_path: Path) -> None:
    folder = with_boxes(tmp_path / "crowd", min(data.glob("JPEGImages/*.jpg")), 201)
    network = written(*WORDS, "--data", folder)
    assert {node.layer.max for node in network if node.layer.kind == "yolo"} == {201}
    assert "max=201: the most boxes of a picture, in each [yolo]." in network.comment


def test_given_names_are_those_of_the_labels(data: Path, tmp_path: Path) -> None:
    names = tmp_path / "my.names"
    names.write_text((data / "shapes.names").read_text() + "moon\n")
    network = written(*WORDS, "--data", data, "--names", names)
    assert {node.layer.classes for node in network if node.layer.kind == "yolo"} == {7}
    assert f"names: give --names {names} to train too." in network.comment


def test_given_anchors_stay(data: Path) -> None:
    given = ",".join(str(number) for number in range(10, 28))
    network = written(*WORDS, "--data", data, "--anchors", given)
    assert network[-1].layer.anchors == tuple(range(10, 28))
    assert "anchors" not in network.comment and network.options.batch == 4


def test_classifier_gets_the_classes_alone(data: Path, tmp_path: Path) -> None:
    for name in ("daisy", "rose"):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for picture in sorted(data.glob("JPEGImages/*.jpg"))[:3]:
            shutil.copy(picture, tmp_path / "flowers" / name)
    words = ("--task", "classify", *WORDS)
    network = written(*words, "--data", tmp_path / "flowers")
    assert network.options == written(*words).options
    assert network[-1].shape.c == 2 and "2 classes (daisy, rose)" in network.comment


def with_boxes(folder: Path, picture: Path, boxes: int) -> Path:
    """Write a YOLO data set of one picture with so many boxes; return its folder."""
    for kind in ("images", "labels"):
        (folder / kind / "train").mkdir(parents=True)
    shutil.copy(picture, folder / "images/train/a.jpg")
    rows = [f"0 .5 .5 {n / 256} .2\n" for n in range(1, boxes + 1)]
    (folder / "labels/train/a.txt").write_text("".join(rows))
    (folder / "classes.txt").write_text("thing\n")
    return folder


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--data nowhere", "nowhere: it does not exist; give a folder or file"),
        ("--data {data} --split trian", "no split 'trian'; use one of: test, train, val (--split)"),
        (
            "--data {few}",
            "{few}: split 'train': 2 boxes of 2 sizes, too few for 3 an",
        ),
        ("--data {none}", "{none}: split 'train': there is no box; label more pictures, or give -"),
        ("--data {unnamed}", "{unnamed}: its classes have no names: no "),
        ("--data {data} --classes 5", "{data}: --classes 5, but it has 6 classes (ring, check"),
        ("--data {data} --names {few}/classes.txt", "37 x box of unknown class; give the names"),
        ("--data {data} --task backbone", "data {data} is not for task backbone; leave it out"),
        ("--split val", "--split without --data; give --data DATA"),
        ("--no-cache", "--no-cache without --data; give --data DATA"),
    ],
)
def test_bad_input(words: str, message: str, data: Path, tmp_path: Path, invoke: Command) -> None:
    picture = min(data.glob("JPEGImages/*.jpg"))
    counts = {"few": 2, "none": 0, "unnamed": 5}
    folders = {name: with_boxes(tmp_path / name, picture, n) for name, n in counts.items()}
    folders["data"] = data
    (folders["unnamed"] / "classes.txt").unlink()
    out = tmp_path / "x.cfg"
    code, _, err = invoke("gencfg", *words.format(**folders).split(), "--out", out)
    lines = err.splitlines()
    assert code == 1 and message.format(**folders) in lines[-1]
    assert lines[-1].startswith("ghostyolo: ") and not out.exists()


def test_hostile_names_stay_in_the_comment(data: Path, tmp_path: Path) -> None:
    folder = with_boxes(tmp_path / "a\n[net]", min(data.glob("JPEGImages/*.jpg")), 9)
    (folder / "classes.txt").write_text("[net]\x1b\n")
    given = "1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18"
    network = written(*WORDS, "--data", folder, "--anchors", given)
    assert isinstance(network.comment, str) and "\\x1b" in network.comment

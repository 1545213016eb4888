"""Classifiers: the run against itself, accuracy against counting, and the commands."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ghostyolo import cli
from ghostyolo.data import open_classification, open_dataset, read_image
from ghostyolo.data.images import to_planes
from ghostyolo.errors import CfgError, DataError
from ghostyolo.evaluation import accuracy, validation
from ghostyolo.model.classifier import center
from ghostyolo.model.model import Model
from ghostyolo.network import dumps, load, loads, passes
from ghostyolo.network.outputs import class_counts, classifier_output
from ghostyolo.runtime.registry import installed_versions
from ghostyolo.sample_data.painter import write_dataset
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.loop import fit
from ghostyolo.training.nan_diagnosis import NanError
from ghostyolo.training.task import CLASSIFICATION, DETECTION, task_of
from ghostyolo.zoo import networks
from ghostyolo.zoo.ghostnet import GhostNet
from ghostyolo.zoo.networks import backbone_layers
from support import ROOT, pictures, published, runs, tiny
from support.cases import GENERATED

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pictures.folders(tmp_path_factory.mktemp("classify") / "colours")


@pytest.fixture
def config(data: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Return a function that makes the configuration of a run in a folder of its own."""

    def make(name: str = "run", text: str = pictures.CFG, **values: Any) -> TrainConfig:
        settings = {
            "network": loads(text, path="x.cfg"),
            "train": open_classification(data, "train"),
        }
        settings |= {"val": open_classification(data, "val"), "val_every": 1}
        return TrainConfig(**{**settings, "folder": tmp_path / name, **values})

    return make


@pytest.fixture
def run(invoke: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Return what runs a command, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return invoke


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    (tmp_path / "net.cfg").write_text(pictures.CFG)
    return tmp_path / "net.cfg"


def with_net(keys: str) -> str:
    return pictures.CFG.replace("max_batches=6", f"max_batches=6\n{keys}")


# --- what a network is for


@pytest.mark.parametrize(
    ("tail", "classes"),
    [
        ("[avgpool]\n[softmax]\n", 3),
        ("[softmax]\ntemperature=2\n[cost]\ntype=sse\n", 3),
        ("", 3),
        ("[avgpool]\n", 3),
        ("[connected]\noutput=7\nactivation=linear\n", 7),
        ("[connected]\noutput=7\nactivation=linear\n[softmax]\n", 7),
        ("[connected]\noutput=7\nactivation=relu\n", None),
        ("[maxpool]\nsize=2\nstride=2\n", None),
    ],
)
def test_classifiers_are_recognised_by_their_last_layers(tail: str, classes: int | None) -> None:
    network = loads(pictures.CFG.replace("[softmax]\n", tail))
    end = classifier_output(network)
    assert (end.classes if end else None) == classes
    assert task_of(network) is (CLASSIFICATION if end else DETECTION)
    if end:
        assert end.temperature == (2 if "temperature" in tail else 1)
        other = passes.reclass(network, 5)
        assert [count for _, count in class_counts(other)] == [5]
        assert len(Model(other)(torch.rand(2, 3, 32, 32))[0].flatten(1)[0]) == 5


@pytest.mark.parametrize("tail", ["[maxpool]\nsize=1\n[softmax]\n", "[upsample]\n[softmax]\n"])
def test_classes_without_a_layer_cannot_be_changed(tail: str) -> None:
    network = loads(pictures.CFG.replace("[softmax]\n", tail))
    with pytest.raises(CfgError, match="cannot change its classes; put a"):
        passes.reclass(network, 5)


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_detectors_and_classifiers(path: Path) -> None:
    network = load(path)
    end = classifier_output(network)
    if "imagenet" in path.stem:
        assert end is not None and end.classes == 1000
    else:
        assert end is None and task_of(network) is DETECTION


def test_published_detectors_and_classifiers() -> None:
    for name in ("darknet19", "darknet53", "extraction", "darknet", "cifar", "efficientnet_b0"):
        end = classifier_output(load(published.CFGS.get(f"cfg/{name}.cfg")))
        assert end is not None and end.classes in (10, 1000), name
    for name in ("yolov4-tiny", "yolo", "vgg-conv", "yolov1__tiny-yolo"):
        assert classifier_output(load(published.CFGS.get(f"cfg/{name}.cfg"))) is None, name


def test_probabilities_are_the_softmax_of_the_layer_above(data: Path) -> None:
    """Whether the cfg ends in one or not."""
    torch.manual_seed(0)
    model = Model(loads(pictures.CFG))
    bare = Model(loads(pictures.CFG.replace("[softmax]\n", "")))
    bare.load_state_dict(model.state_dict())
    images = [read_image(sample.path) for sample in open_classification(data, "val").samples[:3]]
    x = torch.from_numpy(np.stack([to_planes(center(image, (32, 32))) for image in images]))
    want = model.trace(x)[3].flatten(1).softmax(1)
    for each in (model, bare):
        np.testing.assert_allclose(each.classifier()(images), want, rtol=1e-5)
    np.testing.assert_array_equal(model.classify(images[1]), model.classifier()(images[1:2])[0])
    with pytest.raises(CfgError, match="is a detection head, not a classifier; run"):
        Model(loads(tiny.CFG)).classifier()


# --- accuracy


def test_accuracy_is_a_count(data: Path) -> None:
    """Of eight classes, by a loop that sorts each picture's answers itself."""
    rng = np.random.default_rng(0)
    val = open_classification(data, "val")
    names = (*val.names, "a", "b", "c", "d", "e")
    val = replace(val, names=names)
    answers = list(np.round(rng.dirichlet([0.3] * 3 + [1] * 5, len(val)), 1))  # with ties
    found = accuracy.score(answers, val)
    first = five = 0
    for answer, sample in zip(answers, val.samples, strict=True):
        ranked = sorted(range(8), key=lambda cls: (-answer[cls], cls))
        first += ranked[0] == sample.classes[0]
        five += sample.classes[0] in ranked[:5]
    assert found.top1 == pytest.approx(first / 9)
    assert found.top5 == pytest.approx(five / 9)
    assert found.confusion.sum() == 9 and found.pictures.tolist() == [3, 3, 3, 0, 0, 0, 0, 0]
    assert 0 < five < 9
    assert found.as_dict()["classes"][3] == {
        "name": "a", "pictures": 0, "top1": None, "top5": None,
        "precision": None if not found.confusion[:, 3].any() else 0.0,
    }  # fmt: skip
    with pytest.raises(DataError, match="the predictions have 8 classes, the data set has 3"):
        accuracy.score(answers, replace(val, names=names[:3]))


# --- a run


def test_run_learns_colours(config: Callable[..., TrainConfig]) -> None:
    settings = config(text=pictures.CFG.replace("max_batches=6", "max_batches=60"), val_every=6)
    observer = runs.Silent()
    state = fit(settings, observer)
    assert observer.losses[-1] < 0.5 * observer.losses[0]
    assert state.best == 1.0 and state.ema is not None
    with (settings.folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["iteration", "epoch", "loss", "rate", "val_loss", "top-1", "top-5"]
    assert (settings.folder / "curve.png").read_bytes()[:4] == b"\x89PNG"
    best = Model(settings.network, settings.folder / "best.weights")
    assert validation.validate(best, settings.val).metrics.top1 == 1.0


@pytest.mark.parametrize("keys", ["", "mosaic=1\ncutmix=1\nlabel_smooth_eps=.1\nangle=9\nblur=1"])
def test_interrupted_run_resumes_bit_for_bit(keys: str, config: Callable[..., TrainConfig]) -> None:
    """Also with dropout, whose chance is torch's."""
    text = with_net(keys).replace("[softmax]", "[dropout]\nprobability=.3\n\n[softmax]")
    text = text.replace("batch=4", "batch=9")  # three epochs of two iterations
    fit(config("whole", text), runs.Silent())
    with pytest.raises(KeyboardInterrupt):
        fit(config("parts", text), runs.Silent(stop_after=3))
    torch.manual_seed(99)
    fit(config("parts", text, workers=2), runs.Silent(), resume=True)
    whole, parts = (config(name, text).folder for name in ("whole", "parts"))
    assert runs.same(runs.checkpoint(whole), runs.checkpoint(parts))
    for name in ("best.weights", "last.weights", "results.csv", "model.cfg", "model.names"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name


def test_subdivisions_change_nothing_without_batch_norm(
    config: Callable[..., TrainConfig],
) -> None:
    text = with_net("mixup=1\nlabel_smooth_eps=.2").replace("batch_normalize=1\n", "")
    whole = fit(config("a", text, val=None), runs.Silent())
    halves = fit(
        config("b", text.replace("subdivisions=1", "subdivisions=2"), val=None), runs.Silent()
    )
    assert halves.loss == pytest.approx(whole.loss, rel=1e-4)
    for a, b in zip(whole.model.parameters(), halves.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)


def test_loss_that_is_not_finite_stops_the_run(config: Callable[..., TrainConfig]) -> None:
    text = pictures.CFG.replace("learning_rate=0.02", "learning_rate=1e30")
    with pytest.raises(NanError, match=r"the loss is not finite after iteration .*; its pictures:"):
        fit(config(text=text), runs.Silent())


def test_bfloat16_trains(config: Callable[..., TrainConfig]) -> None:
    state = fit(config(amp="bf16"), runs.Silent())
    assert state.iteration == 6 and np.isfinite(state.loss)


def test_two_processes_are_one(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through torchrun: the same files as one process leaves, but for rounding."""
    (tmp_path / "net.cfg").write_text(pictures.CFG.replace("batch_normalize=1\n", ""))
    train_words = ["train", str(tmp_path / "net.cfg"), str(data), "--device", "cpu"]
    words = [*train_words, "--workers", "0", "--project"]
    assert cli.main([*words, str(tmp_path / "one")]) == 0
    two_processes([*words, str(tmp_path / "two")])
    a, b = (runs.checkpoint(tmp_path / name / "net") for name in ("one", "two"))
    for name, tensor in a["model"].items():
        torch.testing.assert_close(tensor, b["model"][name], rtol=1e-3, atol=1e-5)
    assert [row["top-1"] for row in a["rows"]] == [row["top-1"] for row in b["rows"]]

    run = tmp_path / "one" / "net"
    words = ["val", str(run / "model.cfg"), str(run / "best.weights"), str(data), "--json"]
    capsys.readouterr()
    assert cli.main(words) == 0
    assert two_processes(words) == capsys.readouterr().out


def two_processes(words: list[str]) -> str:
    """Run a command in two processes and return what they print."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    line = [*start, "-m", "ghostyolo", *words]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- the commands


def test_classes_in_another_order(run: Command, cfg: Path, data: Path, tmp_path: Path) -> None:
    """A list may have the classes of the folders, and mix them all up."""
    names = open_classification(data, "val").names
    weights = tmp_path / "trained" / "x.weights"
    weights.parent.mkdir()
    Model(load(cfg)).save_weights(weights)
    order = weights.with_suffix(".names")
    order.write_text("\n".join(names[::-1]) + "\n")
    code, _, err = run("val", cfg, weights, data)
    assert code == 1
    assert f"class 0 is '{names[0]}', '{names[-1]}' for " in err
    assert run("val", cfg, weights, data, "--names", order)[0] == 0
    order.write_text("\n".join(names) + "\n")
    assert run("val", cfg, weights, data)[0] == 0


def test_train_val_and_classify(run: Command, cfg: Path, data: Path, tmp_path: Path) -> None:
    code, out, err = run("train", cfg, data, "--epochs", 12, "--workers", 0, "--val-every", 4)
    assert code == 0, err
    folder = Path("runs/train/net")
    assert "report.html" in out and "top-1 " in err
    made = {path.name for path in folder.iterdir()}
    assert {"best.weights", "report.html", "results.csv", "curve.png", "model.names"} <= made
    page = (folder / "report.html").read_text()
    assert "Confusion matrix" in page and "most probable class is right" in page
    assert "boxes" not in page.partition("<main>")[2].partition('id="cfg"')[0]

    weights = folder / "best.weights"
    code, out, err = run("val", folder / "model.cfg", weights, data, "--json", "--report", "v.html")
    assert code == 0, err
    assert json.loads(out)["all"] == {"pictures": 9, "top1": 1.0, "top5": 1.0}
    assert "Accuracy" in Path("v.html").read_text()
    code, out, _ = run("val", folder / "model.cfg", weights, data)
    assert code == 0
    assert out.splitlines()[0].split() == ["class", "pictures", "top-1", "top-5", "precision"]
    assert out.splitlines()[-1].split() == ["all", "9", "1.000", "1.000", "-"]

    red = data / "val/red"
    code, out, _ = run("classify", folder / "model.cfg", weights, red)
    assert code == 0
    lines = out.splitlines()
    assert len(lines) == 3 and lines[0].startswith(f"{red}/0.png: red 0.")
    (tmp_path / "broken.jpg").write_bytes(b"no")
    words = ("classify", folder / "model.cfg", weights, red / "1.png", "broken.jpg")
    code, out, err = run(*words, "--json", "--top", 2)
    assert code == 1 and err.startswith("ghostyolo: broken.jpg: not a picture")
    (row,) = json.loads(out)
    assert row["file"] == str(red / "1.png")
    first, second = row["classes"]
    assert (first["class"], first["name"]) == (2, "red")
    assert first["probability"] > second["probability"]


def test_list_format_trains(run: Command, cfg: Path, data: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        paths = sorted((data / split).rglob("*.png"))
        (tmp_path / f"{split}.txt").write_text("".join(f"{path}\n" for path in paths))
    (tmp_path / "labels").write_text("blue\ngreen\nred\n")
    text = "classes=3\ntrain=train.txt\nvalid=val.txt\nlabels=labels\ntop=5\nbackup=backup/\n"
    (tmp_path / "colours.data").write_text(text)
    code, _, err = run("train", cfg, "colours.data", "--workers", 0)
    assert code == 0, err
    assert Path("runs/train/net/model.names").read_text().split() == ["blue", "green", "red"]


def test_adapted_classifier_trains(run: Command, cfg: Path, data: Path) -> None:
    cfg.write_text(pictures.CFG.replace("filters=3", "filters=1000"))
    code, _, err = run("train", cfg, data)
    want = f"{cfg}:32: [convolutional] classes=1000, {data} has 3 (blue, green, red); give --adapt"
    assert code == 1 and err.startswith(f"ghostyolo: {want}")
    code, _, err = run("train", cfg, data, "--adapt", "--workers", 0, "--val-split", "none")
    assert code == 0, err
    assert class_counts(load("runs/train/net/model.cfg"))[0][1] == 3


def test_mismatched_networks_and_data_are_refused(
    run: Command, cfg: Path, data: Path, tmp_path: Path
) -> None:
    Model(loads(pictures.CFG)).save_weights(tmp_path / "net.weights")
    eager, detector = tiny.eager_weights(tmp_path), tiny.write(tmp_path)
    boxes = write_dataset(tmp_path / "boxes", tiny.COUNTS, size=(64, 64))
    red = data / "val/red/0.png"
    for words, told in (
        (
            ("train", cfg, data, "--loss", "darknet"),
            "--loss darknet is not for classification",
        ),
        (("detect", cfg, "net.weights", red), "no detection head, so no boxes; it classifies: run"),
        (("classify", detector, eager, red), "[yolo] is a detection head, not a classifier; run"),
        (("train", detector, data), "not a data set"),
        (("train", cfg, boxes), "boxes: its labels are boxes; train a detector on it, or cut"),
        (
            ("val", cfg, "net.weights", data, "--thresh", ".5"),
            "--thresh is for a detector, and this",
        ),
        (("val", cfg, "net.weights", data, "--tile", "9"), "--tile is for a detector, and this is"),
    ):
        code, out, err = run(*words)
        assert (code, out) == (1, ""), words
        assert told in err, (words, err)
    assert not (tmp_path / "runs").exists()


def test_classifier_in_every_runtime(run: Command, cfg: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    Model(loads(pictures.CFG)).save_weights(tmp_path / "net.weights")
    code, want, err = run("val", cfg, "net.weights", data, "--json", "--runtime", "torch")
    assert code == 0, err
    assert run("export", cfg, "net.weights", "net.onnx")[0] == 0
    programs = [name for name, version in installed_versions().items() if version]
    assert len(programs) >= 3
    for source in ((cfg, "net.weights"), ("net.onnx",)):
        for name in programs if source[1:] else set(programs) - {"torch"}:
            code, out, err = run("val", *source, data, "--json", "--runtime", name)
            assert (code, out) == (0, want), (source, name, err)


def test_backbone_goes_into_a_detector(
    run: Command, config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """Of a GhostNet trained here, from its own folder, with as many tensors as there are."""
    size, small = (64, 64), {"batch": 4, "max_batches": 2, "burn_in": 0}
    net = networks.classifier(GhostNet(width=0.5), classes=3, size=size)
    net = passes.rebuild(net, options=net.options.changed(**small))
    fit(config(network=net, val=None), runs.Silent())
    (tmp_path / "d.cfg").write_text(
        dumps(networks.detector(GhostNet(width=0.5), classes=6, size=size))
    )
    words = ("convert", "d.cfg", "run/last.weights", "start.weights", "--backbone-only")
    code, out, err = run(*words, "--source-cfg", "run/model.cfg", "--json")
    assert code == 0, err
    report = json.loads(out)
    matched = len(report["matched"])
    assert matched > 300 and report["stopped"]
    first = backbone_layers(load("d.cfg"))  # what is left to train is no part of the backbone
    layers = [{int(name.split(".")[1]) for name in report[key]} for key in ("matched", "kept")]
    assert max(layers[0]) < first == min(layers[1])
    source, start = Model("run/model.cfg", "run/last.weights"), Model("d.cfg", "start.weights")
    for name in report["matched"]:
        assert torch.equal(source.state_dict()[name], start.state_dict()[name]), name
    code, out, _ = run(*words, "--source-cfg", "run/model.cfg")
    assert f"{matched} of {matched + len(report['kept'])} tensors from run/last.weights" in out


def test_boxes_become_a_data_set(tmp_path: Path) -> None:
    boxes = write_dataset(tmp_path / "boxes", tiny.COUNTS, size=(96, 128))
    words = [sys.executable, str(ROOT / "tools/crops.py"), str(boxes), str(tmp_path / "crops")]
    done = subprocess.run([*words, "--margin", "0"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for split in ("train", "val", "test"):
        there, cut = open_dataset(boxes, split), open_classification(tmp_path / "crops", split)
        assert sorted(there.names) == list(cut.names)
        sizes = sorted(
            (round(float(y2)) - round(float(y1)), round(float(x2)) - round(float(x1)))
            for sample in there.samples
            for x1, y1, x2, y2 in sample.boxes_xyxy_px[~sample.ignore]
        )
        assert sorted(sample.size for sample in cut.samples) == [s for s in sizes if min(s) >= 8]
    assert subprocess.run(words, capture_output=True).returncode == 2  # it exists

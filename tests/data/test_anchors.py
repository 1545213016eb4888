"""Anchors: that they fit the boxes, come to the right heads, and that bad input is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ghostyolo.boxes import iou
from ghostyolo.data import Dataset, Sample, anchor_clustering, anchors, open_dataset
from ghostyolo.data.anchor_clustering import centred_iou, cluster, measure
from ghostyolo.data.images import Placement
from ghostyolo.errors import CfgError, DataError, OptionError
from ghostyolo.layers.region import Region
from ghostyolo.layers.yolo import Yolo
from ghostyolo.network import Network, dumps, load, loads
from ghostyolo.network.passes import resize
from support import tiny
from support.cases import CASES, GENERATED

VOC = next(path for path in GENERATED if path.stem == "ghostnet-0.5-voc")
GROUPS = np.array([[12, 10], [30, 60], [90, 40], [150, 160]], float)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def grouped(seed: int = 0, groups: np.ndarray = GROUPS, each: int = 50) -> np.ndarray:
    """Return boxes that lie within a tenth of some sizes."""
    return np.repeat(groups, each, 0) * rng(seed).uniform(0.9, 1.1, (len(groups) * each, 2))


def dataset(
    sizes: np.ndarray, picture: tuple[int, int] = (416, 416), ignore: np.ndarray | None = None
) -> Dataset:
    """Return a data set with one picture of (h, w) pixels that has boxes of these sizes."""
    boxes = np.hstack((np.zeros_like(sizes), sizes)).astype(np.float32)
    ignore = np.zeros(len(boxes), bool) if ignore is None else ignore
    sample = Sample("x.jpg", boxes, np.zeros(len(boxes), np.int64), ignore, picture, "x")
    return Dataset(("a",), (sample,), "train", "DATA")


def heads(network: Network) -> list[Yolo]:
    return [node.layer for node in network if isinstance(node.layer, Yolo)]


# --- the arithmetic


def test_iou_is_that_of_centred_boxes() -> None:
    sizes, others = rng(1).uniform(1, 99, (30, 2)), rng(2).uniform(1, 99, (7, 2))
    expected = iou(*(np.hstack((-half, half)) for half in (sizes / 2, others / 2)))
    assert np.allclose(centred_iou(sizes, others), expected)


def test_fit_by_hand() -> None:
    sizes = np.array([[10, 10], [10, 20], [81, 20], [100, 100]], float)
    found = measure(sizes, np.array([[10, 10], [20, 20]], float))
    assert found.counts.tolist() == [2, 2]  # 10x20 overlaps both alike: it counts for the first
    assert found.mean_iou == pytest.approx((1 + 1 / 2 + 20 / 81 + 4 / 100) / 4)
    assert found.within_ratio == 2 / 4  # 81 is more than four times 20


@pytest.mark.parametrize("letter_box", [0, 1])
@pytest.mark.parametrize("picture", [(480, 640), (640, 480), (77, 300)])
def test_boxes_are_placed_as_in_training(picture: tuple[int, int], letter_box: int) -> None:
    options = load(VOC).options.changed(height=320, width=416, letter_box=letter_box)
    data = dataset(rng().uniform(5, 70, (20, 2)), picture)
    placement = Placement.of(picture, options.size, bool(letter_box))
    placed = placement.to_input(data.samples[0].boxes_xyxy_px)
    assert np.allclose(anchors.box_sizes(data, options), placed[:, 2:] - placed[:, :2], rtol=1e-4)


def test_boxes_that_are_not_trained_on_do_not_count() -> None:
    ignore = np.arange(200) % 2 == 0
    data = dataset(grouped(), ignore=ignore)
    assert len(anchors.box_sizes(data, load(VOC).options)) == 100


# --- clustering


def test_groups_of_boxes_are_found() -> None:
    found = cluster(grouped(), 4, rng())
    assert np.allclose(found, GROUPS, rtol=0.05)
    assert (np.diff(found.prod(1)) > 0).all()


def test_one_anchor_is_nearly_the_best_there_is() -> None:
    sizes = np.exp(rng(3).normal((3.5, 4), 0.6, (200, 2)))
    side = np.exp(np.linspace(2, 6, 120))
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    best = centred_iou(sizes, grid).mean(0).max()
    assert measure(sizes, cluster(sizes, 1, rng())).mean_iou > 0.98 * best


def test_more_anchors_fit_better() -> None:
    sizes = np.exp(rng(4).normal((3.5, 4), 0.6, (500, 2)))
    means = [measure(sizes, cluster(sizes, n, rng())).mean_iou for n in range(1, 8)]
    assert sorted(set(means)) == means


def test_same_seed_same_anchors() -> None:
    sizes = np.exp(rng(5).normal(4, 0.8, (400, 2)))
    one, two = (cluster(sizes, 6, rng(7)) for _ in range(2))
    assert np.array_equal(one, two)


def test_never_worse_than_the_start() -> None:
    sizes = np.exp(rng(6).normal(4, 0.8, (400, 2)))
    best = cluster(sizes, 6, rng(), restarts=60)
    again = cluster(sizes, 6, rng(1), [best], restarts=0)
    assert measure(sizes, again).mean_iou >= measure(sizes, best).mean_iou


def test_sampling_of_many_boxes_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = np.exp(rng(8).normal(4, 0.8, (20_000, 2)))
    whole = measure(sizes, cluster(sizes, 9, rng(), restarts=2)).mean_iou
    monkeypatch.setattr(anchor_clustering, "MOST_BOXES", 4000)
    assert measure(sizes, cluster(sizes, 9, rng(), restarts=2)).mean_iou > whole - 0.01


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (np.zeros((0, 2)), "^there is no box; keep the cfg"),
        (np.array([[9.0, 8]]), "1 box of 1 size, too few for 2 anchors"),
        (np.full((50, 2), 9.0), "50 boxes of 1 size, too few"),
    ],
)
def test_too_few_sizes_are_refused(sizes: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        cluster(sizes, 2, rng())


def test_as_many_sizes_as_anchors_are_those_sizes() -> None:
    assert np.array_equal(cluster(np.repeat(GROUPS, 3, 0), 4, rng()), GROUPS)


# --- rewriting


NINE = np.array([[n, n + 1] for n in range(10, 100, 10)], float)


def assert_dealt(network: Network) -> None:
    """Check that small anchors stand at fine strides, each in one mask, and the cfg says so."""
    by_stride = sorted(
        (node for node in network if isinstance(node.layer, Yolo)), key=lambda node: -node.shape.h
    )
    masks = [index for node in by_stride for index in node.layer.mask]
    assert masks == list(range(len(masks)))
    areas = [w * h for node in by_stride for w, h in node.layer.own_anchors]
    assert areas == sorted(areas)
    assert loads(dumps(network)) == network


def test_only_heads_change() -> None:
    network = load(VOC)
    changed = anchors.with_anchors(network, NINE)
    assert_dealt(changed)
    outputs = {node.inputs[0] for node in network if isinstance(node.layer, Yolo)}
    for old, new in zip(network, changed, strict=True):
        if old.index in outputs:
            assert new.layer == old.layer.changed(filters=3 * 25)
        assert isinstance(new.layer, Yolo) or old.index in outputs or new == old
    assert all(layer.all_anchors == tuple(map(tuple, NINE.tolist())) for layer in heads(changed))
    assert all(layer.num == 9 for layer in heads(changed))


def coarse_first() -> str:
    """Return a cfg whose first head is the coarser one, as in YOLOv3."""
    conv, head = "[convolutional]\nfilters={}\nsize=1\nstride={}\nactivation=linear\n", tiny.CFG
    net, yolo = head[: head.index("[conv")], head[head.index("[yolo]") :]
    fine = yolo.replace("mask=0,1", "mask=0,1,2").replace("num=2", "num=3")
    fine = fine.replace("anchors=10,12,30,28", "anchors=1,2,3,4,5,6")
    coarse = fine.replace("mask=0,1,2", "mask=2")
    parts = [net, conv.format(11, 8), coarse, "[route]\nlayers=-2\n", "[upsample]\nstride=2\n"]
    return "\n".join((*parts, conv.format(33, 1), fine))


def test_heads_that_stand_coarse_first() -> None:
    network = loads(coarse_first())
    strides = [head.cell for head in anchors.anchor_heads(network)]
    assert strides == [(4, 4), (8, 8)]
    changed = anchors.with_anchors(network, NINE[:4])
    assert_dealt(changed)
    assert [layer.mask for layer in heads(changed)] == [(3,), (0, 1, 2)]


@pytest.mark.parametrize(("num", "masks"), [(3, (1, 1, 1)), (5, (2, 2, 1)), (6, (2, 2, 2))])
def test_another_number_of_anchors_changes_the_filters(num: int, masks: tuple[int, ...]) -> None:
    changed = anchors.with_anchors(load(VOC), NINE[:num])
    assert_dealt(changed)
    by_stride = sorted(heads(changed), key=lambda layer: layer.mask)
    assert tuple(len(layer.mask) for layer in by_stride) == masks
    above = [changed[node.inputs[0]] for node in changed if isinstance(node.layer, Yolo)]
    assert sorted(node.shape.c for node in above) == sorted(25 * count for count in masks)


def test_gaussian_heads_and_regions() -> None:
    network = load(CASES / "kinds/region.cfg")
    total = sum(len(head.anchors) for head in anchors.anchor_heads(network))
    changed = anchors.with_anchors(network, NINE[:total])
    for head in anchors.anchor_heads(changed):
        assert isinstance(head.node.layer, Region)
        cells = np.array(head.node.layer.anchors).reshape(-1, 2)
        assert np.allclose(cells * head.cell, head.anchors)
    found = np.concatenate([head.anchors for head in anchors.anchor_heads(changed)])
    assert np.allclose(found, NINE[:total], rtol=1e-3)
    text = tiny.CFG.replace("[yolo]", "[Gaussian_yolo]").replace("filters=22", "filters=30")
    changed = anchors.with_anchors(loads(text), NINE[:3])
    assert loads(dumps(changed)) == changed
    assert changed[2].shape.c == 45
    assert np.array_equal(anchors.anchor_heads(changed)[0].anchors, NINE[:3])


def test_number_of_anchors_needs_a_convolution_above() -> None:
    text = tiny.CFG.replace("[yolo]", "[avgpool]\n\n[yolo]")
    assert heads(anchors.with_anchors(loads(text), NINE[:2]))[0].num == 2
    with pytest.raises(CfgError, match=r"x.cfg:38: .*\[avgpool\] stands above; put a \[conv"):
        anchors.with_anchors(loads(text, path="x.cfg"), NINE[:3])
    with pytest.raises(OptionError, match="2 anchors for 3 heads; use 3 or more"):
        anchors.with_anchors(load(VOC), NINE[:2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (tiny.CFG[: tiny.CFG.index("[yolo]")], "x.cfg: no head has anchors"),
        (tiny.CFG.replace("30,28", "30,0"), r"x.cfg:36: \[yolo\] an anchor has a side of 0"),
        (
            tiny.CFG.replace("mask=0,1", "mask=0,7"),
            r"x.cfg:36: \[yolo\] mask=7 is not one of num=2",
        ),
    ],
)
def test_cfg_without_usable_anchors(text: str, message: str) -> None:
    with pytest.raises(CfgError, match=message):
        anchors.anchor_heads(loads(text, path="x.cfg"))


# --- the warning


def test_warning_tells_bad_anchors_from_good() -> None:
    network = load(VOC)
    small = dataset(np.exp(rng(1).normal(1.5, 0.4, (300, 2))))
    text = anchors.poor_fit_warning(small, network)
    assert text is not None and "\n" not in text
    assert f"ghostyolo anchors DATA {VOC} --size 416x416 --out NEW.cfg" in text
    new = cluster(anchors.box_sizes(small, network.options), 9, rng(3))
    assert anchors.poor_fit_warning(small, anchors.with_anchors(network, new)) is None


def test_no_warning_where_clusters_gain_little_or_boxes_are_few() -> None:
    one = anchors.with_anchors(load(VOC), NINE[:3])
    wide = dataset(np.exp(rng(2).uniform(0, 6, (3000, 2))))  # three anchors cannot fit these
    sizes = anchors.box_sizes(wide, one.options)
    fresh = anchors.with_anchors(one, cluster(sizes, 3, rng(5)))
    assert anchors.propose(wide, fresh, 3, 0)[1].mean_iou < anchors.BY_HAND
    assert anchors.poor_fit_warning(wide, fresh) is None
    assert anchors.poor_fit_warning(dataset(np.full((40, 2), 2.0)), one) is None
    assert anchors.poor_fit_warning(dataset(np.zeros((0, 2))), one) is None


# --- the command


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(invoke: Command) -> Command:
    return partial(invoke, "anchors")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("data") / "shapes")


def test_command_writes_what_it_prints(run: Command, data: Path, tmp_path: Path) -> None:
    cfg, new = tiny.write(tmp_path), tmp_path / "new.cfg"
    code, out, err = run(data, cfg, "--json", "--out", new)
    found = json.loads(out)
    assert (code, err) == (0, "")
    assert found["new"]["mean_iou"] >= found["now"]["mean_iou"]
    written = load(new)
    printed = [(row["w"], row["h"]) for row in found["new"]["anchors"]]
    assert list(heads(written)[0].own_anchors) == printed
    assert sum(row["boxes"] for row in found["new"]["anchors"]) == found["boxes"]
    sizes = anchors.box_sizes(open_dataset(data), written.options)
    assert measure(sizes, np.array(printed)).mean_iou == found["new"]["mean_iou"]
    code, out, _ = run(data, cfg, "--out", cfg, "--size", "128x64")
    assert code == 0 and f"{cfg}: written" in out
    assert load(cfg).options.size == (128, 64)
    assert heads(load(cfg))[0].all_anchors == tuple((w, 2 * h) for w, h in printed)


def test_command_that_training_names_fits_the_anchors(
    run: Command, data: Path, tmp_path: Path
) -> None:
    cfg = tiny.write(tmp_path, ("anchors=10,12,30,28", "anchors=1,2,3,2"))
    text = anchors.poor_fit_warning(open_dataset(data), resize(load(cfg), (96, 64)))
    assert text is not None
    words = text.partition("'ghostyolo anchors ")[2].partition("'")[0].split()
    new = tmp_path / "new.cfg"
    assert run(*(str(new) if word == "NEW.cfg" else word for word in words))[0] == 0
    assert anchors.poor_fit_warning(open_dataset(data), load(new)) is None
    assert load(new).options.size == (96, 64)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("{data}", "none.cfg"), "none.cfg: no file and no cfg of that name"),
        (("nowhere", "{cfg}"), "nowhere: it does not exist"),
        (("{data}", "{cfg}", "--split", "trian"), "there is no split 'trian'; use one of"),
        (("{data}", "{cfg}", "--out", "{cfg}/x"), "cannot write: Not a directory; give a file"),
        (("{data}", "{cfg}", "--num", "500"), "split 'train': "),
        (("{data}", "{cfg}", "--seed", "-1"), "--seed -1; use 0 or more"),
    ],
)
def test_bad_input(
    words: tuple[str, ...], message: str, run: Command, data: Path, tmp_path: Path
) -> None:
    cfg = tiny.write(tmp_path)
    before = cfg.read_bytes()
    code, out, err = run(*(word.format(data=data, cfg=cfg) for word in words))
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert err.startswith("ghostyolo: ") and message in err
    assert [path.name for path in tmp_path.iterdir()] == [cfg.name]
    assert cfg.read_bytes() == before

"""Training: the update against Darknet's numbers and formulas, the run against itself."""

from __future__ import annotations

import copy
import csv
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ghostyolo.augment.batches import Batches
from ghostyolo.data import Dataset, open_dataset
from ghostyolo.data.dataset import Samples
from ghostyolo.errors import CfgError, OptionError
from ghostyolo.loss import darknet
from ghostyolo.loss.base import HeadOutput, LossSum
from ghostyolo.model.model import Model
from ghostyolo.network import Network, load, loads, passes, weights_file
from ghostyolo.training import augmentation
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.gradient import UpdateConfig, gradient
from ghostyolo.training.loop import _waiting_warning, fit
from ghostyolo.training.nan_diagnosis import NanError
from ghostyolo.training.schedule import input_size, largest_size, learning_rate, stretched
from ghostyolo.training.state import State, initial_state, optimizer, set_learning_rate
from support import ROOT, goldens, tiny
from support.runs import Silent

PLAIN = tiny.CFG.replace("batch_normalize=1\n", "")
EPOCHS = tiny.CFG.replace("batch=2", "batch=3")  # two epochs of two iterations
LIMIT = 1e-5  # of the largest magnitude in the tensor
DARKNET = darknet.CONFIG


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("train") / "shapes")


@pytest.fixture
def config(data: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """Return a function that makes the configuration of a run in a folder of its own."""

    def make(name: str = "run", text: str = tiny.CFG, **values: Any) -> TrainConfig:
        settings: dict[str, Any] = {
            "network": loads(text),
            "train": open_dataset(data, "train"),
            "val": None,
            "folder": tmp_path / name,
            "loss": "darknet",
            "workers": 0,
        }
        return TrainConfig(**{**settings, **values})

    return make


def numbers(state: State) -> dict[str, torch.Tensor]:
    """Return all that an update changes: tensors of the model and momentum."""
    momentum = state.optimizer.state_dict()["state"]
    return {
        **{name: tensor.clone() for name, tensor in state.model.state_dict().items()},
        **{f"momentum {i}": item["momentum_buffer"] for i, item in momentum.items()},
    }


def assert_same(a: State, b: State) -> None:
    """Check that two states are equal bit for bit."""
    left, right = numbers(a), numbers(b)
    assert left.keys() == right.keys()
    for name in left:
        assert torch.equal(left[name], right[name]), name
    assert (a.iteration, a.loss, a.best, a.rows) == (b.iteration, b.loss, b.best, b.rows)


def batch(data: Path, count: int = 4, text: str = tiny.CFG) -> tuple[torch.Tensor, torch.Tensor]:
    network = loads(text)
    dataset = open_dataset(data, "train")
    return Batches(dataset, augmentation.detection(network, DARKNET), count, (64, 64)).batch_at(0)


# --- one update


@goldens.each("train", "mini_[!q]*.npz")  # "quirks": layers whose gradient in Darknet is wrong
def test_updates_are_darknets(path: Path) -> None:
    """All weights after one and after three updates; running statistics take a tenth.

    In double, as three updates magnify a rounding beside the kink of a ReLU.
    """
    arrays, path = np.load(path), path.with_suffix(".json")
    golden, model = goldens.read(path), goldens.model(path).double()
    state = State(model.train(), optimizer(model, DARKNET))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 0.1
    count = golden["mini_batch"] * golden["subdivisions"]
    shape = count, golden["c"], golden["h"], golden["w"]
    images = torch.from_numpy(goldens.recipe.input_tensor(*shape)).double()
    rows = golden["truth_boxes[image,class,x,y,w,h]"]
    truths = torch.tensor([[row[0], *row[2:], row[1]] for row in rows])
    items = [(n, *item) for n in model.network for item in weights_file.stored(model.network, n)]
    checked = 0
    for update in (1, 2, 3):
        set_learning_rate(state, model.network.options)
        update_ = UpdateConfig(DARKNET, golden["subdivisions"])
        cost = gradient(state, images, truths, update_)["loss"]
        costs = [sub["cost"] for sub in golden["iters"][update - 1]["sub"]]
        assert cost * count == pytest.approx(sum(costs), rel=1e-5)
        state.optimizer.step()
        state.iteration += 1
        if f"w{update}" in arrays:
            begin, tensors = 0, model.tensors()
            for node, tensor, shape in items:
                size = int(np.prod(shape))
                want = arrays[f"w{update}"][begin : begin + size].reshape(shape)
                got = tensors[node.index][tensor].detach().numpy()
                error = np.abs(got - want).max() / np.abs(want).max()
                assert error < LIMIT, f"update {update}, layer {node.index} {tensor}: {error:.1e}"
                begin += size
            assert begin == golden["n_floats"]
            checked += 1
    assert checked == 2


def test_update_is_the_formula(data: Path) -> None:
    """U = momentum U - gradient - decay w, w += rate U; no decay on biases and batch norm."""
    model = Model(loads(tiny.CFG))
    state, options = State(model.train(), optimizer(model, DARKNET)), model.network.options
    images, truths = batch(data)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    kept = {name: torch.zeros_like(p) for name, p in before.items()}
    for _ in range(2):
        rate = set_learning_rate(state, options)
        gradient(state, images, truths, UpdateConfig(DARKNET))
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            decay = options.decay if name.endswith("conv.weight") else 0.0
            kept[name] = 0.9 * kept[name] - parameter.grad - decay * before[name]
            before[name] = before[name] + rate * kept[name]
        state.optimizer.step()
        state.iteration += 1
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(parameter.detach(), before[name], rtol=1e-5, atol=1e-7)


def test_decay_applies_to_weights_only() -> None:
    groups = optimizer(Model(loads(tiny.CFG)), DARKNET).param_groups
    shapes = {group["weight_decay"]: [p.ndim for p in group["params"]] for group in groups}
    assert shapes == {0.0: [1] * 5, 0.01: [4] * 3}
    assert all(group["momentum"] == 0.9 for group in groups)


def test_layers_have_their_own_learning_rates(data: Path) -> None:
    net, first, second, third = tiny.CFG.split("[convolutional]\n")
    parts = net, f"learning_rate=0\n{first}", second, f"learning_rate=.5\n{third}"
    text = "[convolutional]\n".join(parts)
    model, plain = Model(loads(text)), Model(loads(tiny.CFG))
    plain.load_state_dict(model.state_dict())
    before = copy.deepcopy(model.state_dict())
    images, truths = batch(data)
    for each in (model, plain):
        state = State(each.train(), optimizer(each, DARKNET))
        set_learning_rate(state, each.network.options)
        gradient(state, images, truths, UpdateConfig(DARKNET))
        state.optimizer.step()
    for name, factor in (("0.conv.weight", 0), ("1.conv.weight", 1), ("2.conv.bias", 0.5)):
        moved = model.state_dict()[f"layers.{name}"] - before[f"layers.{name}"]
        want = plain.state_dict()[f"layers.{name}"] - before[f"layers.{name}"]
        torch.testing.assert_close(moved, factor * want, rtol=1e-3, atol=1e-7)


def test_subdivisions_change_nothing_without_batch_norm(data: Path) -> None:
    model = Model(loads(PLAIN)).train()
    state, (images, truths) = State(model, optimizer(model, DARKNET)), batch(data)
    found = []
    for subdivisions in (1, 2, 4):
        cost = gradient(state, images, truths, UpdateConfig(DARKNET, subdivisions))["loss"]
        found.append((cost, [p.grad.clone() for p in model.parameters() if p.grad is not None]))
    (cost, whole), *parts = found
    for other, pieces in parts:
        assert other == pytest.approx(cost, rel=1e-5)
        for a, b in zip(whole, pieces, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_initial_objectness_is_the_prior(config: Callable[..., TrainConfig]) -> None:
    state = initial_state(config())
    out = state.model.trace(torch.rand(1, 3, 64, 64))[-1].view(1, 2, 11, 4, 4)
    assert out[:, :, 4].max() < 0.05
    assert abs(float(out[:, :, 5:].mean()) - 0.5) < 0.05


# --- a run


def test_four_updates_equal_two_and_two_after_a_resume(
    config: Callable[..., TrainConfig], data: Path
) -> None:
    """Through a checkpoint, in which everything lies; with validation on the way."""
    val = open_dataset(data, "val")
    settings = {"text": EPOCHS, "val": val, "val_every": 1}
    whole = fit(config("whole", **settings), Silent())
    with pytest.raises(KeyboardInterrupt):
        fit(config("parts", **settings), Silent(stop_after=3))
    torch.manual_seed(99)
    parts = fit(config("parts", **settings), Silent(), resume=True)
    assert_same(whole, parts)
    assert [row["epoch"] for row in parts.rows] == [1, 2]
    for name in ("best.weights", "last.weights", "results.csv", "model.cfg", "model.names"):
        a, b = (config(run).folder / name for run in ("whole", "parts"))
        assert a.read_bytes() == b.read_bytes(), name


SCRIPT = """
import sys
from pathlib import Path
import torch
from ghostyolo.data import open_dataset
from ghostyolo.network import load
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.loop import _waiting_warning, fit
cfg, data, folder = map(Path, sys.argv[1:])
config = TrainConfig(load(cfg), open_dataset(data, "train"), None, folder, "darknet", workers=2)
fit(config, resume=True)
"""


def test_another_process_resumes_bit_for_bit(
    config: Callable[..., TrainConfig], data: Path, tmp_path: Path
) -> None:
    whole = fit(config("whole"), Silent())
    with pytest.raises(KeyboardInterrupt):
        fit(config("parts"), Silent(stop_after=3))
    words = [str(tiny.write(tmp_path)), str(data), str(config("parts").folder)]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *words], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    content = torch.load(config("parts").folder / "checkpoint.pt", weights_only=True)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, content["model"][name]), name
    assert content["parts"] == whole.parts


def test_interruption_at_a_validation_loses_nothing(
    config: Callable[..., TrainConfig], data: Path
) -> None:
    whole = fit(config("whole", EPOCHS, val_every=1), Silent())
    with pytest.raises(KeyboardInterrupt):
        fit(config("parts", EPOCHS, val_every=1), Silent(stop_after=2))
    assert_same(whole, fit(config("parts", EPOCHS, val_every=1), Silent(), resume=True))


def test_resuming_a_finished_run_does_nothing(config: Callable[..., TrainConfig]) -> None:
    first, observer = fit(config(), Silent()), Silent()
    assert_same(first, fit(config(), observer, resume=True))
    assert not observer.losses


def test_run_writes_its_files(config: Callable[..., TrainConfig], data: Path) -> None:
    text = tiny.CFG.replace("max_batches=4", "max_batches=7")  # the second epoch ends at 6
    settings = config(text=text, val=open_dataset(data, "val"), val_every=1, save_every=1)
    state, folder = fit(settings, Silent()), settings.folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.weights", "checkpoint.pt", "curve.png", "last.weights", "model.cfg", "model.names",
        "results.csv", "run.json", "val.txt",
    ]  # fmt: skip
    assert load(folder / "model.cfg") == settings.network
    assert (folder / "model.names").read_text().split() == list(settings.train.names)
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["iteration"], row["epoch"]) for row in rows] == [("3", "1"), ("7", "2")]
    assert list(rows[0]) == [
        "iteration", "epoch", "loss", "rate", "val_loss", "AP", "AP50", "AP75", "VOC", "precision",
        "recall",
    ]  # fmt: skip
    assert [float(row["loss"]) for row in rows] == pytest.approx(
        [row["loss"] for row in state.rows], rel=1e-5
    )
    assert (folder / "curve.png").read_bytes()[:4] == b"\x89PNG"
    model = Model(folder / "model.cfg")
    model.load_weights(folder / "last.weights")
    assert model.seen == 14
    for name, tensor in model.state_dict().items():
        if "num_batches" not in name:
            assert torch.equal(tensor, state.model.state_dict()[name]), name


def test_damaged_pictures_are_counted_in_the_report(
    data: Path,
    tmp_path: Path,
    invoke: Callable[..., tuple[int, str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A truncated picture of train, and one of val, whose headers are whole."""
    place = shutil.copytree(data, tmp_path / "damaged")
    for split in ("train", "val"):
        picture = sorted((place / "JPEGImages").glob(f"{split}*"))[0]
        picture.write_bytes(picture.read_bytes()[:-600])
    words = ("train", tiny.write(tmp_path), place, "--project", tmp_path, "--name", "run")
    code, _, _ = invoke(*words, "--epochs", 2, "--val-every", 1)
    assert code == 0 and caplog.text.count("not a picture, or truncated") == 2
    page = (tmp_path / "run/report.html").read_text()
    assert page.count("unreadable picture") == 2
    assert len((tmp_path / "run/results.csv").read_text().splitlines()) == 3


def test_loss_falls_on_repeated_pictures(config: Callable[..., TrainConfig]) -> None:
    text = tiny.CFG.replace("max_batches=4", "max_batches=60").replace("jitter=.2", "jitter=0")
    observer = Silent()
    fit(config(text=text), observer)
    assert observer.losses[-1] < 0.5 * observer.losses[0]


def test_seed_determines_the_weights(config: Callable[..., TrainConfig]) -> None:
    a, b, other = (fit(config(str(i), seed=seed), Silent()) for i, seed in enumerate((5, 5, 6)))
    assert_same(a, b)
    assert a.loss != other.loss


def test_workers_change_nothing(config: Callable[..., TrainConfig]) -> None:
    assert_same(fit(config("a"), Silent()), fit(config("b", workers=2), Silent()))


def test_run_starts_from_given_weights(config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    path = tiny.eager_weights(tmp_path)
    state, model = initial_state(config(weights=str(path))), Model(loads(tiny.CFG))
    model.load_weights(path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, state.model.state_dict()[name]), name


def test_learning_rates_follow_the_cfg(config: Callable[..., TrainConfig]) -> None:
    text = tiny.CFG.replace(
        "max_batches=4", "max_batches=4\nburn_in=2\npower=2\npolicy=steps\nsteps=3,4\nscales=.1,.1"
    )
    observer = Silent()
    fit(config(text=text), observer)
    assert observer.rates == pytest.approx([0.0025, 0.01, 0.001, 0.0001])


def test_random_rate_is_drawn_from_the_seed(config: Callable[..., TrainConfig]) -> None:
    text = tiny.CFG.replace("max_batches=4", "max_batches=4\npolicy=random\npower=1")
    first, second = Silent(), Silent()
    fit(config("a", text=text), first)
    fit(config("b", text=text), second)
    assert first.rates == second.rates
    assert len(set(first.rates)) == 4
    assert all(0 <= rate <= 0.01 for rate in first.rates)


def test_sizes_are_drawn_for_ten_iterations(config: Callable[..., TrainConfig]) -> None:
    text = tiny.CFG.replace("jitter=.2", "jitter=.2\nrandom=1")
    observer = Silent()
    state = fit(config(text=text, save_every=1), observer)
    assert state.iteration == 4


@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_loss_that_is_not_finite_stops_the_run(
    fault: str, config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last good weights stay, and the message names the iteration."""
    text = tiny.CFG.replace("max_batches=4", "max_batches=40")
    settings = config(text=text, save_every=1)
    with pytest.raises(KeyboardInterrupt):
        fit(settings, Silent(stop_after=2))
    good = (settings.folder / "last.weights").read_bytes()
    cost = {"loss": lambda x: x * torch.nan, "gradient": lambda x: x.sqrt() * 0}[fault]

    def broken(runs: Sequence[HeadOutput], *_: object) -> LossSum:
        total = cost(runs[0].raw * 0).sum()
        return LossSum(total, total.detach() * 0 + 1, {"loss": total.detach()})

    monkeypatch.setattr(darknet, "CONFIG", replace(DARKNET, function=broken))
    message = r"the loss is not finite after iteration 2 \(loss nan\): .*last.weights has the last"
    with pytest.raises(NanError, match=message):
        fit(settings, Silent(), resume=True)
    assert (settings.folder / "last.weights").read_bytes() == good


def test_huge_learning_rate_is_diagnosed(config: Callable[..., TrainConfig]) -> None:
    text = PLAIN.replace("learning_rate=0.01", "learning_rate=1e30")
    with pytest.raises(NanError, match="after iteration") as caught:
        fit(config(text=text.replace("max_batches=4", "max_batches=40")), Silent())
    assert "lower the learning rate" in str(caught.value)
    assert not (config().folder / "last.weights").exists()


def test_boxes_beyond_those_that_a_picture_can_hold_are_told(
    config: Callable[..., TrainConfig], caplog: pytest.LogCaptureFixture
) -> None:
    settings = config(text=tiny.CFG.replace("num=2", "num=2\nmax=2"))
    most = max(len(sample.classes) for sample in settings.train.samples)
    with pytest.raises(KeyboardInterrupt):
        fit(settings, Silent(stop_after=1))
    told = "pictures have more boxes than the 2 that [yolo] max= lets a picture hold, such as "
    assert told in caplog.text
    assert f"with {most}: the others are not learned; set max={most}" in caplog.text


def test_large_pictures_are_decoded_at_a_part_of_their_size_unless_told(
    config: Callable[..., TrainConfig],
) -> None:
    usual = config()
    assert usual.factors is None and usual.identity()["decoding"] == "whole"
    columns = usual.train.columns
    large = Samples(columns._replace(sizes=columns.sizes * 20))
    scaled = config(train=replace(usual.train, samples=large))
    assert scaled.factors is not None and set(scaled.factors) <= {2, 4, 8}
    exact = replace(scaled, exact_decode=True)
    assert exact.factors is None
    assert exact.identity()["decoding"] != scaled.identity()["decoding"] == "scaled"


def test_resuming_another_run_is_refused(config: Callable[..., TrainConfig], data: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(config(), Silent(stop_after=1))
    others: dict[str, TrainConfig] = {
        "cfg": config(text=tiny.CFG.replace("decay=0.01", "decay=0.02")),
        "seed": config(seed=1),
        "data set": config(train=open_dataset(data, "val")),
        "batch norm momentum": config(bn_momentum=0.01),
    }
    for what, other in others.items():
        with pytest.raises(OptionError, match=f"the run has another {what}; resume with"):
            fit(other, Silent(), resume=True)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("hue=.1", "cutmix=1", r"\[net\] cutmix=1 without mosaic=1 is for classifiers"),
        ("hue=.1", "mixup=3", r"\[net\] mixup=3 is for classifiers; run with --set net.mixup=1"),
        ("batch=2", "batch=1", r"x\.cfg:23: \[convolutional\] batch norm of 1x1 maps .*--batch 2"),
        ("num=2", "num=2\ncounters_per_class=1,2", "has 2 numbers for 6 classes; give the number"),
        ("max_batches=4", "max_batches=0", r"max_batches=0; set it, or give --epochs"),
        ("size=1", "size=1\nsway=1", r"x\.cfg:31: \[convolutional\] sway=1 cannot be honoured"),
        ("max_batches=4", "max_batches=4\npolicy=step\nstep=0", "from step=0; set step"),
        ("mask=0,1", "mask=0,7", "mask=7 is not one of num=2 anchors; use masks from 0 to 1"),
    ],
)
def test_unsupported_keys_are_refused(
    old: str, new: str, message: str, config: Callable[..., TrainConfig]
) -> None:
    text = tiny.CFG.replace(old, new)
    if new == "batch=1":
        text = text.replace("width=64\nheight=64", "width=16\nheight=16")
    settings = config(network=loads(text, path="x.cfg"))
    with pytest.raises(CfgError, match=message):
        fit(settings, Silent())
    assert not settings.folder.exists()


def test_network_without_heads_is_refused(config: Callable[..., TrainConfig]) -> None:
    with pytest.raises(CfgError, match=r"no detection head, so no boxes; add a \[yolo\]"):
        fit(config(text=tiny.CFG.partition("[yolo]")[0]), Silent())


def test_adapted_heads_train(config: Callable[..., TrainConfig], data: Path) -> None:
    dataset = open_dataset(data, "train")
    ones = Dataset(
        names=("thing",),
        samples=tuple(replace(s, classes=np.zeros_like(s.classes)) for s in dataset.samples),
        split="train",
        path=dataset.path,
    )
    network: Network = passes.reclass(loads(tiny.CFG), 1)
    state = fit(config(network=network, train=ones), Silent())
    assert state.model.layers[2].conv.weight.shape[0] == 12
    assert json.dumps(state.loss) != "NaN"


# --- its length and its sizes


def options(text: str) -> Any:
    return loads(tiny.CFG.replace("max_batches=4", f"max_batches=1000\n{text}")).options


@pytest.mark.parametrize("factor", [0.25, 0.5, 2.0])
@pytest.mark.parametrize(
    "text",
    [
        "policy=constant",
        "policy=steps\nsteps=400,800\nscales=.1,.5",
        "policy=step\nstep=200\nscale=.5",
        "policy=exp\ngamma=.99",
        "policy=sigmoid\ngamma=.02\nstep=600",
        "policy=poly\npower=2",
        "policy=sgdr",
        "policy=sgdr\nsgdr_cycle=200\nsgdr_mult=2",
    ],
)
def test_scaled_schedule_keeps_its_shape(text: str, factor: float) -> None:
    before = options(f"{text}\nburn_in=40")
    after = stretched(before, round(1000 * factor))
    assert after.max_batches == 1000 * factor
    assert after.burn_in == min(40, 1000 * factor // 20)
    for iteration in range(100, 1001, 68):  # clear of burn-in and of the steps
        want = learning_rate(before, iteration)
        got = learning_rate(after, round(iteration * factor))
        assert got == pytest.approx(want, rel=0.03, abs=2e-5), iteration


def test_scaling_the_schedule_changes_no_other_key() -> None:
    before = options("policy=steps\nsteps=400\nscales=.1")
    after = stretched(before, 100)
    changed = {n for n in vars(before) if getattr(before, n) != getattr(after, n)}
    assert changed == {"max_batches", "steps", "sgdr_cycle"}  # the last is derived from the first


def test_schedule_without_max_batches_is_scaled() -> None:
    after = stretched(options("policy=sgdr").changed(max_batches=0), 50)
    assert (after.max_batches, after.sgdr_cycle) == (50, 50)


@pytest.mark.parametrize("random", [1.0, 1.2, 2.0])
def test_sizes_of_multi_scale_training(random: float) -> None:
    """One step is added after rounding; a smaller factor never leads beyond the own size."""
    net = options("").changed(width=416, height=320)
    reach = 1.4 if random == 1 else random
    largest = tuple(round(reach * side / 32 + 1) * 32 for side in (320, 416))
    rng = np.random.default_rng(0)
    seen = {input_size(net, random, iteration, rng) for iteration in range(10, 800)}
    assert len(seen) > 3
    for h, w in seen:
        assert h % 32 == w % 32 == 0
        assert 320 / reach <= h <= largest[0] and 416 / reach <= w <= largest[1]
    for iteration in (0, 9, 901, 999):
        assert input_size(net, random, iteration, rng) == largest
    assert input_size(net, 0, 5, rng) == (320, 416) == largest_size(net, 0)
    assert largest_size(net, random) == largest_size(net, 1 / reach) == largest


@pytest.mark.parametrize(
    ("pictures", "network", "workers", "told"),
    [
        (50.0, 50.0, 0, "50% of the time of an update is waiting for pictures, which this process"),
        (30.0, 70.0, 3, "30% of the time of an update .* give more --workers than 3"),
        (10.0, 90.0, 0, "^$"),
        (5.0, 5.0, 0, "^$"),
    ],
)
def test_a_run_that_waits_for_its_pictures_says_so(config, pictures, network, workers, told):
    configuration = config(workers=workers)
    state = initial_state(configuration)
    state.seconds |= {"pictures": pictures, "network": network}
    assert re.search(told, _waiting_warning(state, configuration))

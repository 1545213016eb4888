"""Several processes do what one does, and end together. As a script: processes that do so."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from ghostyolo import cli
from ghostyolo.data import Dataset, open_dataset
from ghostyolo.distributed import PeerError, World, joined, own_device
from ghostyolo.errors import DataError, OptionError
from ghostyolo.training.gradient import update_config
from ghostyolo.training.loop import fit
from support import processes, runs, tiny

ALIKE = 1e-4  # of a loss, and of the largest weight of a layer
CHANGES = (("batch=2", "batch=4"), ("subdivisions=1", "subdivisions=2"))
PLAIN = tiny.CFG.replace("batch_normalize=1\n", "").replace("max_batches=4", "max_batches=5")
DROPOUT = tiny.CFG.replace("[yolo]", "[dropout]\nprobability=.3\n\n[yolo]", 1)
for old, new in CHANGES:
    PLAIN, DROPOUT = PLAIN.replace(old, new), DROPOUT.replace(old, new)
# Without a rate: it is not to diverge while a test waits.
ENDLESS = PLAIN.replace("max_batches=5", "max_batches=100000").replace("rate=0.01", "rate=0")


# --- what the two processes do, each by itself, in the script


def talks(world: World, data: Path, folder: Path) -> None:
    """Add, average and gather, tensors of all shapes."""
    torch.manual_seed(world.rank)
    mine = [torch.rand(3, 4).t(), torch.rand(()), torch.rand(0), torch.rand(2, 3, 4, 4)]
    mine[3] = mine[3].to(memory_format=torch.channels_last)
    given = [tensor.clone() for tensor in mine]
    everyone = world.gather(given)
    world.total(mine)
    for own, *others in zip(mine, *everyone, strict=True):
        torch.testing.assert_close(own, others[0] + others[1])
    world.mean(mine)
    for own, *others in zip(mine, *everyone, strict=True):
        torch.testing.assert_close(own, others[0] + others[1])  # of equals
    assert world.gather(world.rank) == [0, 1]
    assert [world.any(flag) for flag in (False, world.rank == 1, True)] == [False, True, True]


def reads_once(world: World, data: Path, folder: Path) -> None:
    """Read on the first process of a machine; have its data set, or its error, on all."""
    read: list[int] = []

    def opened() -> Dataset:
        read.append(world.rank)
        return open_dataset(data, "val")

    def refused() -> Dataset:
        return open_dataset(data, "nothing")

    machine = {"LOCAL_RANK": str(world.rank)}
    found = world.once(opened, machine)
    assert read == [0] * (world.rank == 0) and repr(found) == repr(open_dataset(data, "val"))
    with pytest.raises(DataError, match="there is no split 'nothing'"):
        world.once(refused, machine)
    world.once(opened, {"LOCAL_RANK": "0"})  # each is the first on a machine of its own
    assert read[-1] == world.rank


def agrees(world: World, data: Path, folder: Path) -> None:
    """Have the same weights and running statistics in the end, with batch norm and dropout.

    And count what either has found wrong with a picture.
    """
    for number, text in enumerate((tiny.CFG.replace("batch=2", "batch=4"), DROPOUT)):
        config = runs.configured(data, folder / f"agrees{number}", text, loss="modern")
        config.train.add_defect(f"{world.rank}.jpg", "of one")
        config.train.add_defect("2.jpg", "of both")
        state = fit(config, runs.Silent(), world=world)
        assert config.train.defects == {"of one": 2, "of both": 1}
        a, b = world.gather({**state.model.state_dict(), "rows": state.rows, "parts": state.parts})
        assert runs.same(a, b)
        chances = world.gather(state.rng_state())
        assert not torch.equal(chances[0]["cpu"], chances[1]["cpu"])


def goes_on(world: World, data: Path, folder: Path) -> None:
    """Be interrupted as one by the wish of the second, and go on bit for bit."""
    val = runs.open_dataset(data, "val")
    config = runs.configured(data, folder / "parts", DROPOUT, loss="modern", val=val, val_every=1)
    try:
        fit(config, runs.Silent(stop_after=3 * world.rank), world=world)
        raise AssertionError("went on")
    except KeyboardInterrupt:
        pass
    state = fit(config, runs.Silent(), resume=True, world=world)
    whole = fit(replace(config, folder=folder / "whole"), runs.Silent(), world=world)
    assert runs.same(state.model.state_dict(), whole.model.state_dict())
    if world.first:
        assert runs.same(*(runs.checkpoint(folder / run) for run in ("parts", "whole")))


def is_left(world: World, data: Path, folder: Path) -> None:
    """Say so when the other one dies."""
    if world.rank == 1:
        os._exit(0)
    with pytest.raises(PeerError, match=r"another process of this run has stopped; look for its"):
        [world.total([torch.ones(3)]) for _ in range(10)]


SCENES: tuple[Callable[[World, Path, Path], None], ...] = (
    talks,
    reads_once,
    agrees,
    goes_on,
    is_left,
)


def play(data: Path, folder: Path) -> int:
    """Start two processes that go through all scenes; return how many failed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.set_num_threads(1)
    places = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    children = []
    for rank in (0, 1):
        child = os.fork()
        if not child:
            os.environ.update(places, RANK=str(rank))
            with joined("cpu") as world:
                for scene in SCENES:
                    scene(world, data, folder)
                    sys.stdout.write(f"{scene.__name__}\n")
                    sys.stdout.flush()
                os._exit(0)
        children.append(child)
    return sum(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 for child in children)


# --- commands of one process and of four, started by the script

FOUR = 4


def commands(data: Path, folder: Path, count: int) -> dict[str, list[object]]:
    """Return the words of each command: four processes have more pictures, or fewer, to share."""
    out = folder / f"of{count}"
    model = [folder / "tiny.cfg", folder / "tiny.weights"]
    training = ["--loss", "darknet", "--val-every", 1, "--workers", 0, "--project", out]
    detecting = ["--runtime", "torch", "--project", out, "--name"]
    files = ["--json", "--jsonl", out / "x.jsonl", "--csv", out / "x.csv", "--coco", out / "x.json"]
    few = sorted((data / "JPEGImages").iterdir())[0]
    return {
        "train": ["train", folder / "plain.cfg", data, *training],
        "val": ["val", *model, folder / "torn", "--runtime", "torch", "--json"],
        "detect": ["detect", *model, folder / "pictures", *detecting, "all", *files],
        "few": ["detect", *model, few, *detecting, "few"],
    }


def play_commands(data: Path, folder: Path) -> int:
    """Run the commands; print their exit codes."""
    torch.set_num_threads(1)
    for count in (1, FOUR):
        (folder / f"of{count}").mkdir()
        for name, words in commands(data, folder, count).items():
            children = processes.start(words, count, folder / f"{name}{count}")
            sys.stdout.write(f"{name} {processes.codes(children)}\n")
    return 0


def play_failures(data: Path, folder: Path) -> int:
    """Kill one of two processes that detect, then ask both to end; print the exit codes."""
    torch.set_num_threads(1)
    model = [folder / "tiny.cfg", folder / "tiny.weights"]
    for name, killed, number in (("killed", 1, signal.SIGKILL), ("asked", 2, signal.SIGTERM)):
        options = ["--runtime", "torch", "--project", folder, "--name", name]
        words = ["detect", *model, folder / "many", *options, "--jsonl", folder / f"{name}.jsonl"]
        children = processes.start(words, 2, folder / name)
        while not list((folder / name).glob("*.jpg")):
            time.sleep(0.01)
        for child in children[-killed:]:
            os.kill(child, number)
        sys.stdout.write(f"{name} {processes.codes(children)}\n")
    return 0


# --- the tests


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("distributed") / "shapes")


def torchrun(*words: object, command: str = "train", **options: Any) -> subprocess.Popen[str]:
    """Start two processes of a command."""
    start = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    line = [sys.executable, *start, "-m", "ghostyolo", command, *map(str, words)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(line, env=runs.variables(), text=True, **streams, **options)


def test_two_processes_agree_and_resume(data: Path, tmp_path: Path) -> None:
    lines = script(play, data, tmp_path)
    assert sorted(lines) == sorted(2 * [scene.__name__ for scene in SCENES[:4]] + ["is_left"])


def test_torchrun_trains_as_one_process_does(data: Path, tmp_path: Path) -> None:
    """Losses, weights and scores of five updates, on a network without batch norm."""
    (tmp_path / "tiny.cfg").write_text(PLAIN)
    words = (tmp_path / "tiny.cfg", data, "--project", tmp_path, "--val-every", "1")
    words = (*words, "--loss", "darknet", "--workers")
    process = torchrun(*words, "1", "--name", "two")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.count("last.weights") == 1  # one of them speaks
    assert err.count("train 5/5 iterations") == 1
    assert cli.main(["train", *map(str, words), "0", "--name", "one"]) == 0
    same_training(tmp_path / "one", tmp_path / "two")


def script(play: Callable[[Path, Path], int], data: Path, folder: Path) -> list[str]:
    """Run a function of this file in a process of its own; return the lines that it prints."""
    return processes.script(__file__, play.__name__, data, folder)


def test_four_processes_do_what_one_does(data: Path, tmp_path: Path) -> None:
    """Also with pictures that cannot be read, and with fewer pictures than processes."""
    (tmp_path / "plain.cfg").write_text(PLAIN)
    tiny.write(tmp_path)
    tiny.eager_weights(tmp_path)
    pictures, torn = tmp_path / "pictures", shutil.copytree(data, tmp_path / "torn")
    pictures.mkdir()
    for number, path in enumerate(sorted((data / "JPEGImages").iterdir())[:7]):
        shutil.copy(path, pictures / f"{number}.jpg")
    for path in (pictures / "2a.jpg", pictures / "6a.jpg", *torn.glob("JPEGImages/val*1.jpg")):
        path.write_text("broken")
    fine, failed = {count: str(count * [0]) for count in (1, FOUR)}, [1] + (FOUR - 1) * [0]
    expected = [
        f"{name} {fine[count] if name != 'detect' else failed[:count]}"
        for count in (1, FOUR)
        for name in ("train", "val", "detect", "few")
    ]
    assert script(play_commands, data, tmp_path) == expected
    one, four = tmp_path / "of1", tmp_path / f"of{FOUR}"
    same_training(one / "plain", four / "plain")
    for name in ("val", "detect"):
        assert (tmp_path / f"{name}1.0.out").read_text() == said(tmp_path, name, "out")
    assert said(tmp_path, "detect", "err").count("not a picture") == 2
    assert said(tmp_path, "val", "err").count("not a picture") == 1
    written = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    written = [path for path in written if path.parts[0] != "plain"]
    assert len(written) == 7 + 1 + 3 + 2  # pictures, detections.json, files; of few
    for path in written:
        assert (one / path).read_bytes() == (four / path).read_bytes(), path


def test_command_for_one_process_says_so_once(
    monkeypatch: pytest.MonkeyPatch, invoke: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    code, _, err = invoke("env")
    assert code == 1 and err.startswith("ghostyolo: env is for one process; start it without")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit, match="1"):
        invoke("env")


def said(folder: Path, name: str, ending: str) -> str:
    """Return what four processes wrote, one after another."""
    return "".join((folder / f"{name}{FOUR}.{n}.{ending}").read_text() for n in range(FOUR))


def same_training(one: Path, other: Path) -> None:
    """Compare losses, weights and scores of two runs of five updates."""
    a, b = runs.checkpoint(one), runs.checkpoint(other)
    assert a["iteration"] == b["iteration"] == 5
    for mine, its in zip(a["rows"], b["rows"], strict=True):
        assert mine == pytest.approx(its, rel=ALIKE, abs=ALIKE)
    assert a["parts"] == pytest.approx(b["parts"], rel=ALIKE)
    for name, tensor in a["model"].items():
        apart = (tensor - b["model"][name]).abs().max() / tensor.abs().max()
        assert apart < ALIKE, name


def test_detection_that_is_killed_or_asked_to_end_leaves_nothing_half_written(
    data: Path, tmp_path: Path
) -> None:
    tiny.write(tmp_path)
    tiny.eager_weights(tmp_path)
    (tmp_path / "many").mkdir()
    path = next((data / "JPEGImages").iterdir())
    for number in range(200):
        os.link(path, tmp_path / "many" / f"{number}.jpg")
    assert script(play_failures, data, tmp_path) == ["killed [1, -9]", "asked [143, 143]"]
    lost = (tmp_path / "killed.0.err").read_text()
    assert lost.endswith("start again; a training goes on with --resume\n")
    for rank in (0, 1):
        assert "ghostyolo: interrupted by SIGTERM\n" in (tmp_path / f"asked.{rank}.err").read_text()
    assert not list((tmp_path / "asked").glob("*.part"))
    assert not (tmp_path / "killed.jsonl").exists()


def test_signal_to_torchrun_saves_the_run(data: Path, tmp_path: Path) -> None:
    """And what it saved is whole: the weights are those of the checkpoint."""
    (tmp_path / "tiny.cfg").write_text(ENDLESS)
    words = (tmp_path / "tiny.cfg", data, "--project", tmp_path, "--val-split", "none")
    process = torchrun(*words, "--save-every", "5", "--workers", "0")
    wait_for(tmp_path / "tiny/checkpoint.pt", process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert f"ghostyolo: --resume continues {tmp_path / 'tiny'}" in err
    assert runs.checkpoint(tmp_path / "tiny")["iteration"] >= 5


def test_error_of_one_process_ends_all(data: Path, tmp_path: Path) -> None:
    """Killed, not asked: its peer says what happened and torchrun fails."""
    (tmp_path / "tiny.cfg").write_text(ENDLESS)
    words = (tmp_path / "tiny.cfg", data, "--project", tmp_path, "--val-split", "none")
    process = torchrun(*words, "--save-every", "5", "--workers", "0")
    wait_for(tmp_path / "tiny/checkpoint.pt", process)
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True)
    os.kill(int(listed.stdout.split()[-1]), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "ghostyolo: another process of this run has stopped; look for its error above" in err
    assert runs.checkpoint(tmp_path / "tiny")["iteration"] >= 5


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    """Wait until a process has written a file."""
    end = time.monotonic() + 180
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)


# --- one process


def test_a_single_process_changes_nothing() -> None:
    world, tensor = World(), torch.rand(3)
    before = tensor.clone()
    world.total([tensor])
    world.mean([tensor])
    assert torch.equal(tensor, before)
    assert (world.gather("a"), world.any(True), world.any(False)) == (["a"], True, False)
    with joined("cpu", {}) as alone:
        assert alone == World(device="cpu")


def test_each_process_has_a_device_of_its_machine() -> None:
    two = {"WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    assert own_device("cpu", two) == "cpu"
    assert own_device("cuda", {}) == "cuda"
    with pytest.raises(OptionError, match="the variable WORLD_SIZE is 'two', not a number"):
        own_device("cuda", {"WORLD_SIZE": "two"})
    if torch.cuda.device_count() < 2:
        with pytest.raises(OptionError, match=r"process 2 of \d GPUs; start"):
            own_device("cuda", two)


@pytest.mark.parametrize(
    ("batch", "subdivisions", "size", "passes"),
    [
        (64, 16, 1, 16),
        (64, 16, 4, 4),
        (64, 16, 16, 1),
        (64, 16, 64, 1),
        (64, 1, 8, 1),
        (8, 8, 2, 4),
    ],
)
def test_forward_passes_are_no_larger_than_in_one_process(
    batch: int, subdivisions: int, size: int, passes: int, data: Path, tmp_path: Path
) -> None:
    text = tiny.CFG.replace("batch=2", f"batch={batch}")
    text = text.replace("subdivisions=1", f"subdivisions={subdivisions}")
    step = update_config(runs.configured(data, tmp_path, text), World(0, size))
    assert step.subdivisions == passes
    assert batch // size // passes <= batch // subdivisions


@pytest.mark.parametrize(("batch", "subdivisions", "size"), [(4, 1, 3), (12, 6, 4)])
def test_batch_that_cannot_be_divided_is_refused(
    batch: int, subdivisions: int, size: int, data: Path, tmp_path: Path
) -> None:
    text = tiny.CFG.replace("batch=2", f"batch={batch}")
    text = text.replace("subdivisions=1", f"subdivisions={subdivisions}")
    with pytest.raises(OptionError, match=f"{size} processes cannot share a batch of {batch}"):
        update_config(runs.configured(data, tmp_path, text), World(0, size))


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](*map(Path, sys.argv[2:])))

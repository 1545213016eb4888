"""Check on a GPU what is only tested on CPUs: python tools/check_gpu.py [--out docs/gpu.md].

Trains a GhostNet detector on painted pictures for a few updates in each precision, compiled, twice
over, and with batch norm over all processes; compares losses, average precision, speed and memory.
Prints a table in Markdown: each line is a check that passed or failed, or a figure; below it stands
what was not checked. Takes some minutes. `--device cpu` runs the same at a tiny size, which is how
this file is tested.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
import torch
from torch import nn

from ghostyolo.augment.batches import Batches
from ghostyolo.data import open_dataset
from ghostyolo.evaluation.validation import validate
from ghostyolo.model.model import Model
from ghostyolo.network import passes
from ghostyolo.runtime import pytorch
from ghostyolo.sample_data.painter import write_dataset
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.loop import fit
from ghostyolo.training.state import State
from ghostyolo.zoo.ghostnet import GhostNet
from ghostyolo.zoo.networks import detector

# Relative difference of the smoothed loss from that in float32. Three seeds of `--device cpu` were
# up to .0022 apart in bf16, and .054 in fp16, which misses the updates that overflow at first.
CLOSE = {"bf16": 0.01, "fp16": 0.1, "compiled": 0.01}
SAME_AP = 1e-3  # difference of AP on CPU and GPU
SAME_OUTPUT = 1e-2  # of the outputs, relative to the largest: a GPU rounds to TF32
SAME_NORM = 1e-3  # difference of an output with batch norm over all processes, relative
GPU_BATCHES, CPU_BATCHES = (8, 16, 32, 64), (1, 2)


class Line(NamedTuple):
    """A line of the table. good: whether a check passed; None for a figure. checked: else why."""

    name: str
    text: str
    good: bool | None = None
    checked: bool = True

    @property
    def verdict(self) -> str:
        if not self.checked:
            return "not checked"
        return {True: "pass", False: "**fail**", None: "figure"}[self.good]


@dataclass(frozen=True)
class Bench:
    """What the checks share. config: of a short run, in float32."""

    config: TrainConfig
    device: str
    batches: tuple[int, ...]

    @property
    def gpu(self) -> bool:
        return torch.device(self.device).type == "cuda"

    def wait(self) -> None:
        """Wait until the GPU has computed everything."""
        if self.gpu:
            torch.cuda.synchronize()

    def run(self, **changes: object) -> State:
        """Return the state at the end of the run with these changes of its configuration."""
        with tempfile.TemporaryDirectory() as folder:
            config = replace(self.config, folder=Path(folder) / "run", **changes)  # type: ignore[arg-type]
            return fit(config)

    def per_second(self, step: Callable[[], object], pictures: int, times: int = 10) -> float:
        """Return the pictures per second of a step."""
        for _ in range(2):
            step()
        self.wait()
        begin = time.perf_counter()
        for _ in range(times):
            step()
        self.wait()
        return pictures * times / (time.perf_counter() - begin)


def main(words: list[str] | None = None) -> int:
    """Print the table; return 1 if a check failed, or without a GPU."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--device", default="cuda", help="cuda, cuda:1 ... or cpu (cuda)")
    p.add_argument("--skip", nargs="*", default=[], choices=CHECKS, help="leave these checks out")
    p.add_argument("--out", metavar="FILE.md", help="also write the table there")
    args = p.parse_args(words)
    if args.device != "cpu" and not torch.cuda.is_available():
        print("check_gpu: torch finds no GPU here; --device cpu tries this program on a CPU")
        return 1
    lines = [Line("machine", machine(args.device))]
    with tempfile.TemporaryDirectory() as folder:
        bench = prepared(Path(folder), args.device)
        for name, check in CHECKS.items():
            if name in args.skip:
                lines.append(Line(name, "left out by --skip", checked=False))
            else:
                lines += tried(name, check, bench)
    text = "\n".join(table(lines))
    print(text)
    if args.out:
        Path(args.out).write_text(f"# What was measured on a GPU\n\n`{command()}`\n\n{text}\n")
    return int(any(line.good is False for line in lines))


def command() -> str:
    return " ".join(["python tools/check_gpu.py", *sys.argv[1:]])


def machine(device: str) -> str:
    name = platform.processor() or platform.machine()
    if torch.device(device).type == "cuda":
        name = torch.cuda.get_device_name(device)
    return f"{name}, torch {torch.__version__}, Python {platform.python_version()}"


def prepared(folder: Path, device: str) -> Bench:
    """Paint pictures and return a short run of a detector on them."""
    large = torch.device(device).type == "cuda"
    side, batch, updates, count = (416, 16, 30, 64) if large else (96, 4, 30, 16)
    data = write_dataset(folder / "data", {"train": count, "val": count // 2}, size=(240, 320))
    network = detector(GhostNet(width=1.0 if large else 0.25), classes=6, size=(side, side))
    options = network.options.changed(batch=batch, subdivisions=1, max_batches=updates)
    network = passes.rebuild(network, options=options)
    config = TrainConfig(network, open_dataset(data, "train"), None, folder / "run", device=device)
    shown = open_dataset(data, "val")
    return Bench(replace(config, val=shown), device, GPU_BATCHES if large else CPU_BATCHES)


def tried(name: str, check: Callable[[Bench], Iterator[Line]], bench: Bench) -> Iterator[Line]:
    """Yield the lines of a check; an error is a line too."""
    print(f"check_gpu: {name}", file=sys.stderr)
    try:
        yield from check(bench)
    except Exception as error:  # whatever a driver or library raises
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        yield Line(name, text.replace("|", "/"), False)


def precisions(bench: Bench) -> Iterator[Line]:
    """Compare the loss after some updates with that in float32."""
    exact = bench.run(val=None).loss
    yield Line("loss, float32", f"{exact:.4f}", math.isfinite(exact))
    for amp in ("bf16", "fp16"):
        yield compared(amp, bench.run(val=None, amp=amp).loss, exact)


def compiled(bench: Bench) -> Iterator[Line]:
    """Compare the loss of the compiled forward pass."""
    if not bench.gpu:
        yield Line("loss, compiled", "to compile for a CPU takes minutes", checked=False)
        return
    exact = bench.run(val=None).loss
    yield compared("compiled", bench.run(val=None, compile=True).loss, exact)


def compared(how: str, loss: float, exact: float) -> Line:
    apart = abs(loss - exact) / abs(exact)
    text = f"{loss:.4f}, {100 * apart:.2f} % from float32"
    return Line(f"loss, {how}", text, apart <= CLOSE[how])


def determinism(bench: Bench) -> Iterator[Line]:
    """Train twice. Runs on a GPU need not be equal to the bit, so that is a figure there."""
    first, second = (bench.run(val=None).model.state_dict() for _ in range(2))
    apart = max(float((first[k].float() - second[k].float()).abs().max()) for k in first)
    text = "equal to the bit" if apart == 0 else f"weights differ by up to {apart:.2g}"
    yield Line("two equal runs", text, None if bench.gpu and apart else apart == 0)


def memory_formats(bench: Bench) -> Iterator[Line]:
    """Time forward and backward passes with channels last and first."""
    network, batch = bench.config.network, bench.config.batch
    for name, kind in (("last", torch.channels_last), ("first", torch.contiguous_format)):
        model = Model(network).train().to(bench.device, memory_format=kind)  # type: ignore[call-overload]
        x = torch.rand(batch, *network.options.shape, device=bench.device)
        x = x.to(memory_format=kind)
        speed = bench.per_second(lambda m=model, x=x: total(m, x).backward(), batch)  # type: ignore[misc]
        yield Line(f"forward and backward, channels {name}", f"{speed:.1f} pictures/s")


def total(model: Model, x: torch.Tensor) -> torch.Tensor:
    """Return the sum of a model's outputs."""
    outputs = model.run(x, frozenset(model.output_indices)).values()
    return torch.stack([output.float().sum() for output in outputs]).sum()


def shared_batch_norm(bench: Bench) -> Iterator[Line]:
    """Compare batch norm over all processes, of which there is one, with the ordinary one."""
    if not bench.gpu:
        text = "torch has it on GPUs only"
        yield Line("batch norm over all processes", text, checked=False)
        return
    torch.manual_seed(0)
    model = Model(bench.config.network).train().to(bench.device)
    x = torch.rand(4, *bench.config.network.options.shape, device=bench.device)
    with torch.no_grad(), one_process():
        plain = float(total(model, x))
        shared = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        apart = abs(float(total(shared, x)) - plain) / abs(plain)
    yield Line("batch norm over all processes", f"outputs {apart:.2g} apart", apart <= SAME_NORM)


@contextlib.contextmanager
def one_process() -> Iterator[None]:
    """Join a process group of one."""
    distributed = torch.distributed
    distributed.init_process_group("nccl", rank=0, world_size=1, store=distributed.HashStore())
    try:
        yield
    finally:
        distributed.destroy_process_group()


def speeds(bench: Bench) -> Iterator[Line]:
    """Measure training and inference beside what the loader can feed."""
    config, size = bench.config, bench.config.network.options.size
    state = bench.run(val=None, amp="auto")
    count = config.batch * config.iterations
    yield Line("training, network alone", f"{count / state.seconds['network']:.1f} pictures/s")
    for workers in (0, 4) if bench.gpu else (0,):
        batches = Batches(config.train, config.augmentation, config.batch, size, workers=workers)
        begin, updates = time.perf_counter(), 10 if bench.gpu else 2
        for _ in batches.iterate(0, updates):
            pass
        speed = config.batch * updates / (time.perf_counter() - begin)
        yield Line(f"loader alone, {workers} workers, with their start", f"{speed:.1f} pictures/s")
    backend = pytorch.open_model(Model(config.network), bench.device)
    for batch in bench.batches:
        images = np.zeros((batch, *config.network.options.shape), np.float32)
        speed = bench.per_second(lambda x=images: backend.compute(x), batch)  # type: ignore[misc]
        yield Line(f"inference of {batch} in float32", f"{speed:.1f} pictures/s")


def memory(bench: Bench) -> Iterator[Line]:
    """Measure the memory of an update by its batch size."""
    if not bench.gpu:
        yield Line("memory of training", "torch counts it on GPUs only", checked=False)
        return
    network = bench.config.network
    for batch in bench.batches:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        options = network.options.changed(batch=batch, max_batches=2)
        bench.run(val=None, network=passes.rebuild(network, options=options))
        peak = torch.cuda.max_memory_allocated() / 1e6
        yield Line(f"memory of training, batch {batch}, float32", f"{peak:.0f} MB")


def accuracy(bench: Bench) -> Iterator[Line]:
    """Compare the outputs and the average precision of CPU and GPU with the same weights."""
    name = "AP and outputs on CPU and GPU"
    if not bench.gpu:
        yield Line(name, "there is one device", checked=False)
        return
    assert bench.config.val is not None
    model = bench.run(val=None).model.eval()
    x = torch.rand(1, *bench.config.network.options.shape)
    found, scores = [], []
    for device in ("cpu", bench.device):
        model.to(device)
        with torch.no_grad():
            outputs = model.run(x.to(device), frozenset(model.output_indices)).values()
        found.append(torch.cat([output.flatten().float().cpu() for output in outputs]))
        scores.append(validate(model, bench.config.val).scores["AP"])
    apart = float((found[0] - found[1]).abs().max() / found[0].abs().max())
    good = apart <= SAME_OUTPUT and abs(scores[0] - scores[1]) <= SAME_AP
    yield Line(name, f"{scores[0]:.5f} and {scores[1]:.5f}, outputs {apart:.2g} apart", good)


CHECKS: dict[str, Callable[[Bench], Iterator[Line]]] = {
    "precisions": precisions,
    "compiled": compiled,
    "determinism": determinism,
    "memory-formats": memory_formats,
    "shared-batch-norm": shared_batch_norm,
    "speeds": speeds,
    "memory": memory,
    "accuracy": accuracy,
}


def table(lines: list[Line]) -> Iterator[str]:
    """Yield the rows of a Markdown table, and a line with what was not checked."""
    yield "| check | result | |"
    yield "|---|---|---|"
    for line in lines:
        yield f"| {line.name} | {line.text} | {line.verdict} |"
    if left := [line.name for line in lines if not line.checked]:
        yield f"\nNot checked: {', '.join(left)}."


if __name__ == "__main__":
    raise SystemExit(main())

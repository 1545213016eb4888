"""How fast a network runs here in each installed runtime, against what the machine could do."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from ghostyolo.bench import foreign_onnx, process, roofline
from ghostyolo.bench.process import Process, Task
from ghostyolo.bench.roofline import Bound
from ghostyolo.errors import GhostyoloError, OptionError, Span
from ghostyolo.network import loads
from ghostyolo.network.cost import Machine
from ghostyolo.runtime.registry import RUNTIMES, check_name, installed_version, is_exported

SECONDS = 5.0


@dataclass(frozen=True)
class Settings:
    """What to measure. source: a cfg, with random weights where none are given, or an export.

    runtimes: () for all that are installed. seconds: of runs of each. against: any other ONNX file.
    layers: whether to time each layer of a cfg in torch.
    """

    source: str
    weights: str | None = None
    size: tuple[int, int] | None = None
    batch: int = 1
    threads: int = 1
    runtimes: tuple[str, ...] = ()
    seconds: float = SECONDS
    against: str | None = None
    layers: bool = False

    def task(self, what: str, runtime: str = "torch") -> Task:
        """Return the task of one runtime."""
        return Task(what, runtime, self.source, self.weights, self.size, self.batch, self.threads)


@dataclass(frozen=True)
class RuntimeResult:
    """The times of a batch in a runtime, in seconds. error: why it did not run, if it did not.

    cpu_s: processor time of a batch, of all threads, which other load changes little. start_s: from
    a cold process to its first result, with the cfg already exported. peak_bytes: the peak memory,
    grown_bytes: how much of that came after its imports. roofline: the machine's least time over
    the median.
    """

    program: str
    version: str
    error: str = ""
    start_s: float = 0.0
    median_s: float = 0.0
    p90_s: float = 0.0
    least_s: float = 0.0
    cpu_s: float = 0.0
    pictures_per_s: float = 0.0
    peak_bytes: int = 0
    grown_bytes: int = 0
    roofline: float | None = None
    runs: int = 0


@dataclass(frozen=True)
class LayerResult:
    """A layer's least time on this machine, and torch's time if it was measured."""

    bound: Bound
    seconds: float | None = None


@dataclass(frozen=True)
class Report:
    """All that was measured. others: the other file's `rows`. ratios: our time over the other
    file's, by runtime: a pair, by the clock and in processor time. least_bytes: the memory that
    every program needs, see `roofline.least_bytes`.
    """

    source: str
    shape: tuple[int, ...]
    threads: int
    machine: Machine
    least_bytes: int
    rows: tuple[RuntimeResult, ...]
    layers: tuple[LayerResult, ...] = ()
    timed: bool = False
    against: str = ""
    others: tuple[RuntimeResult, ...] = ()
    ratios: dict[str, tuple[float, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the report for a program to read, with sums."""
        bounds = [layer.bound for layer in self.layers]
        sums = {
            "least_s": roofline.least_seconds(bounds),
            "memory_share": roofline.memory_share(bounds),
        }
        return {**asdict(self), **sums}


Attempts = dict[str, "Process | GhostyoloError"]  # by runtime


def measure(settings: Settings) -> Report:
    """Measure the runtimes in turns, each in a process of its own.

    Raises `OptionError` if none of them runs the source.
    """
    names = _runtimes(settings)
    with ExitStack() as stack:
        inside = _start(stack, settings.task("layers" if settings.layers else "machine"))
        if isinstance(inside, GhostyoloError):
            raise inside
        attempts = _start_runtimes(stack, settings, names)
        ours = _running(attempts)
        if not ours:
            raise OptionError("; ".join(dict.fromkeys(map(str, attempts.values()))))
        shape = tuple(next(iter(ours.values())).answer["shape"])
        other_attempts = _start_others(stack, settings, shape, list(ours))
        others = _running(other_attempts)
        process.run_in_turns([*ours.values(), *others.values()], settings.seconds)
        machine, seconds = inside.machine(), inside.answer["layers"]
    network = loads(next(iter(ours.values())).answer["cfg"])
    bounds = roofline.bounds(network, machine, shape[0])
    return Report(
        source=settings.source,
        shape=shape,
        threads=settings.threads,
        machine=machine,
        least_bytes=roofline.least_bytes(network, shape[0]),
        rows=_results(attempts, roofline.least_seconds(bounds)),
        layers=tuple(map(LayerResult, bounds, seconds or [None] * len(bounds))),
        timed=settings.layers,
        against=settings.against or "",
        others=_results(other_attempts, None),
        ratios=_ratios(ours, others),
    )


def _runtimes(settings: Settings) -> list[str]:
    """Return the runtimes that were asked for, or all that are installed.

    Raises `OptionError` for an unknown one, for layers of an exported file, and if the other file
    is missing.
    """
    if settings.layers and is_exported(settings.source):
        message, hint = "only layers of a cfg are timed", "leave --layers out"
        raise OptionError(message, span=Span(settings.source), hint=hint)
    if settings.against and not Path(settings.against).is_file():
        raise OptionError("no such file", span=Span(settings.against), hint="give an ONNX file")
    for name in settings.runtimes:
        check_name(name)
    return list(settings.runtimes or filter(installed_version, RUNTIMES))


def _start(stack: ExitStack, task: Task) -> Process | GhostyoloError:
    """Start a process, or return the reason why it does not run."""
    try:
        return stack.enter_context(closing(Process(task)))
    except GhostyoloError as error:
        return error


def _start_runtimes(stack: ExitStack, settings: Settings, names: Sequence[str]) -> Attempts:
    """Start the runtimes on the source one after the other."""
    found: Attempts = {}
    exporting = not is_exported(settings.source)
    for name in names:
        task = settings.task("network", name)
        if exporting and name != "torch":
            with ExitStack() as once:
                found[name] = _start(once, task)  # whose export no later start includes
            if exporting := isinstance(found[name], GhostyoloError):
                continue
        found[name] = _start(stack, task)
    return found


def _start_others(
    stack: ExitStack, settings: Settings, shape: Sequence[int], ours: Sequence[str]
) -> Attempts:
    """Start the other file, with an input of the same shape, in the runtimes that ran ours.

    Raises `OptionError` if none of them runs any ONNX file.
    """
    if settings.against is None:
        return {}
    names = [name for name in ours if name in foreign_onnx.RUNTIMES]
    if not names:
        message = f"nothing here runs both files in {' or '.join(foreign_onnx.RUNTIMES)}"
        raise OptionError(message, hint=RUNTIMES["onnxruntime"].install)
    (batch, _, *size), threads = shape, settings.threads
    against = settings.against
    return {
        name: _start(stack, Task("file", name, against, None, (size[0], size[1]), batch, threads))
        for name in names
    }


def _running(attempts: Attempts) -> dict[str, Process]:
    return {name: found for name, found in attempts.items() if isinstance(found, Process)}


def _results(attempts: Attempts, least: float | None) -> tuple[RuntimeResult, ...]:
    return tuple(
        _result(name, found, least)
        if isinstance(found, Process)
        else RuntimeResult(name, installed_version(name) or "", error=str(found))
        for name, found in attempts.items()
    )


def _result(name: str, measured: Process, least: float | None) -> RuntimeResult:
    times = measured.times
    return RuntimeResult(
        program=name,
        version=installed_version(name) or "",
        start_s=measured.start_s,
        median_s=measured.median_s,
        p90_s=times[len(times) * 9 // 10],
        least_s=times[0],
        cpu_s=median(one.cpu_s for one in measured.rounds),
        pictures_per_s=measured.task.batch * len(times) / sum(times),
        peak_bytes=measured.peak_bytes,
        grown_bytes=measured.grown_bytes,
        roofline=least / measured.median_s if least else None,
        runs=len(times),
    )


def _ratios(ours: dict[str, Process], others: dict[str, Process]) -> dict[str, tuple[float, float]]:
    """Return our time over theirs in each runtime, and of the fastest of both as "best"."""
    found = {name: process.ratio(ours[name], other) for name, other in others.items()}
    if others:
        fastest = (min(side.values(), key=lambda each: each.median_s) for side in (ours, others))
        found["best"] = process.ratio(*fastest)
    return found

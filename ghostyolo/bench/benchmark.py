"""How fast a network runs here in each installed runtime, against what the machine could do."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from ghostyolo.bench import foreign_onnx, interleave, roofline
from ghostyolo.bench.interleave import Process
from ghostyolo.bench.roofline import Bound
from ghostyolo.bench.task import Task
from ghostyolo.errors import GhostyoloError, OptionError, Span
from ghostyolo.network import loads
from ghostyolo.network.cost import Machine
from ghostyolo.runtime.registry import installed_versions, is_exported

__all__ = ["Layer", "Report", "Row", "Settings", "measure"]

SECONDS = 5.0


@dataclass(frozen=True)
class Settings:
    """What to measure. source: a cfg, with random weights where none are given, or an export.

    programs: runtimes, () for all that are installed. seconds: of runs of each. against: any other
    ONNX file. layers: whether to time each layer of a cfg in torch.
    """

    source: str
    weights: str | None = None
    size: tuple[int, int] | None = None
    batch: int = 1
    threads: int = 1
    programs: tuple[str, ...] = ()
    seconds: float = SECONDS
    against: str | None = None
    layers: bool = False

    def task(self, what: str, program: str = "torch") -> Task:
        """Return the task of one program."""
        source, weights, size = self.source, self.weights, self.size
        return Task(what, program, source, weights, size, self.batch, self.threads)


@dataclass(frozen=True)
class Row:
    """A program: times of a batch in seconds, the rest as it says, error: why it did not run.

    cpu_s: processor time of a batch, of all threads, which other programs' load changes little.
    start_s: from a cold process to its first result, with the cfg already exported. peak_bytes: the
    most memory that it held, grown_bytes: how much of that came after its imports. roofline: the
    machine's least time as a share of the median.
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
class Layer:
    """A layer's least time on this machine and the time that torch takes, where it was measured."""

    bound: Bound
    seconds: float | None = None


@dataclass(frozen=True)
class Report:
    """All that was measured. ratios: our time over the other file's, by program.

    Each is a pair: by the clock, and in processor time. least_bytes: what no program can do
    without, see `roofline.least_bytes`.
    """

    source: str
    shape: tuple[int, ...]
    threads: int
    machine: Machine
    least_bytes: int
    rows: tuple[Row, ...]
    layers: tuple[Layer, ...] = ()
    timed: bool = False
    against: str = ""
    others: tuple[Row, ...] = ()
    ratios: dict[str, tuple[float, float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the report for a program to read, with sums."""
        bounds = [layer.bound for layer in self.layers]
        sums = {
            "least_s": roofline.least_seconds(bounds),
            "memory_share": roofline.memory_share(bounds),
        }
        return {**asdict(self), **sums}


def measure(settings: Settings) -> Report:
    """Measure the runtimes in turns, each in a process of its own.

    Raises `OptionError` where none of them runs the source.
    """
    programs = _programs(settings)
    with ExitStack() as stack:
        inside = Process(settings.task("layers" if settings.layers else "machine"))
        stack.enter_context(closing(inside))
        ours = _processes(stack, settings, programs, "network")
        running = _running(ours)
        if not running:
            reasons = dict.fromkeys(str(error) for error in ours.values())
            raise OptionError("; ".join(reasons))
        shape = tuple(next(iter(running.values())).opened["shape"])
        other = _other(settings, shape)
        others = _processes(stack, other, _compared(ours), "file") if other else {}
        interleave.in_turns([*running.values(), *_running(others).values()], settings.seconds)
        machine = _best(Machine(**inside.opened["machine"]), inside.machine())
    network = loads(next(iter(running.values())).opened["cfg"])
    bounds = roofline.bounds(network, machine, shape[0])
    least = roofline.least_seconds(bounds)
    return Report(
        source=settings.source,
        shape=shape,
        threads=settings.threads,
        machine=machine,
        least_bytes=roofline.least_bytes(network, shape[0]),
        rows=_rows(ours, least),
        layers=_layers(bounds, inside.opened["layers"]),
        timed=settings.layers,
        against=settings.against or "",
        others=_rows(others, None),
        ratios=_ratios(running, _running(others)),
    )


def _best(one: Machine, other: Machine) -> Machine:
    """Return what the machine did best, before the runs or after them: it may do other things."""
    return Machine(
        macs_per_s=max(one.macs_per_s, other.macs_per_s),
        bytes_per_s=max(one.bytes_per_s, other.bytes_per_s),
        call_s=min(one.call_s, other.call_s),
    )


Attempts = dict[str, "Process | GhostyoloError"]


def _programs(settings: Settings) -> list[str]:
    """Return the runtimes that were asked for, or all that are installed.

    Raises `OptionError` for one that there is not, or for layers of an exported file.
    """
    known = installed_versions()
    if settings.layers and not _is_cfg(settings):
        message, hint = "only layers of a cfg are timed", "leave --layers out"
        raise OptionError(message, span=Span(settings.source), hint=hint)
    for name in settings.programs:
        if name not in known:
            raise OptionError(f"no runtime '{name}'", hint=f"use {', '.join(known)}")
    return list(settings.programs or (name for name, version in known.items() if version))


def _processes(
    stack: ExitStack, settings: Settings, programs: Sequence[str], what: str
) -> Attempts:
    """Start the programs one after the other; keep the error of one that does not run."""
    found: Attempts = {}
    exports = what == "network" and _is_cfg(settings)
    for program in programs:
        task = settings.task(what, program)
        try:
            if exports and program != "torch":
                interleave.once(task)  # leaves in the cache what this and others read
                exports = False
            found[program] = stack.enter_context(closing(Process(task)))
        except GhostyoloError as error:
            found[program] = error
    return found


def _is_cfg(settings: Settings) -> bool:
    return not is_exported(settings.source)


def _running(attempts: Attempts) -> dict[str, Process]:
    return {name: found for name, found in attempts.items() if isinstance(found, Process)}


def _other(settings: Settings, shape: Sequence[int]) -> Settings | None:
    """Return the settings for the other file, of the same input. Raises `OptionError`."""
    if settings.against is None:
        return None
    if not Path(settings.against).is_file():
        raise OptionError("no such file", span=Span(settings.against), hint="give an ONNX file")
    h, w = shape[2:]
    return replace(settings, source=settings.against, weights=None, size=(h, w), batch=shape[0])


def _compared(ours: Attempts) -> list[str]:
    """Return the programs that both files run in. Raises `OptionError` if there is none."""
    found = [name for name in _running(ours) if name in foreign_onnx.PROGRAMS]
    if not found:
        hint = "pip install 'ghostyolo[onnx]'"
        raise OptionError(
            f"nothing here runs both files in {' or '.join(foreign_onnx.PROGRAMS)}", hint=hint
        )
    return found


def _rows(attempts: Attempts, least: float | None) -> tuple[Row, ...]:
    versions = installed_versions()
    return tuple(
        _row(found, versions[name] or "", least)
        if isinstance(found, Process)
        else Row(name, versions[name] or "", error=str(found))
        for name, found in attempts.items()
    )


def _row(process: Process, version: str, least: float | None) -> Row:
    times = process.times
    middle = times[len(times) // 2]
    return Row(
        program=process.task.program,
        version=version,
        start_s=process.start_s,
        median_s=middle,
        p90_s=times[len(times) * 9 // 10],
        least_s=times[0],
        cpu_s=median(one.cpu_s for one in process.rounds),
        pictures_per_s=process.task.batch * len(times) / sum(times),
        peak_bytes=process.peak_bytes,
        grown_bytes=process.grown_bytes,
        roofline=least / middle if least else None,
        runs=len(times),
    )


def _layers(bounds: Sequence[Bound], seconds: Sequence[float] | None) -> tuple[Layer, ...]:
    """Return the bounds, with the times of torch where they were measured."""
    return tuple(map(Layer, bounds, seconds) if seconds else map(Layer, bounds))


def _ratios(ours: dict[str, Process], others: dict[str, Process]) -> dict[str, tuple[float, float]]:
    """Return our time over theirs in each program, and of the fastest of both as "best"."""
    found = {name: interleave.ratio(ours[name], other) for name, other in others.items()}
    if others:
        fastest = [
            min(side.values(), key=lambda p: p.times[len(p.times) // 2]) for side in (ours, others)
        ]
        found["best"] = interleave.ratio(*fastest)
    return found

"""The benchmark: a network in each installed runtime, and the roofline of this machine."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any

import torch

from ghostyolo.bench import foreign_onnx, layer_times, machine, process, roofline
from ghostyolo.bench.process import Process, Settings
from ghostyolo.bench.roofline import Bound
from ghostyolo.errors import GhostyoloError, OptionError, Span
from ghostyolo.network import loads
from ghostyolo.network.cost import Machine
from ghostyolo.runtime.registry import RUNTIMES, check_name, installed_version, is_exported, readers


@dataclass(frozen=True)
class RuntimeResult:
    """The times of a batch in a runtime, in seconds.

    error: why the runtime failed, else "". start_s: from the start of the process to its first
    result, with the cfg already exported. cpu_s: processor time of a batch, of all threads; other
    load changes it little. peak_bytes: the peak memory; grown_bytes: how much of that came after
    the imports. roofline: the least time by the machine's roofline over the median.
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
    """The least time of a layer by the roofline, and its time in torch if that was measured."""

    bound: Bound
    seconds: float | None = None


@dataclass(frozen=True)
class Report:
    """The results of a benchmark.

    shape: (N, C, h, w) of the input. least_bytes: see `roofline.least_bytes`. timed: whether the
    layers were timed in torch. others: the results of the other file. ratios: by runtime, our time
    over the other file's: wall-clock time and processor time; "best" compares the fastest of each.
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
        """Return the report with sums over the layers, for JSON."""
        bounds = [layer.bound for layer in self.layers]
        sums = {
            "least_s": roofline.least_seconds(bounds),
            "memory_share": roofline.memory_share(bounds),
        }
        return {**asdict(self), **sums}


Attempts = dict[str, "Process | GhostyoloError"]  # by runtime


def measure(settings: Settings) -> Report:
    """Measure the runtimes in turns, each in a process of its own.

    The rates of the machine, and the layers, are measured in this process.
    Raises `OptionError` for settings that do not fit, and if no runtime runs the source.
    """
    _check(settings)
    torch.set_num_threads(settings.threads)
    before = machine.measure()
    seconds = layer_times.layer_seconds(settings) if settings.layers else repeat(None)
    with ExitStack() as stack:
        attempts = _start_runtimes(stack, settings)
        ours = _running(attempts)
        if not ours:
            raise OptionError("; ".join(dict.fromkeys(map(str, attempts.values()))))
        answer = next(iter(ours.values())).answer
        other_attempts = _start_others(stack, settings, answer["shape"], list(ours))
        others = _running(other_attempts)
        process.run_in_turns([*ours.values(), *others.values()], settings.seconds)
    rates = machine.best(before, machine.measure())
    network, batch = loads(answer["cfg"]), answer["shape"][0]
    bounds = roofline.bounds(network, rates, batch)
    return Report(
        source=settings.source,
        shape=tuple(answer["shape"]),
        threads=settings.threads,
        machine=rates,
        least_bytes=roofline.least_bytes(network, batch),
        rows=_results(attempts, roofline.least_seconds(bounds)),
        layers=tuple(map(LayerResult, bounds, seconds)),
        timed=settings.layers,
        against=settings.against or "",
        others=_results(other_attempts, None),
        ratios=_ratios(ours, others),
    )


def _check(settings: Settings) -> None:
    """Raise `OptionError` for settings that do not fit, or a missing other file."""
    if settings.layers and is_exported(settings.source):
        message, hint = "only layers of a cfg are timed", "leave --layers out"
        raise OptionError(message, span=Span(settings.source), hint=hint)
    if settings.against and not Path(settings.against).is_file():
        raise OptionError("no such file", span=Span(settings.against), hint="give an ONNX file")
    for name in settings.runtimes:
        check_name(name)


def _start(
    stack: ExitStack, settings: Settings, name: str, *, foreign: bool = False
) -> Process | GhostyoloError:
    """Start a process, or return the reason why that failed."""
    try:
        return stack.enter_context(closing(Process(settings, name, foreign=foreign)))
    except GhostyoloError as error:
        return error


def _start_runtimes(stack: ExitStack, settings: Settings) -> Attempts:
    """Start the runtimes on the source one after the other."""
    found: Attempts = {}
    exporting = not is_exported(settings.source)
    for name in settings.runtimes or filter(installed_version, readers(settings.source)):
        if exporting and name != "torch":
            with ExitStack() as once:  # exports the cfg, so that no later start includes that
                found[name] = _start(once, settings, name)
            if exporting := isinstance(found[name], GhostyoloError):
                continue
        found[name] = _start(stack, settings, name)
    return found


def _start_others(
    stack: ExitStack, settings: Settings, shape: list[int], ours: list[str]
) -> Attempts:
    """Start the other file on an input of the same shape, in the runtimes that run ours.

    Raises `OptionError` if none of these runs ONNX files of other programs.
    """
    if settings.against is None:
        return {}
    names = [name for name in ours if name in foreign_onnx.RUNTIMES]
    if not names:
        message = f"nothing here runs both files in {' or '.join(foreign_onnx.RUNTIMES)}"
        raise OptionError(message, hint=RUNTIMES["onnxruntime"].install)
    batch, _, h, w = shape
    other = replace(settings, source=settings.against, weights=None, size=(h, w), batch=batch)
    return {name: _start(stack, other, name, foreign=True) for name in names}


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
        pictures_per_s=measured.batch * len(times) / sum(times),
        peak_bytes=measured.peak_bytes,
        grown_bytes=measured.grown_bytes,
        roofline=least / measured.median_s if least else None,
        runs=len(times),
    )


def _ratios(ours: dict[str, Process], others: dict[str, Process]) -> dict[str, tuple[float, float]]:
    """Return our time over the other file's in each runtime, and of the fastest of each: "best"."""
    found = {name: process.ratio(ours[name], other) for name, other in others.items()}
    if others:
        fastest = (min(side.values(), key=lambda each: each.median_s) for side in (ours, others))
        found["best"] = process.ratio(*fastest)
    return found

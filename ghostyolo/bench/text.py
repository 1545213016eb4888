"""The report of a benchmark as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ghostyolo.bench.benchmark import LayerResult, Report, RuntimeResult
from ghostyolo.bench.roofline import ARITHMETIC, MEMORY, least_seconds, memory_share
from ghostyolo.errors import counted, printable

HEADER = (
    f"{'runtime':<12} {'version':<12} {'start':>8} {'median':>10} {'p90':>10} {'cpu':>10} "
    f"{'pictures/s':>10} {'peak':>8} {'grown':>8} {'roofline':>8}"
)


def text(report: Report) -> str:
    """Return the tables."""
    parts = [_heading(report), _table(report.rows), _summary(report)]
    if report.against:
        parts.append(_comparison(report))
    if report.timed:
        parts.append(_layer_table(report.layers))
    return "\n\n".join("\n".join(map(printable, part)) for part in parts)


def _heading(report: Report) -> Iterator[str]:
    shape = "x".join(map(str, report.shape))
    yield f"{report.source}: input {shape}, {counted(report.threads, 'thread')}"


def _table(rows: Sequence[RuntimeResult]) -> Iterator[str]:
    yield HEADER
    for row in rows:
        if row.error:
            yield f"{row.program:<12} {row.version:<12} {row.error}"
            continue
        share = f"{row.roofline:>8.0%}" if row.roofline is not None else ""
        yield (
            f"{row.program:<12} {row.version:<12} {row.start_s:>6.2f} s {_ms(row.median_s)} "
            f"{_ms(row.p90_s)} {_ms(row.cpu_s)} {row.pictures_per_s:>10.1f} "
            f"{row.peak_bytes / 1e6:>5.0f} MB {row.grown_bytes / 1e6:>5.0f} MB {share}"
        ).rstrip()


def _summary(report: Report) -> Iterator[str]:
    """Yield the rates of the machine, the least time of the network, and what the columns mean."""
    bounds, machine = [layer.bound for layer in report.layers], report.machine
    macs, moved = sum(row.macs for row in bounds), sum(row.bytes for row in bounds)
    counts = {by: sum(row.by == by for row in bounds) for by in (ARITHMETIC, MEMORY)}
    yield (
        f"this machine: {machine.macs_per_s / 1e9:.1f} G multiply-adds/s, "
        f"{machine.bytes_per_s / 1e9:.1f} GB/s; at less than "
        f"{machine.macs_per_s / machine.bytes_per_s:.1f} multiply-adds a byte memory is the bound"
    )
    yield (
        f"the network: {macs / 1e6:,.1f} M multiply-adds, {moved / 1e6:,.1f} MB moved, at least "
        f"{least_seconds(bounds) * 1e3:.2f} ms: {counts[MEMORY]} layers bound by memory "
        f"({memory_share(bounds):.0%} of that time), {counts[ARITHMETIC]} by arithmetic"
    )
    yield "roofline: that least time over the median; maps that stay in the caches may exceed 100%"
    yield (
        f"peak: the most memory held, grown: that less the program's own; weights and the maps "
        f"that are live at once take {report.least_bytes / 1e6:.1f} MB"
    )
    yield "start: from a cold process to its first result; cpu: processor time of all threads"


def _comparison(report: Report) -> Iterator[str]:
    yield f"against {report.against}, in turns"
    yield from _table(report.others)
    for name, (clock, cpu) in report.ratios.items():
        what = "the fastest of each" if name == "best" else name
        yield f"{what}: ours takes {clock:.2f} of its time, {cpu:.2f} of its processor time"


def _layer_table(layers: Sequence[LayerResult]) -> Iterator[str]:
    """Yield the time of each layer in torch beside its least time."""
    whole = sum(layer.seconds or 0 for layer in layers)
    yield (
        f"{'#':>4} {'kind':<15} {'MACs':>14} {'KB moved':>10} {'least':>10} {'torch':>10} "
        f"{'share':>6} {'roofline':>8} bound by"
    )
    for layer in layers:
        bound, seconds = layer.bound, layer.seconds or 0.0
        reached = bound.seconds / seconds if seconds else 0.0
        yield (
            f"{bound.index:>4} {bound.kind:<15} {bound.macs:>14,} {bound.bytes / 1e3:>10,.1f} "
            f"{_ms(bound.seconds)} {_ms(seconds)} {seconds / max(whole, 1e-12):>6.1%} "
            f"{reached:>8.0%} {bound.by}"
        ).rstrip()
    yield f"all layers in torch: {whole * 1e3:.2f} ms, with the clock of each"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:>7.2f} ms"

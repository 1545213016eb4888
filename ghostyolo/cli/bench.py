"""ghostyolo bench: measure a network in each runtime against the roofline of this machine."""

from __future__ import annotations

import argparse
import json

from ghostyolo.cli import shared
from ghostyolo.network.net_options import parse_size

SECONDS = shared.number(float, 1e-9, 3600, "a number of seconds up to 3600")


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options of bench."""
    from ghostyolo.runtime.registry import RUNTIMES

    p.add_argument("source", metavar="SOURCE", help="a cfg, or an exported file")
    p.add_argument("weights", metavar="WEIGHTS", nargs="?", help="weights of a cfg (random ones)")
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--batch", type=shared.count, default=1, help="batch size (1)")
    p.add_argument("--threads", type=shared.count, help="threads of each runtime (all)")
    known = ", ".join(RUNTIMES)
    p.add_argument(
        "--runtime",
        action="append",
        default=[],
        metavar="NAME",
        help=f"one of {known}; may be repeated (all that are installed)",
    )
    p.add_argument("--seconds", type=SECONDS, default=5.0, help="time for each runtime (5)")
    p.add_argument("--against", metavar="FILE.onnx", help="another ONNX file, run in turns")
    p.add_argument("--layers", action="store_true", help="time each layer of a cfg in torch")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> None:
    """Measure a network in the installed runtimes, on the CPU."""
    from ghostyolo.bench import benchmark, text
    from ghostyolo.runtime.threads import default_threads

    settings = benchmark.Settings(
        source=args.source,
        weights=args.weights,
        size=parse_size(args.size) if args.size else None,
        batch=args.batch,
        threads=args.threads or default_threads(),
        runtimes=tuple(dict.fromkeys(args.runtime)),
        seconds=args.seconds,
        against=args.against,
        layers=args.layers,
    )
    report = benchmark.measure(settings)
    print(json.dumps(report.as_dict()) if args.json else text.text(report))

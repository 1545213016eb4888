"""ghostyolo bench: measure a network in each runtime against the roofline of this machine."""

from __future__ import annotations

import argparse

from ghostyolo.cli import model_argument, shared
from ghostyolo.network.net_options import parse_size
from ghostyolo.syntax.arguments import Parser

EXAMPLES = ("runs/train/first", "my.cfg best.weights --runtime torch --layers --seconds 1")
SECONDS = shared.number(float, 1e-9, 3600, "a number of seconds up to 3600")


def options(p: Parser) -> None:
    """Declare the options of bench."""
    from ghostyolo.runtime.registry import RUNTIMES

    group = p.group("model")
    group.add_argument("cfg", metavar="CFG", help=model_argument.cfg_help(exported=True))
    p.or_usage = {"cfg": model_argument.RUN_OR_FILE, "weights": ""}
    text = f"{model_argument.WEIGHTS} (random ones)"
    group.add_argument("weights", metavar="WEIGHTS", nargs="?", help=text)
    p.set_defaults(exported=True)
    shared.add_size(p)
    group = p.group("runtimes")
    text = f"one of {', '.join(RUNTIMES)}; may be repeated (all that are installed)"
    group.add_argument("--runtime", action="append", default=[], metavar="NAME", help=text)
    group.add_argument("--threads", type=shared.count, help="threads of each runtime (all)")
    group = p.group("measurement")
    group.add_argument("--batch", type=shared.count, default=1, help="batch size (1)")
    group.add_argument("--seconds", type=SECONDS, default=5.0, help="time for each runtime (5)")
    group.add_argument("--against", metavar="FILE.onnx", help="another ONNX file, run in turns")
    group.add_argument("--layers", action="store_true", help="time each layer of a cfg in torch")
    shared.add_json(p)


def run(args: argparse.Namespace) -> None:
    """Measure a network in the installed runtimes, on the CPU."""
    from ghostyolo.bench import benchmark, text
    from ghostyolo.runtime.threads import default_threads

    settings = benchmark.Settings(
        source=args.cfg,
        weights=args.weights or None,
        size=parse_size(args.size) if args.size else None,
        batch=args.batch,
        threads=args.threads or default_threads(),
        runtimes=tuple(dict.fromkeys(args.runtime)),
        seconds=args.seconds,
        against=args.against,
        layers=args.layers,
    )
    report = benchmark.measure(settings)
    shared.say(shared.json_text(report.as_dict()) if args.json else text.text(report), keep="\n")

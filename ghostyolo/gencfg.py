"""python -m ghostyolo.gencfg, or ghostyolo gencfg: write the cfg of a network."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Mapping
from io import StringIO
from textwrap import fill
from typing import Any

from ghostyolo import data, files
from ghostyolo.data.help_texts import NO_CACHE_HELP, OUTSIDE_HELP, OVERLAP_HELP
from ghostyolo.errors import GhostyoloError, OptionError, Span, counted, printable
from ghostyolo.files import replace
from ghostyolo.network import Network, dumps
from ghostyolo.network.net_options import parse_size
from ghostyolo.network.outputs import class_counts
from ghostyolo.syntax.arguments import Parser
from ghostyolo.zoo import networks
from ghostyolo.zoo.families import FAMILIES, make_network
from ghostyolo.zoo.necks import NECKS

EXAMPLES = (
    "--data DATA --width 0.5 --size 320x320 --out my.cfg",
    "--family shufflenetv2 --task classify --out my.cfg",
)


def parser() -> Parser:
    """Return the parser of the generator's options."""
    return Parser("python -m ghostyolo.gencfg", options, EXAMPLES)


def options(p: Parser) -> None:
    """Declare the options of the generator."""
    p.description = "Write a Darknet cfg of GhostNet (Han et al., CVPR 2020) or of another\n"
    p.description += "small network."
    p.epilog = "families and the options of each:\n" + "\n".join(_options_by_family())
    p.allow_abbrev = False  # the cfg quotes the command, whose options must keep their meaning
    group = p.group("network")
    group.add_argument(
        "--task",
        choices=networks.TASKS,
        default="detect",
        help="write a detector, the classifier of the paper, or the backbone alone (detect)",
    )
    size = "x".join(map(str, networks.SIZE))
    text = f"input size in pixels ({size}; for classify as in the paper)"
    group.add_argument("--size", metavar="HxW", help=text)
    _add_data(p.group("data"))
    classes = p.group("classes").add_mutually_exclusive_group()
    text = f"number of classes ({networks.CLASSES}; for classify as in the paper)"
    classes.add_argument("--classes", type=int, metavar="N", help=text)
    classes.add_argument(
        "--names",
        metavar="FILE",
        help="class names, one a line: their number is that of the classes",
    )
    group, text = p.group("backbone"), "backbone family, one of those listed below (ghostnet)"
    group.add_argument("--family", choices=FAMILIES, default="ghostnet", metavar="NAME", help=text)
    for name, uses in _family_options().items():
        _add_family_option(group, name, uses)
    _add_detector_options(p.group("neck and heads of a detector"))
    text = "write here instead of standard output"
    p.group("output").add_argument("--out", metavar="FILE", help=text)


def _add_data(group: argparse._ArgumentGroup) -> None:
    text = "write the cfg for this data set: its classes, and for a detector anchors for its boxes "
    text += "and batch, decay and length for its number of pictures"
    group.add_argument("--data", metavar="DATA", help=text)
    group.add_argument("--split", help="part of DATA to train on (train)")
    text = "for training on tiles of this size in pixels of the picture; auto: that of the input"
    group.add_argument("--tile", metavar="HxW|auto", help=text)
    group.add_argument("--overlap", type=float, metavar="F", help=OVERLAP_HELP)
    group.add_argument("--allow-outside", action="store_true", help=OUTSIDE_HELP)
    group.add_argument("--no-cache", action="store_true", help=NO_CACHE_HELP)


def _add_detector_options(group: argparse._ArgumentGroup) -> None:
    text = f"how maps of several strides are joined ({networks.NECK})"
    group.add_argument("--neck", choices=NECKS, help=text)
    text = f"channels of the neck and the heads ({networks.NECK_WIDTH})"
    group.add_argument("--neck-width", type=int, metavar="N", help=text)
    heads = ",".join(map(str, networks.HEADS))
    text = f"strides of the heads: some of 4, 8, 16, 32 ({heads})"
    group.add_argument("--heads", metavar="STRIDES", help=text)
    text = (
        "anchors in pixels of the input, smallest stride first (COCO's, or for the boxes of DATA)"
    )
    group.add_argument("--anchors", metavar="W,H,W,H,...", help=text)


def _family_options() -> dict[str, dict[str, Mapping[str, Any]]]:
    """Return the arguments and the default of each family option, by option and by family."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for family, instance in FAMILIES.items():
        for name, argument in instance.options().items():
            default = {"default": getattr(instance, name)}
            found.setdefault(name, {})[family] = {**argument, **default}
    return found


def _add_family_option(
    group: argparse._ArgumentGroup, name: str, uses: dict[str, Mapping[str, Any]]
) -> None:
    """Declare an option with the choices, help texts and defaults of all families that have it."""
    choices = [use.get("choices") for use in uses.values()]
    helps: dict[str, list[str]] = {}
    for family, use in uses.items():
        helps.setdefault(f"{use['help']} ({use['default']})", []).append(family)
    texts = [f"{', '.join(families)}: {text}" for text, families in helps.items()]
    given = {key: use[key] for use in uses.values() for key in ("type", "metavar") if key in use}
    if None not in choices:
        given["choices"] = list(dict.fromkeys(value for each in choices for value in each or ()))
    group.add_argument(_flag(name), help="; ".join(texts if texts[1:] else helps), **given)


def _options_by_family() -> list[str]:
    """Return a line for each group of families that have the same options."""
    having: dict[tuple[str, ...], list[str]] = {}
    for name, family in FAMILIES.items():
        having.setdefault(tuple(family.options()), []).append(name)
    lines = [
        f"{', '.join(names)}: {' '.join(map(_flag, options)) or 'none'}"
        for options, names in having.items()
    ]
    return [fill(line, 79, initial_indent="  ", subsequent_indent="    ") for line in lines]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def main(argv: list[str] | None = None) -> int:
    """Run the generator; return the exit code: 0 success, 1 invalid values, 2 usage."""
    words = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(words)
    args.words = ["gencfg", *words]
    try:
        run(args)
    except GhostyoloError as error:
        print(f"ghostyolo: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0


def run(args: argparse.Namespace) -> None:
    """Write the cfg that the options describe."""
    network = build(args, _command(args.words[1:]))
    text = dumps(network)
    if args.out:
        replace(args.out, [text.encode()])
        print(printable(f"ghostyolo: {args.out}: {_written(network, args)}"), file=sys.stderr)
    else:
        sys.stdout.write(text)
        sys.stdout.flush()


def build(args: argparse.Namespace, comment: str) -> Network:
    """Build the network that the options describe. Raises `OptionError`, `DataError`."""
    options = {name: getattr(args, name) for name in (*_family_options(), "neck", "neck_width")}
    options |= {"task": args.task, "family": args.family, "comment": comment}
    options["size"] = parse_size(args.size) if args.size else None
    options["heads"] = _numbers("--heads", args.heads, int)
    options["anchors"] = _numbers("--anchors", args.anchors, float)
    reading = {
        name: getattr(args, name)
        for name in ("split", "tile", "overlap", "allow_outside", "no_cache")
    }
    reading = {name: value for name, value in reading.items() if value}
    if args.data:
        return data.network_for(
            args.data, names=args.names, classes=args.classes, **reading, **options
        )
    for name in reading:
        raise OptionError(f"{_flag(name)} without --data", hint="give --data DATA")
    classes = _count_names(args.names) if args.names else args.classes
    return make_network(classes=classes, **options)


def _written(network: Network, args: argparse.Namespace) -> str:
    """Return what was written, in a few words; if no option says how many classes, which option."""
    net, counts = network.options, [count for _, count in class_counts(network)]
    classes, hint = f"{counted(counts[0], 'class', 'es')}, " if counts else "", ""
    if counts and not (args.data or args.names) and args.classes is None:
        whose = "COCO's" if args.task == "detect" else "as in the paper"
        classes, hint = f"{counts[0]} classes ({whose}), ", "; --data DATA for yours"
    return f"written, {classes}{net.height}x{net.width}, batch {net.batch}{hint}"


def _command(words: list[str]) -> str:
    """Return the command that writes the same cfg, without its --out option."""
    kept, skip = [], False
    for word in words:
        if not skip and not word.startswith("--out"):
            kept.append(word)
        skip = word == "--out"
    return f"Written by python -m ghostyolo.gencfg {shlex.join(kept)}".rstrip()


def _count_names(path: str) -> int:
    try:
        text = files.read(path).decode("utf-8", "replace")
        lines = StringIO(text, newline=None).read().rstrip().split("\n")
    except OSError as error:
        hint = "give a text file with one class name a line"
        message = f"cannot read names: {error.strerror}"
        raise OptionError(message, span=Span(path), hint=hint) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            span = Span(path, number)
            raise OptionError("no class name here", span=span, hint="one name a line")
    return len(lines)


def _numbers(
    option: str, text: str | None, kind: type[int] | type[float]
) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(kind(part) for part in text.split(",") if text.strip())
    except ValueError:
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise OptionError(f"{option} {text}", hint="write numbers separated by commas")
    return numbers


if __name__ == "__main__":
    sys.exit(main())

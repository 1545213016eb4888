"""python -m ghostyolo.gencfg: write the cfg of a network."""

from __future__ import annotations

import argparse
import math
import re
import shlex
import sys

from ghostyolo.errors import GhostyoloError, OptionError, Span
from ghostyolo.files import replace
from ghostyolo.network import Network, dumps
from ghostyolo.network.net_options import parse_size
from ghostyolo.zoo import networks, shufflenet, vgg
from ghostyolo.zoo.base import Family
from ghostyolo.zoo.blocks import GATES, HARD_SWISH
from ghostyolo.zoo.families import FAMILIES
from ghostyolo.zoo.ghostnet import SE
from ghostyolo.zoo.necks import NECKS

EXAMPLES = """examples:
  python -m ghostyolo.gencfg --width 1.0 > ghostnet.cfg           a detector for COCO's 80 classes
  python -m ghostyolo.gencfg --width 0.5 --names my.names --size 320x320 --out my.cfg
  python -m ghostyolo.gencfg --task classify --gate hard --out ghostnet-imagenet.cfg
  python -m ghostyolo.gencfg --family shufflenetv2 --width 0.5 --task classify
families and the options of each:
{families}
"""
# The options that describe a family, by its field; without them the family's defaults hold.
FAMILY = {
    "width": "width", "ratio": "ratio", "dw": "dw_size", "gate": "gate", "se": "se",
    "groups": "groups", "activation": "activation", "norm": "norm",
}  # fmt: skip
# What only a detector has: the options and their defaults.
DETECTOR = {"neck": "pan", "neck_width": networks.NECK_WIDTH, "heads": "8,16,32", "anchors": ""}


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help of one width: asking the terminal for its own would slow every start, help or not."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=98)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the generator's options."""
    p = argparse.ArgumentParser(
        allow_abbrev=False,  # the cfg quotes the words, and they are to mean the same later
        prog="python -m ghostyolo.gencfg",
        description="Write a Darknet cfg of GhostNet (Han et al., CVPR 2020) or of another small "
        "network to standard output.",
        epilog=EXAMPLES.format(families="\n".join(_described())),
        formatter_class=_Formatter,
    )
    p.add_argument(
        "--task",
        choices=("detect", "classify", "backbone"),
        default="detect",
        help="detector with [yolo] heads, the paper's classifier, or neither (detect)",
    )
    p.add_argument(
        "--family",
        choices=FAMILIES,
        default="ghostnet",
        metavar="NAME",
        help="which network, of those listed below (ghostnet)",
    )
    _add_family_options(p)
    classes = p.add_mutually_exclusive_group()
    classes.add_argument(
        "--classes", type=int, help="number of classes (80; classify: the paper's)"
    )
    classes.add_argument("--names", metavar="FILE", help="count the classes in a .names file")
    p.add_argument(
        "--size", metavar="HxW", help="input size in pixels (416x416; classify: the paper's)"
    )
    p.add_argument("--neck", choices=NECKS, help="how scales are joined (pan)")
    p.add_argument(
        "--neck-width",
        type=int,
        help=f"channels of neck and heads ({networks.NECK_WIDTH})",
    )
    p.add_argument(
        "--heads",
        metavar="STRIDES",
        help="strides of the heads, among 4, 8, 16, 32 (8,16,32)",
    )
    p.add_argument(
        "--anchors",
        metavar="W,H,W,H,...",
        help="anchors in pixels of the input, for the heads from fine to coarse (COCO's)",
    )
    p.add_argument("--out", metavar="FILE", help="write here instead of standard output")
    p.set_defaults(**DETECTOR)
    return p


def _add_family_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("--width", type=float, help="width multiplier (1.0)")
    p.add_argument(
        "--ratio",
        type=_whole,
        metavar="S",
        help="maps per intrinsic map of a ghost module, one or five for its stages: 2,2,4,2,2 (2)",
    )
    p.add_argument(
        "--dw-size",
        type=_whole,
        metavar="D",
        help="kernel of a ghost module's cheap operation, or several side by side: 3,5 (3)",
    )
    p.add_argument(
        "--gate",
        choices=GATES,
        help="gate of squeeze-excite: logistic loads everywhere, hard is the official "
        "hard sigmoid and not for OpenCV (logistic; mobilenetv3: hard)",
    )
    p.add_argument("--se", choices=SE, help="ghost bottlenecks with squeeze-excite (published)")
    p.add_argument(
        "--groups",
        type=int,
        choices=shufflenet.V1,
        help="groups of the 1x1 convolutions of shufflenetv1 (3)",
    )
    p.add_argument(
        "--activation",
        choices=("relu6", "relu", HARD_SWISH, "swish"),
        help="relu6, or relu which loads everywhere, for mobilenetv1 and v2 (relu6); "
        "exact hard swish in several sections, or swish which is another function, for "
        "mobilenetv3 (hswish)",
    )
    p.add_argument("--norm", choices=vgg.NORMS, help="batch norm of vgg, or biases alone (batch)")


def _described() -> list[str]:
    """Return a line for each set of options and the families that have them."""
    having: dict[tuple[str, ...], list[str]] = {}
    for name, entry in FAMILIES.items():
        having.setdefault(entry.options, []).append(name)
    return [
        f"  {', '.join(names)}: {' '.join(map(_option, options)) or 'none'}"
        for options, names in having.items()
    ]


def _option(field: str) -> str:
    return f"--{FAMILY[field].replace('_', '-')}"


def main(argv: list[str] | None = None) -> int:
    """Run the generator; return the exit code: 0 done, 1 the options do not fit, 2 usage."""
    words = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(words)
    try:
        text = dumps(build(args, _command(words)))
        if args.out:
            replace(args.out, [text.encode()])
        else:
            sys.stdout.write(text)
            sys.stdout.flush()
    except GhostyoloError as error:
        print(f"ghostyolo: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    return 0


def build(args: argparse.Namespace, comment: str) -> Network:
    """Build the network that the options describe. Raises `OptionError`."""
    _check_task(args)
    family = _family(args)
    size = parse_size(args.size) if args.size else None
    if args.task == "backbone":
        return networks.backbone(family, size=size, comment=comment)
    classes = _classes(args, 80 if args.task == "detect" else family.classes)
    if args.task == "classify":
        return networks.classifier(family, classes=classes, size=size, comment=comment)
    return networks.detector(
        family,
        classes=classes,
        size=size or (416, 416),
        neck_kind=args.neck,
        neck_width=args.neck_width,
        strides=tuple(int(stride) for stride in _numbers("--heads", args.heads, int)),
        anchors=tuple(_numbers("--anchors", args.anchors, float)),
        comment=comment,
    )


def _family(args: argparse.Namespace) -> Family:
    """Return the family with its options. Raises `OptionError` for those of another."""
    entry = FAMILIES[args.family]
    given = {
        field: getattr(args, name)
        for field, name in FAMILY.items()
        if getattr(args, name) is not None
    }
    for field, value in given.items():
        if field not in entry.options:
            words = ",".join(map(str, value)) if isinstance(value, tuple) else value
            message = f"{_option(field)} {words} is not for --family {args.family}"
            raise OptionError(message, hint="leave it out")
    return entry.make(**given)


def _check_task(args: argparse.Namespace) -> None:
    """Raise `OptionError` for an option that the task has no use for."""
    useless = {**DETECTOR} if args.task != "detect" else {}
    if args.task == "backbone":
        useless |= {"classes": None, "names": None}
    for name, default in useless.items():
        if getattr(args, name) != default:
            option = f"--{name.replace('_', '-')} {getattr(args, name)}"
            raise OptionError(f"{option} is not for --task {args.task}", hint="leave it out")


def _command(words: list[str]) -> str:
    """Return the command that writes the same file, without where it goes."""
    kept, skip = [], False
    for word in words:
        if not skip and not word.startswith("--out"):
            kept.append(word)
        skip = word == "--out"
    return f"Written by python -m ghostyolo.gencfg {shlex.join(kept)}".rstrip()


def _classes(args: argparse.Namespace, default: int) -> int:
    if not args.names:
        return default if args.classes is None else args.classes
    try:
        with open(args.names, encoding="utf-8", errors="replace") as file:
            lines = file.read().rstrip().split("\n")
    except OSError as error:
        hint = "give a text file with one class name a line"
        message = f"cannot read names: {error.strerror}"
        raise OptionError(message, span=Span(args.names), hint=hint) from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            span = Span(args.names, number)
            raise OptionError("no class name here", span=span, hint="one name a line")
    return len(lines)


def _whole(text: str) -> int | tuple[int, ...]:
    """Read one whole number, or several separated by commas."""
    if not all(re.fullmatch(r"-?[0-9]{1,9}", part) for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text}; write whole numbers separated by commas")
    numbers = tuple(int(part) for part in text.split(","))
    return numbers if len(numbers) > 1 else numbers[0]


def _numbers(option: str, text: str, kind: type[int] | type[float]) -> list[float]:
    try:
        numbers = [kind(part) for part in text.split(",") if text.strip()]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise OptionError(f"{option} {text}", hint="write numbers separated by commas")
    return numbers


if __name__ == "__main__":
    sys.exit(main())

"""ghostyolo train: train the detector or classifier of a cfg on labelled pictures."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from ghostyolo.cli import shared
from ghostyolo.errors import Findings, OptionError
from ghostyolo.network import load
from ghostyolo.network.model_files import model_name
from ghostyolo.runtime import threads
from ghostyolo.syntax.arguments import Parser
from ghostyolo.training.options import PROJECT, TrainOptions

if TYPE_CHECKING:
    from ghostyolo.training.run import Run

EXAMPLES = ("my.cfg DATA --epochs 100 --name first", "runs/train/first DATA --resume")
KINDS = {"int": int, "count": shared.count, "fraction": shared.fraction}


def options(p: Parser) -> None:
    """Declare the arguments: the fields of `TrainOptions` that have a help text, and others."""
    shared.add_cfg(p)
    shared.add_data(p, "train", shared.OR_CLASS_FOLDERS)
    for title in ("model", "data", "training length", "recipe", "device", "run"):
        p.group(title)  # in this order
    for field in dataclasses.fields(TrainOptions):
        if field.metadata:
            group = p.group(field.metadata.get("group", "recipe"))
            group.add_argument(f"--{field.name.replace('_', '-')}", **_details(field))
    shared.add_device(p)
    group, text = p.group("recipe"), "override [net]; may be repeated"
    group.add_argument("--set", action="append", default=[], metavar="net.KEY=VALUE", help=text)
    group.add_argument(
        "--teacher",
        nargs=2,
        metavar=("CFG", "WEIGHTS"),
        help="learn the predictions of this trained network, or of a run's folder in their place, "
        "instead of the labels; it must have the same heads, such as the network that CFG was made "
        "from by ghostify",
    )
    group, text = p.group("run"), f"folder of all runs ({PROJECT})"
    group.add_argument("--project", default=PROJECT, metavar="FOLDER", help=text)
    group.add_argument("--name", help="name of the run (that of CFG)")
    shared.add_quiet(p)


def _details(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Return the arguments of `add_argument` for an option."""
    details = {"default": field.default, **field.metadata}
    details.pop("group", None)
    if field.default is False:
        return {**details, "action": "store_true"}
    if kind := details.pop("kind", None):
        details["type"] = KINDS[kind]
    if field.default not in (None, "") and kind != "count":
        details["help"] += f" ({field.default})"
    return details


def run(args: argparse.Namespace) -> None:
    """Train the network of a cfg on a data set."""
    threads.share_processors()
    from ghostyolo.cli.progress import TrainProgress
    from ghostyolo.training.folder import FILES
    from ghostyolo.training.run import train

    names = {field.name for field in dataclasses.fields(TrainOptions)}
    given = {name: value for name, value in vars(args).items() if name in names}
    if args.teacher:
        findings = Findings(strict=args.strict, compat=args.darknet_compat)
        given["teacher"] = load(args.teacher[0], findings=findings), args.teacher[1]
    done = train(
        shared.read_network(args),
        args.data,
        **given,
        folder=Path(args.project, args.name or model_name(args.cfg)),
        overrides=_overrides(args.set),
        observers=[] if args.quiet else [TrainProgress()],
        command=("ghostyolo", *args.words),
    )
    if done.rank == 0:
        shared.say(f"{done.folder}: {', '.join(FILES)}")
        for line in _next(done, args):
            shared.say(line)


def _next(done: Run, args: argparse.Namespace) -> Iterator[str]:
    """Yield a line about the best weights, and lines with what to do next."""
    folder = quote(str(done.folder))
    if best := done.best:
        scores = (f"{name} {best[name]:.3f}" for name in list(done.scores)[:2])
        yield f"{done.weights.name}: epoch {best['epoch']:g}, {', '.join(scores)}"
        split = "" if args.val_split == "val" else f" --split {quote(args.val_split)}"
        yield f"measure: ghostyolo val {folder} {quote(args.data)}{split}"
    yield f"look at {done.folder}/report.html; ghostyolo detect {folder} PICTURES"


def _overrides(words: list[str]) -> dict[str, str]:
    """Return the keys and values of --set net.KEY=VALUE."""
    overrides = {}
    for word in words:
        key, equals, value = word.removeprefix("net.").partition("=")
        if not equals or not word.startswith("net."):
            hint = "write it as --set net.learning_rate=0.01"
            raise OptionError(f"--set {word}", hint=hint)
        overrides[key.strip()] = value
    return overrides

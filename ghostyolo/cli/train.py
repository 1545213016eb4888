"""ghostyolo train: train the detector or classifier of a cfg on labelled pictures."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from ghostyolo.cli import shared
from ghostyolo.errors import Findings, OptionError
from ghostyolo.network import load
from ghostyolo.training.options import PROJECT, TrainOptions

KINDS = {"int": int, "count": shared.count, "fraction": shared.fraction}


def options(p: argparse.ArgumentParser) -> None:
    """Declare the arguments: the fields of `TrainOptions` that have a help text, and others."""
    shared.add_cfg(p)
    shared.add_data(p, "train")
    for field in dataclasses.fields(TrainOptions):
        if field.metadata:
            p.add_argument(f"--{field.name.replace('_', '-')}", **_details(field))
    p.add_argument(
        "--set", action="append", default=[], metavar="net.KEY=VALUE", help="override [net]"
    )
    p.add_argument(
        "--teacher",
        nargs=2,
        metavar=("CFG", "WEIGHTS"),
        help="learn the predictions of this trained network instead of the labels; it must have "
        "the same heads, such as the network that CFG was made from by ghostify",
    )
    p.add_argument(
        "--project", default=PROJECT, metavar="FOLDER", help=f"folder of all runs ({PROJECT})"
    )
    p.add_argument("--name", help="name of the run (that of the cfg)")


def _details(field: dataclasses.Field[Any]) -> dict[str, Any]:
    """Return the arguments of `add_argument` for an option."""
    details = {"default": field.default, **field.metadata}
    if field.default is False:
        return {**details, "action": "store_true"}
    if kind := details.pop("kind", None):
        details["type"] = KINDS[kind]
    if field.default not in (None, "") and kind != "count":
        details["help"] += f" ({field.default})"
    return details


def run(args: argparse.Namespace) -> None:
    """Train the network of a cfg on a data set."""
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
        folder=Path(args.project, args.name or Path(args.cfg).stem),
        overrides=_overrides(args.set),
        observers=[TrainProgress()],
        command=("ghostyolo", *args.words),
    )
    if done.rank == 0:
        print(f"{done.folder}: {', '.join(FILES)}")


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

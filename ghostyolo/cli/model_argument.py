"""The model argument of commands: CFG WEIGHTS, or a run's folder or exported file in their place.

`ghostyolo.inference.choice` decides which runtime computes it.
"""

from __future__ import annotations

import argparse
import logging
import os
from typing import TYPE_CHECKING

from ghostyolo.cli import shared
from ghostyolo.network import model_files
from ghostyolo.network.net_options import parse_size
from ghostyolo.syntax.arguments import Parser
from ghostyolo.syntax.sections import read_text

if TYPE_CHECKING:
    from ghostyolo.network import Network
    from ghostyolo.runtime.interface import Runtime

WEIGHTS = "trained weights; those of a run are its best.weights, unless a .weights file follows"
RUN_OR_FILE = "RUN|FILE.onnx"
SPARE = [""] * 4  # no command needs more positional arguments


def cfg_help(*, exported: bool = False) -> str:
    """Return the help for a CFG that WEIGHTS follow. exported: whether it may be exported."""
    from ghostyolo.exporters.formats import usual_suffixes

    text = "a Darknet .cfg file, or the name of a published cfg, such as ghostnet-1.0-coco; in "
    text += "place of CFG WEIGHTS: the folder of a training run, which has a model.cfg"
    return f"{text}, or an exported {usual_suffixes(read=True)} file" if exported else text


def add_model(p: Parser, *, exported: bool = False) -> None:
    """Declare CFG and WEIGHTS; see `with_weights`. exported: whether to take exported files."""
    shared.add_cfg(p, cfg_help(exported=exported), weights=WEIGHTS)
    p.set_defaults(exported=exported)
    if exported:
        p.or_usage = {**p.or_usage, "cfg": RUN_OR_FILE}


def with_weights(p: Parser, words: list[str]) -> list[str]:
    """Return the words with WEIGHTS behind a run's folder, and empty ones behind an exported file.

    For argparse, which cannot skip a positional argument before others. Words change only for a
    parser with a default for `exported`, which tells whether exported files are taken.
    Raises `WeightsError` if the folder has no weights, `CfgError` if CFG is nothing that can be
    read, whether or not other arguments are missing.
    """
    words = _with_teachers_weights(words)
    if p.get_default("exported") is None:
        return words
    from ghostyolo.runtime.registry import is_exported

    found, _ = p.parse_known_args([*words, "--", *SPARE])
    is_run = os.path.isdir(found.cfg) and os.path.exists(os.path.join(found.cfg, model_files.CFG))
    if found.exported and is_exported(found.cfg):
        weights = ""
    elif is_run and not str(getattr(found, "weights", "")).endswith(".weights"):
        weights = str(model_files.model_files(found.cfg)[1])
    else:
        if found.cfg and not found.cfg.endswith(".cfg"):
            read_text(model_files.cfg_file(found.cfg))
        _check_weights(p, found)
        return words
    rest = list(words)
    rest.remove(found.cfg)
    return [found.cfg, weights, *rest]


def _check_weights(p: Parser, found: argparse.Namespace) -> None:
    """Exit with the usage if pictures or data stand where WEIGHTS belong."""
    weights = str(getattr(found, "weights", ""))
    if not weights or weights.endswith(".weights"):
        return
    from ghostyolo.data.paths import SUFFIXES

    given = [getattr(found, action.dest) for action in p._get_positional_actions()]
    if (
        "" in given
        or SPARE in given
        or os.path.isdir(weights)
        or os.path.splitext(weights)[1].lower() in SUFFIXES
    ):
        hint = f"give a .weights file after {found.cfg}, or a run's folder in place of both"
        p.error(f"WEIGHTS is missing: {weights} stands in its place; {hint}")


def _with_teachers_weights(words: list[str]) -> list[str]:
    """Return the words with WEIGHTS behind a run's folder that --teacher names."""
    at = words.index("--teacher") + 1 if "--teacher" in words else len(words)
    folder, weights = (*words[at : at + 2], "", "")[:2]
    if not os.path.isdir(folder) or weights.endswith(".weights"):
        return words
    return [*words[: at + 1], model_files.weights_path(folder), *words[at + 1 :]]


def add_runtime(p: Parser, batch: int = 1, what: str = "pictures computed at once") -> None:
    """Declare the runtime, the device, the batch size, with its help, and the number of threads."""
    from ghostyolo.runtime.registry import AUTO, CHOICES

    shared.add_device(p)
    group, text = p.group("device"), "runtime; auto: the fastest one with the outputs of torch"
    group.add_argument("--runtime", default=AUTO, choices=CHOICES, help=f"{text} ({AUTO})")
    group.add_argument("--batch", type=shared.count, default=batch, help=f"{what} ({batch})")
    text = "number of threads (all that this process may use)"
    group.add_argument("--threads", type=shared.count, help=text)


def source(args: argparse.Namespace) -> tuple[Network | str, tuple[int, int] | None]:
    """Return CFG's network at --size; or the path of an exported file, and the size (h, w)."""
    from ghostyolo.runtime.registry import is_exported

    if is_exported(args.cfg):
        return args.cfg, parse_size(args.size) if args.size else None
    return shared.read_network(args), None


def show_preparation(args: argparse.Namespace) -> None:
    """Show on standard error what is prepared before a network computes, but not to programs."""
    shown = not any(getattr(args, name, False) for name in ("quiet", "json"))
    level = logging.INFO if shown else logging.WARNING
    logging.getLogger("ghostyolo.inference").setLevel(level)


def open_model(args: argparse.Namespace, batch: int | None = None) -> Runtime:
    """Open CFG with WEIGHTS, or the exported file, in the runtime of --runtime.

    batch: batch size of the runtime, by default --batch.
    """
    from ghostyolo.inference.choice import open_runtime

    show_preparation(args)
    model, size = source(args)
    return open_runtime(
        model,
        args.weights or None,
        name=args.runtime,
        size=size,
        batch=batch or args.batch,
        threads=args.threads,
        device=args.device,
    )


def class_names(args: argparse.Namespace, runtime: Runtime) -> tuple[str, ...]:
    """Return the names in --names, else those in the exported file or beside WEIGHTS, else none."""
    from ghostyolo.data.class_names import class_names

    beside = args.weights or args.cfg
    return class_names(runtime.network, args.names, runtime.class_names, beside=beside, warn=True)


def print_runtime(args: argparse.Namespace, title: str, speed: str = "") -> None:
    """Print the runtime that computed the results of a command, on standard error."""
    if not args.quiet:
        shared.say(f"ghostyolo: computed in {title}{speed and ': '}{speed}", err=True)

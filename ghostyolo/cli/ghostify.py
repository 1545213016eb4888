"""ghostyolo ghostify: replace convolutions of a cfg by ghost modules."""

from __future__ import annotations

import argparse
import shlex
from textwrap import fill

from ghostyolo.cli import shared
from ghostyolo.errors import OptionError
from ghostyolo.files import replace
from ghostyolo.ghostify import GhostOptions, ghostify
from ghostyolo.ghostify.options import REFINE_STEPS
from ghostyolo.ghostify.selection import WORDS
from ghostyolo.network import dumps
from ghostyolo.syntax.arguments import Parser

ABOUT = f"""\
words for --select and --keep, separated by commas; words with >= restrict the
selection of the other words:
{fill(WORDS, 79, initial_indent="  ", subsequent_indent="  ")}
"""
EXAMPLES = (
    "my.cfg -o ghost.cfg --select 3x3",
    "my.cfg -o ghost.cfg --ratio 4 --keep 0-1 --json",
)


def options(p: Parser) -> None:
    """Declare what ghostify takes."""
    p.epilog = ABOUT
    default = GhostOptions()
    shared.add_cfg(p)
    group = p.group("ghost modules")
    for name, value, text in (
        ("--ratio", default.ratio, "s of the paper: number of maps for each intrinsic map"),
        ("--dw", default.dw, "d of the paper: size of the cheap kernels"),
    ):
        group.add_argument(name, type=int, default=value, help=f"{text} ({value})")
    for name, text in (
        ("--select", "convolutions to replace (all except stems and heads)"),
        ("--keep", "convolutions not to replace"),
    ):
        group.add_argument(
            name, action="extend", type=_words, default=[], metavar="WORDS", help=text
        )
    group, text = (
        p.group("fit to trained weights"),
        "fit the modules to these weights, a file or a run's folder",
    )
    group.add_argument("--from-weights", metavar="IN", help=text)
    group.add_argument("--weights-out", metavar="OUT", help="write the fitted .weights here")
    group.add_argument(
        "--calibrate",
        nargs="+",
        metavar="PICTURES",
        help="files, folders or patterns of pictures to fit on, such as the training pictures; "
        "without them noise is used, and most of the accuracy is lost until the network is trained "
        "again",
    )
    group.add_argument(
        "--refine",
        type=int,
        metavar="N",
        help="steps of gradient descent that fit each module as a whole; 0 for least squares only "
        f"({REFINE_STEPS})",
    )
    text = "seed of the random choice of pictures (0)"
    group.add_argument("--seed", type=int, default=0, help=text)
    p.group("output").add_argument("-o", "--out", metavar="FILE", help="write the new cfg here")
    shared.add_json(p)
    shared.add_quiet(p)


def run(args: argparse.Namespace) -> None:
    """Write the network with ghost modules; print its savings and the convolutions that stay."""
    fitted = args.calibrate or args.refine is not None
    if bool(args.from_weights) != bool(args.weights_out) or (fitted and not args.from_weights):
        hint = "give both, and --calibrate and --refine only with them"
        raise OptionError("--from-weights IN and --weights-out OUT go together", hint=hint)
    network = shared.read_network(args)
    wanted = GhostOptions(args.ratio, args.dw, tuple(args.select), tuple(args.keep))
    result = ghostify(network, wanted, comment=_command(args))
    fits = []
    if args.from_weights:
        from ghostyolo.ghostify.weight_transfer import fit_text, fit_weights
        from ghostyolo.prediction.sources import find_pictures

        with shared.progress(args, "fit", "module") as progress:
            fits = fit_weights(
                network,
                result,
                args.from_weights,
                args.weights_out,
                pictures=find_pictures(args.calibrate) if args.calibrate else None,
                steps=args.refine,
                seed=args.seed,
                progress=progress,
            )
    if args.out:
        replace(args.out, [dumps(result.network).encode()])
    if args.json:
        shared.say(shared.json_text(result.as_dict(fits)))
        return
    shared.say(result.text(), keep="\n")
    count = f"{len(result.ghosts)} of {len(result.ghosts) + len(result.reasons)} convolutions"
    shared.say(f"{count} became ghost modules: {args.out or 'nothing written, give -o FILE'}")
    if fits:
        shared.say(f"{args.weights_out}: {fit_text(fits)}")
        _print_hints(args, trained=bool(result.ghosts))


def _print_hints(args: argparse.Namespace, trained: bool) -> None:
    if not args.calibrate:
        shared.say("fitted to noise; --calibrate PICTURES keeps far more accuracy")
    if trained and args.out:
        words = ["ghostyolo", "train", args.out, "DATA", "--weights", args.weights_out]
        words += ["--teacher", args.cfg, args.from_weights, "--epochs", "10"]
        shared.say(f"to win back what is lost: {shlex.join(words)}")


def _words(text: str) -> list[str]:
    """Split a list of words at its commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _command(args: argparse.Namespace) -> str:
    """Return the command line that wrote the file, as a comment for the file."""
    words = [args.cfg, "--ratio", str(args.ratio), "--dw", str(args.dw)]
    for name in ("select", "keep"):
        if value := getattr(args, name):
            words += [f"--{name}", ",".join(value)]
    return f"Written by ghostyolo ghostify {shlex.join(words)}"

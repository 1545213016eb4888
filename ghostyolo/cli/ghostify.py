"""ghostyolo ghostify: replace convolutions of a cfg by ghost modules."""

from __future__ import annotations

import argparse
import json
import shlex

from ghostyolo.cli import shared
from ghostyolo.errors import OptionError
from ghostyolo.files import replace
from ghostyolo.ghostify import GhostOptions, ghostify
from ghostyolo.ghostify.options import REFINE_STEPS
from ghostyolo.ghostify.selection import WORDS
from ghostyolo.network import dumps

EXAMPLES = f"""words for --select and --keep, separated by commas: {WORDS};
words with >= restrict the selection of the other words
examples:
  ghostyolo ghostify yolov3.cfg                          print the savings of each layer
  ghostyolo ghostify yolov3.cfg -o ghost.cfg --select "3x3,filters>=128" --keep 80-106
  ghostyolo ghostify yolov3.cfg -o ghost.cfg --from-weights yolov3.weights --calibrate photos
"""


def options(p: argparse.ArgumentParser) -> None:
    """Declare what ghostify takes."""
    p.epilog, p.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    default = GhostOptions()
    shared.add_cfg(p)
    p.add_argument("-o", "--out", metavar="FILE", help="write the new cfg here")
    for name, value, text in (
        ("--ratio", default.ratio, "s of the paper: number of maps for each intrinsic map"),
        ("--dw", default.dw, "d of the paper: size of the cheap kernels"),
    ):
        p.add_argument(name, type=int, default=value, help=f"{text} ({value})")
    for name, text in (
        ("--select", "convolutions to replace (all except stems and heads)"),
        ("--keep", "convolutions not to replace"),
    ):
        p.add_argument(name, action="extend", type=_words, default=[], metavar="WORDS", help=text)
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--from-weights", metavar="IN", help="fit the modules to these trained weights")
    p.add_argument("--weights-out", metavar="OUT", help="write the fitted .weights here")
    p.add_argument(
        "--calibrate",
        nargs="+",
        metavar="PICTURES",
        help="files, folders or patterns of pictures to fit on, such as the training pictures; "
        "without them noise is used, and most of the accuracy is lost until the network is trained "
        "again",
    )
    p.add_argument(
        "--refine",
        type=int,
        metavar="N",
        help="steps of gradient descent that fit each module as a whole; 0 for least squares only "
        f"({REFINE_STEPS})",
    )
    p.add_argument("--seed", type=int, default=0, help="seed of the random choice of pictures (0)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


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

        fits = fit_weights(
            network,
            result,
            args.from_weights,
            args.weights_out,
            pictures=find_pictures(args.calibrate) if args.calibrate else None,
            steps=args.refine,
            seed=args.seed,
            progress=shared.progress("fit", "module"),
        )
    if args.out:
        replace(args.out, [dumps(result.network).encode()])
    if args.json:
        print(json.dumps(result.as_dict(fits)))
        return
    print(result.text())
    count = f"{len(result.ghosts)} of {len(result.ghosts) + len(result.reasons)} convolutions"
    print(f"{count} became ghost modules: {args.out or 'nothing written, give -o FILE'}")
    if fits:
        print(f"{args.weights_out}: {fit_text(fits)}")
        _print_hints(args, trained=bool(result.ghosts))


def _print_hints(args: argparse.Namespace, trained: bool) -> None:
    if not args.calibrate:
        print("fitted to noise; --calibrate PICTURES keeps far more accuracy")
    if trained and args.out:
        words = ["ghostyolo", "train", args.out, "DATA", "--weights", args.weights_out]
        words += ["--teacher", args.cfg, args.from_weights, "--epochs", "10"]
        print(f"to win back what is lost: {shlex.join(words)}")


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

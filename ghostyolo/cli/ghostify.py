"""ghostyolo ghostify: ghost modules in place of a cfg's convolutions."""

from __future__ import annotations

import argparse
import json
import shlex
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ghostyolo.cli import shared
from ghostyolo.errors import OptionError
from ghostyolo.files import replace
from ghostyolo.ghostify import Ghostified, Wish, ghostify
from ghostyolo.ghostify.select import WORDS
from ghostyolo.network import Network, cost, dumps, info

if TYPE_CHECKING:
    from ghostyolo.ghostify.transfer import Kept

EXAMPLES = f"""what --select and --keep take, separated by commas: {WORDS};
words with >= narrow what the others select
examples:
  ghostyolo ghostify yolov3.cfg                          what it would save, layer by layer
  ghostyolo ghostify yolov3.cfg -o ghost.cfg --select "3x3,filters>=128" --keep 80-106
  ghostyolo ghostify yolov3.cfg -o ghost.cfg --from-weights yolov3.weights --calibrate photos
"""


def options(p: argparse.ArgumentParser) -> None:
    """Declare what ghostify takes."""
    p.epilog, p.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    shared.add_cfg(p)
    p.add_argument("-o", "--out", metavar="FILE", help="write the new cfg here")
    p.add_argument("--ratio", type=int, default=2, help="s: maps per intrinsic map (2)")
    p.add_argument("--dw", type=int, default=3, help="d: kernel of the cheap operation (3)")
    for name, text in (
        ("--select", "convolutions to replace (all but stems and heads)"),
        ("--keep", "convolutions to leave alone"),
    ):
        p.add_argument(name, action="append", default=[], metavar="WORDS", help=text)
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--from-weights", metavar="IN", help="fit the modules to this trained network")
    p.add_argument("--weights-out", metavar="OUT", help="write the fitted .weights here")
    p.add_argument(
        "--calibrate",
        nargs="+",
        metavar="PICTURES",
        help="files, folders or patterns to fit on, such as those that it was trained on; without "
        "them made-up pictures stand in, and most of what was learned has to be learned again",
    )
    p.add_argument(
        "--refine",
        type=int,
        metavar="N",
        help="steps of descent that fit each module as a whole, 0 for least squares alone (100)",
    )
    p.add_argument("--seed", type=int, default=0, help="of which pictures are taken (0)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> None:
    """Write the network with ghost modules; say what it saves and what stays."""
    fits = args.calibrate or args.refine is not None
    if bool(args.from_weights) != bool(args.weights_out) or (fits and not args.from_weights):
        hint = "give both, and --calibrate and --refine only with them"
        raise OptionError("--from-weights IN and --weights-out OUT go together", hint=hint)
    network = shared.read_network(args)
    wish = Wish(args.ratio, args.dw, _words(args.select), _words(args.keep))
    done = ghostify(network, wish, comment=_command(args))
    kept = _fit(args, network, done) if args.from_weights else []
    if args.out:
        replace(args.out, [dumps(done.network).encode()])
    report = {**_report(network, done), "kept": [asdict(row) for row in kept]}
    print(json.dumps(report) if args.json else _text(args, network, done, kept))


def _fit(args: argparse.Namespace, network: Network, done: Ghostified) -> list[Kept]:
    """Write the weights that are fitted to the trained network; return what they keep of it."""
    import numpy as np

    from ghostyolo.cli.progress import Progress
    from ghostyolo.ghostify import pictures
    from ghostyolo.ghostify.refine import STEPS
    from ghostyolo.ghostify.transfer import transfer
    from ghostyolo.model.model import Model
    from ghostyolo.prediction import predict

    if args.seed < 0:
        raise OptionError(f"--seed {args.seed}", hint="use 0 or more")
    steps = STEPS if args.refine is None else args.refine
    if steps < 0:
        raise OptionError(f"--refine {steps}", hint="use 0 or more")
    old, rng = Model(network, args.from_weights), np.random.default_rng(args.seed)
    if args.calibrate:
        x = pictures.read(network, predict.pictures(args.calibrate), rng)
    else:
        x = pictures.made_up(network, rng)
    progress = Progress(len(done.ghosts), "fit", "module")
    new, kept = transfer(old, done, x, steps=steps, told=progress.advance_to)
    progress.close()
    new.save_weights(args.weights_out)
    return kept


def _words(given: list[str]) -> tuple[str, ...]:
    words = ",".join(given).split(",")
    return tuple(word.strip() for word in words if word.strip())


def _command(args: argparse.Namespace) -> str:
    """Return the line that says how the file came about."""
    words = [args.cfg, "--ratio", str(args.ratio), "--dw", str(args.dw)]
    for name in ("select", "keep"):
        if value := getattr(args, name):
            words += [f"--{name}", ",".join(value)]
    return f"Written by ghostyolo ghostify {shlex.join(words)}"


@dataclass(frozen=True)
class Size:
    """What a network costs, for one image."""

    layers: int
    parameters: int
    macs: int
    bytes: int


def _size(network: Network) -> Size:
    total = info.totals(info.rows(network))
    moved = cost.totals(network, cost.rows(network)).bytes
    return Size(total.layers, total.parameters, total.macs, moved)


def _report(network: Network, done: Ghostified) -> dict[str, Any]:
    return {
        "before": asdict(_size(network)),
        "after": asdict(_size(done.network)),
        "ghosts": [
            {"old": old, "filters": network[old].shape.c, **asdict(ghost)}
            for old, ghost in done.ghosts.items()
        ],
        "left": [{"old": old, "reason": reason} for old, reason in done.reasons.items()],
    }


def _text(args: argparse.Namespace, network: Network, done: Ghostified, kept: list[Kept]) -> str:
    """Return each convolution's fate and the sums, for a person to read."""
    lines = [f"{'#':>4} {'options':<22} {'shape':<13} {'MACs':>14} {'now':>14}  fate"]
    now = [row.macs for row in info.rows(done.network)]
    for row in info.rows(network):
        if row.index not in done.ghosts and row.index not in done.reasons:
            continue
        ghost = done.ghosts.get(row.index)
        new = ghost.convolutions if ghost else (done.places[row.index],)
        fate = done.reasons.get(row.index, "")
        if ghost:
            fate = f"ghost module {ghost.out}: {ghost.split.primary} + {ghost.split.cheap} maps"
        shape = "x".join(map(str, row.shape))
        macs = sum(now[index] for index in new)
        lines.append(
            f"{row.index:>4} {row.detail:<22} {shape:<13} {row.macs:>14,} {macs:>14,}  {fate}"
        )
    lines += ["", *_sums(_size(network), _size(done.network))]
    kinds = f"{len(done.ghosts)} of {len(done.ghosts) + len(done.reasons)} convolutions"
    where = args.out or "nothing written, give -o FILE"
    lines.append(f"{kinds} are ghost modules now: {where}")
    return "\n".join(lines + _fitted(args, kept))


def _fitted(args: argparse.Namespace, kept: list[Kept]) -> list[str]:
    """Return what the fitted weights keep of the trained network's maps."""
    if not kept:
        return []
    lost = sorted(row.error for row in kept if row.ghost)
    fixed = sum(row.ghost and not row.ordered for row in kept)
    ends = ", ".join(f"{row.error:.1%} in layer {row.index}" for row in kept if not row.ghost)
    lines = [
        f"{args.weights_out}: of the variance of the maps are lost {lost[len(lost) // 2]:.1%} in "
        f"the median module, {ends or 'nothing else'}"
        if lost
        else f"{args.weights_out}: the weights as they were"
    ]
    if not args.calibrate:
        lines.append("fitted to made-up pictures; --calibrate PICTURES keeps far more")
    if fixed:
        lines.append(f"{fixed} modules keep their first maps: what reads them needs their order")
    if lost and args.out:
        words = ["ghostyolo", "train", args.out, "DATA", "--weights", args.weights_out]
        words += ["--teacher", args.cfg, args.from_weights, "--epochs", "10"]
        lines.append(f"to win back what is lost: {shlex.join(words)}")
    return lines


def _sums(before: Size, after: Size) -> list[str]:
    rows = {
        "parameters": (before.parameters, after.parameters, 1e6, "M"),
        "multiply-adds": (before.macs, after.macs, 1e6, "M"),
        "memory moved": (before.bytes, after.bytes, 1e6, "MB"),
    }
    return [
        f"{what:<14} {old / unit:>12,.2f} {name} -> {new / unit:>12,.2f} {name}  "
        f"({new / max(1, old):.0%})"
        for what, (old, new, unit, name) in rows.items()
    ]

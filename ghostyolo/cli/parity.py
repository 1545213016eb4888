"""ghostyolo parity: a network against another program's run of it, layer by layer."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from ghostyolo.cli import shared
from ghostyolo.errors import OptionError

if TYPE_CHECKING:
    import numpy as np

    from ghostyolo.model.model import Model
    from ghostyolo.parity import Parity, Row, Side

TOLERANCE = 1e-4


def options(p: argparse.ArgumentParser) -> None:
    """Declare what parity takes."""
    shared.add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    p.add_argument(
        "--against",
        required=True,
        metavar="OTHER",
        help="opencv (4), onnx:FILE, or trace:FILE as 'ghostyolo trace' wrote it",
    )
    shared.add_input(p, "0, or the input of the trace")
    shared.add_run(p)
    p.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        metavar="SHARE",
        help=f"largest difference, as a share of a layer's largest magnitude ({TOLERANCE:g})",
    )
    p.add_argument(
        "--keep-eps",
        action="store_true",
        help="opencv: leave its batch-norm epsilon of 1e-6 uncorrected",
    )
    p.add_argument("--all", action="store_true", help="list every layer, not only the results")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> int:
    """Compare a network with another program's run of it; 1 if they depart."""
    from ghostyolo import parity

    if not args.tolerance > 0:
        raise OptionError(f"--tolerance {args.tolerance:g}", hint="use a number above 0")
    model = shared.read_model(shared.read_network(args), args)
    x, side = _sides(model, args)
    found = parity.compare(model, x, side, args.tolerance)
    print(json.dumps(found.as_dict()) if args.json else _text(found, args.all))
    return 0 if found.equal else 1


def _sides(model: Model, args: argparse.Namespace) -> tuple[np.ndarray, Side]:
    """Return our input, and what --against names."""
    from ghostyolo import parity
    from ghostyolo.data.inputs import network_input

    kind, _, path = args.against.partition(":")
    if kind == "trace" and path:
        trace = parity.read_trace(path)
        own = args.input is not None or args.seed is not None
        x = network_input(model.network, args.input, args.seed) if own else trace.x
        return x, parity.of_trace(trace, path)
    x = network_input(model.network, args.input, args.seed)
    if kind == "onnx" and path:
        return x, parity.of_onnx(model, path, x)
    if args.against == "opencv":
        return x, parity.of_opencv(model, x, keep_eps=args.keep_eps)
    raise OptionError(f"--against {args.against}", hint="use opencv, onnx:FILE or trace:FILE")


def _text(found: Parity, everything: bool) -> str:
    """Return the table, the verdict and what a reader must know."""
    shown = [
        row for row in found.rows if everything or row.index in found.ends or row == found.first
    ]
    head = ("layer", "", found.title.partition(" ")[0], "CxHxW", "max diff", "max", "share", "own")
    lines = [_line(head), *(_line(_cells(row)) for row in shown)]
    worst = max(found.rows, key=lambda row: row.share)
    if found.first is None:
        lines.append(
            f"equal to {found.title}: {len(found.rows)} layers within {found.tolerance:g} of their "
            f"largest magnitude; worst is layer {worst.index}, {worst.share:.1e}"
        )
    else:
        first, over = found.first, sum(not r.share <= found.tolerance for r in found.rows)
        lines.append(
            f"departs from {found.title}: first in layer {first.index} [{first.kind}] by "
            f"{first.share:.1e}; {over} of {len(found.rows)} layers above {found.tolerance:g}"
        )
    if found.cause:
        at = found.cause.index
        place = f" (layer {at})" if at is not None and at >= 0 else ""
        lines.append(f"likely cause{place}: {found.cause.text}")
    return "\n".join([*lines, *(f"note: {note}" for note in found.notes)])


def _cells(row: Row) -> tuple[str, ...]:
    own = "" if row.own is None else f"{row.own:.1e}"
    numbers = (f"{row.difference:.2e}", f"{row.absmax:.3g}", f"{row.share:.1e}", own)
    return (str(row.index), row.kind, row.name, "x".join(map(str, row.shape)), *numbers)


def _line(cells: tuple[str, ...]) -> str:
    index, kind, name, shape, *numbers = cells
    return f"{index:>5}  {kind:<14} {name:<18} {shape:>13}" + "".join(f"{n:>10}" for n in numbers)

"""ghostyolo anchors: anchors that fit a data set, written into a cfg."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from ghostyolo.cli import shared
from ghostyolo.errors import OptionError

if TYPE_CHECKING:
    from ghostyolo.data import Dataset
    from ghostyolo.data.anchors import Fit
    from ghostyolo.network import Network

ABOUT = (
    "IoU is that of a box with its best anchor, both centred. Anchors are in pixels of the input; "
    "the small ones go to the heads of small stride. A cfg that was trained must be trained again."
)


def options(p: argparse.ArgumentParser) -> None:
    """Declare what anchors takes."""
    from ghostyolo.data.layouts import DATA_HELP

    p.epilog = ABOUT
    p.add_argument("data", metavar="DATA", help=DATA_HELP)
    shared.add_cfg(p)
    p.add_argument("--split", default="train", help="part of DATA (train)")
    p.add_argument("--names", metavar="FILE", help="class names, one a line (those of DATA)")
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--num", type=shared.count, metavar="N", help="anchors in all (the cfg's)")
    p.add_argument("--seed", type=int, default=0, help="of the clustering (0)")
    p.add_argument("--out", metavar="NEW.cfg", help="write the cfg with these; may be CFG itself")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> None:
    """Cluster the boxes of a data set and write the anchors into a cfg."""
    from ghostyolo.data import anchors, open_dataset
    from ghostyolo.files import replace
    from ghostyolo.network import dumps

    if args.seed < 0:
        raise OptionError(f"--seed {args.seed}", hint="use 0 or more")
    network = shared.read_network(args)
    parts = anchors.scales(network)
    num = args.num or sum(len(part.anchors) for part in parts)
    anchors.deal(parts, num)  # raises before the data is read
    data = open_dataset(args.data, args.split, args.names)
    data.log_defects()
    now, new = anchors.propose(data, network, num, args.seed)
    changed = anchors.rewritten(network, new.anchors)
    if args.out:
        replace(args.out, [dumps(changed).encode()])
    found = {"now": _as_dict(network, now), "new": _as_dict(changed, new)}
    if args.json:
        h, w = network.options.size
        about = {"boxes": int(now.counts.sum()), "size": [h, w], "out": args.out}
        print(json.dumps({**about, **found}))
        return
    print("\n".join(_lines(network, data, found)))
    print(f"\n{args.out}: written" if args.out else "\n--out NEW.cfg writes them into a cfg")


def _as_dict(network: Network, fit: Fit) -> dict[str, Any]:
    """Return a fit with the stride of each anchor's head, the fine ones first."""
    from ghostyolo.data.anchors import scales

    strides = [part.cell[1] for part in scales(network) for _ in part.anchors]
    rows = zip(fit.anchors.tolist(), strides, fit.counts.tolist(), strict=True)
    return {
        "mean_iou": fit.mean_iou,
        "within_ratio": fit.within_ratio,
        "anchors": [{"w": w, "h": h, "stride": s, "boxes": n} for (w, h), s, n in rows],
    }


def _lines(network: Network, data: Dataset, found: dict[str, Any]) -> list[str]:
    from ghostyolo.data.anchors import RATIO

    options = network.options
    how = "letterboxed to" if options.letter_box else "stretched to"
    boxes = sum(row["boxes"] for row in found["now"]["anchors"])
    lines = [
        f"{data.path} {data.split}: {boxes:,} boxes in {len(data):,} pictures, "
        f"{how} {options.width}x{options.height} (WxH)\n",
        f"{'':<16}{'mean best IoU':>14}{f'sides within {RATIO:g}x':>22}",
    ]
    for key, words in (("now", "the cfg's anchors"), ("new", "clustered")):
        fit = found[key]
        lines.append(f"{words:<17}{fit['mean_iou']:>13.3f}{fit['within_ratio']:>21.1%}")
    for key, words in (("now", "the cfg's anchors"), ("new", "clustered")):
        lines += ["", f"{words}:", *_table(found[key]["anchors"], boxes)]
    return lines


def _table(rows: list[dict[str, Any]], boxes: int) -> list[str]:
    """Return a line for each stride: the share of boxes, then its anchors with their own."""
    lines = []
    for stride in dict.fromkeys(row["stride"] for row in rows):
        own = [row for row in rows if row["stride"] == stride]
        share = sum(row["boxes"] for row in own) / boxes
        cells = [f"{row['w']:g}x{row['h']:g} ({row['boxes']:,})" for row in own]
        lines.append(f"  stride {stride:>3g} {share:>7.1%}  {'  '.join(cells)}")
    return lines

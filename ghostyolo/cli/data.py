"""ghostyolo data: what a data set holds, in numbers and as a sheet of labelled pictures."""

from __future__ import annotations

import argparse
from functools import partial
from shlex import quote
from textwrap import fill

from ghostyolo.cli import shared
from ghostyolo.syntax.arguments import Parser

ABOUT = "ghostyolo anchors DATA CFG prints how well the anchors of a cfg fit the boxes."
EXAMPLES = ("DATA --sheet sheet.png", "DATA --split train --names my.names")


def options(p: Parser) -> None:
    """Declare what data takes."""
    from ghostyolo.data.help_texts import LIMIT_HELP
    from ghostyolo.data.layouts import DATA_HELP

    p.epilog = f"what marks DATA, the first that is there counts:\n{_layouts()}\n\n{ABOUT}"

    group = p.group("data")
    group.add_argument("data", metavar="DATA", help=DATA_HELP)
    text = "split of DATA; may be repeated (all splits)"
    group.add_argument("--split", action="append", help=text)
    shared.add_names(p, "data", "those of DATA")
    shared.add_reading(p)
    shared.add_limit(p, "data", LIMIT_HELP)
    group = p.group("sheet")
    group.add_argument("--sheet", metavar="FILE", help="draw labelled pictures on a .jpg or .png")
    group.add_argument("--seed", type=int, default=0, help="seed of the choice of pictures (0)")
    shared.add_json(p)
    shared.add_quiet(p)


def _layouts() -> str:
    """Return a paragraph for each layout, with what marks it."""
    from ghostyolo.data.layouts import LAYOUTS, UNDESCRIBED

    texts = (f"{layout.name}: {layout.wants}" for layout in (*LAYOUTS, UNDESCRIBED))
    return "\n".join(
        fill(each, 79, initial_indent="  ", subsequent_indent="    ") for each in texts
    )


def run(args: argparse.Namespace) -> int:
    """Print the numbers of a data set, and draw a contact sheet of it."""
    from ghostyolo.data.summary import summarise

    watch = partial(shared.watched, args)
    found = summarise(
        args.data,
        args.split,
        args.names,
        lambda data, pictures: watch(pictures, len(data), "picture", data.split),
        allow_outside=args.allow_outside,
        no_cache=args.no_cache,
        limit=args.limit,
    )
    if args.sheet:
        from ghostyolo.data.sheet import write_sheet

        write_sheet(args.sheet, found.datasets, args.seed)
    if args.json:
        shared.say(shared.json_text(found.as_dict(args.sheet)))
    else:
        shared.say(found.table(), keep="\n")
        if args.sheet:
            shared.say(f"{args.sheet}: written")
        data = quote(args.data)
        given = f" --names {quote(args.names)}" if args.names else ""
        write = f"ghostyolo gencfg --data {data}{given} --out my.cfg"
        shared.say(f"next: {write}; ghostyolo train my.cfg {data}{given}")
    return int(not found.complete)

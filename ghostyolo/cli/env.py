"""ghostyolo env: print what a report about a bug needs."""

from __future__ import annotations

import argparse

from ghostyolo.cli import shared
from ghostyolo.syntax.arguments import Parser

EXAMPLES = ("", "--json")


def options(p: Parser) -> None:
    """Declare the options of env."""
    shared.add_json(p)


def run(args: argparse.Namespace) -> None:
    """Describe this machine and what is installed on it."""
    from ghostyolo.inference import environment

    found = environment.environment()
    shared.say(shared.json_text(found) if args.json else environment.text(found), keep="\n")

"""ghostyolo env: print what a report about a bug needs."""

from __future__ import annotations

import argparse

from ghostyolo.cli import shared


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options of env."""
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> None:
    """Describe this machine and what is installed on it."""
    from ghostyolo.inference import environment

    found = environment.environment()
    if args.json:
        shared.print_json(found)
    else:
        print(environment.text(found))

"""The command line: a file per command. Exit codes: 0 done, 1 the input is wrong, 2 usage.

The file of a command has `options(parser)`, which declares its options, `run(args)`, which may
return an exit code, and `EXAMPLES`, two that run. Only the file of the called command is imported,
and `run` imports the rest, so that `ghostyolo info` does not wait for torch.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any

import ghostyolo
from ghostyolo.distributed import interrupted_by_sigterm, rank_and_size
from ghostyolo.errors import GhostyoloError, OptionError, missing_package, printable
from ghostyolo.syntax.arguments import Parser, did_you_mean

LOG_FORMAT = "ghostyolo: %(message)s"
SIGNALLED = 128  # plus the number of a signal is the exit code of the program that it ended
COMMANDS = {
    "data and a network for it": {
        "sample-data": "paint a small labelled data set to try things on",
        "data": "describe a data set, and draw a sheet of its pictures",
        "gencfg": "write the cfg of a GhostNet or another small network for DATA",
        "anchors": "fit the anchors of a cfg to a data set",
        "info": "print the layers of a cfg and their cost",
        "lint": "find mistakes in cfgs, and mend them",
    },
    "train it and use it": {
        "train": "train a cfg's detector or classifier on labelled pictures",
        "val": "measure the average precision or accuracy of a trained cfg",
        "compare": "tell which of several detectors is better, and what is chance",
        "detect": "find objects in pictures, draw and list them",
        "classify": "print the most probable classes of pictures",
        "serve": "answer pictures with predictions over HTTP",
    },
    "other programs and machines": {
        "export": "write a trained cfg as a file for others, such as ONNX",
        "convert": "move weights between formats and from other checkpoints",
        "bench": "measure a cfg in each runtime against this machine's roofline",
        "parity": "compare a network with another program, layer by layer",
        "trace": "run a network once and save the output of every layer",
        "env": "print versions, devices and memory for a report about a bug",
    },
    "ghost modules": {
        "ghosts": "show which feature maps are near-linear images of others",
        "ghostify": "replace the convolutions of a cfg by ghost modules",
    },
}
SEVERAL = ("train", "val", "detect")  # the commands that several processes share
ABOUTS = {name: text for group in COMMANDS.values() for name, text in group.items()}
EXAMPLES = (
    "gencfg --data DATA --width 0.5 --size 320x320 --out my.cfg",
    "train my.cfg DATA --epochs 100 --name first",
    "val runs/train/first DATA",
    "detect runs/train/first dog.jpg",
)


class LogFormatter(logging.Formatter):
    """Format a message as one line, below which its traceback stands if it has one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line of a message."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """Return the lines of a traceback."""
        return printable(super().formatException(ei), keep="\n")


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for letters that its encoding lacks
    handler = logging.StreamHandler()
    handler.setFormatter(LogFormatter(LOG_FORMAT))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    try:
        args = parse(sys.argv[1:] if argv is None else argv)
        _check_processes(args.words[0])
        from ghostyolo.cli import shared

        with interrupted_by_sigterm(), shared.reading(args):
            return int(args.run(args) or 0)
    except GhostyoloError as error:
        print(f"ghostyolo: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"ghostyolo: {missing_package(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        number = stop.args[0] if stop.args else signal.SIGINT
        by = " by SIGTERM" if number == signal.SIGTERM else ""
        print(f"ghostyolo: interrupted{by}", file=sys.stderr)
        return SIGNALLED + int(number)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except Exception as error:
        from ghostyolo.model.out_of_memory import lack_of_memory

        if not (lack := lack_of_memory(error)):
            raise
        print(f"ghostyolo: {lack}", file=sys.stderr)
        return 1


def _check_processes(command: str) -> None:
    """Raise `OptionError` if torchrun started several processes of a command for one.

    Only the first says so; the others end at once.
    """
    rank, size = rank_and_size()
    if size == 1 or command in SEVERAL:
        return
    if rank:
        raise SystemExit(1)
    hint = f"start it without torchrun, which is for {', '.join(SEVERAL)}"
    raise OptionError(f"{command} is for one process", hint=hint)


def parse(words: list[str]) -> argparse.Namespace:
    """Return the arguments of the command that the first word names, and its `run`.

    Exits with code 2 for words that are not understood, without words after the help.
    """
    top = Parser("ghostyolo", _top_options, EXAMPLES)
    if not words:
        top.print_help(sys.stderr)
        top.exit(2)
    name = top.parse_args(words[:1]).command or ""
    if name not in ABOUTS:
        top.error(f"no command '{name}'{did_you_mean(name, ABOUTS)}")
    from ghostyolo.cli.model_argument import with_weights

    command, run = parser(name)
    args = command.parse_args(with_weights(command, words[1:]))
    args.run, args.words = run, words
    return args


def parser(name: str) -> tuple[Parser, Callable[[argparse.Namespace], int | None]]:
    """Return the parser of a command, and the function that runs it."""
    module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
    about = f"{ABOUTS[name][0].upper()}{ABOUTS[name][1:]}."
    return Parser(f"ghostyolo {name}", module.options, module.EXAMPLES, about), module.run


def _top_options(p: Parser) -> None:
    """Declare what goes without a command, and list the commands."""
    p.usage = "%(prog)s COMMAND [options]"
    p.description = "Write, check, train and run Darknet cfgs in PyTorch, GhostNet-YOLO first."
    for title, commands in COMMANDS.items():
        lines = (f"  {name:<13}{text}" for name, text in commands.items())
        p.description += "\n\n" + "\n".join([f"{title}:", *lines])
    p.epilog = "'ghostyolo COMMAND --help' tells more of each command."
    p.add_argument("command", metavar="COMMAND", nargs="?", help=argparse.SUPPRESS)
    version = f"ghostyolo {ghostyolo.__version__}"
    p.group("help").add_argument(
        "--version", action="version", version=version, help="show the version"
    )

"""The command line: a file per command. Exit codes: 0 done, 1 the input is wrong, 2 usage.

The file of a command has `options(parser)`, which declares its options, and `run(args)`, which may
return an exit code. Only the file of the called command is imported, and `run` imports the rest, so
that `ghostyolo info` does not wait for torch.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import sys

import ghostyolo
from ghostyolo.errors import GhostyoloError, missing_package

LOG_FORMAT = "ghostyolo: %(message)s"
SIGNALLED = 128  # plus the number of a signal is the exit code of the program that it ended
COMMANDS = {
    "info": "print the layers of a cfg and their cost",
    "ghostify": "replace the convolutions of a cfg by ghost modules",
    "ghosts": "show which feature maps of a layer are near-linear images of others",
    "lint": "find mistakes in cfgs, and mend them",
    "train": "train a cfg's detector or classifier on labelled pictures",
    "val": "measure the average precision or accuracy of a trained cfg",
    "detect": "find objects in pictures, draw and list them",
    "classify": "print the most probable classes of pictures",
    "convert": "move weights between file formats and from other checkpoints",
    "export": "write a trained cfg as a file for other programs, such as ONNX",
    "serve": "answer pictures with predictions over HTTP, with a page to try it",
    "bench": "measure a cfg in each runtime against the roofline of this machine",
    "trace": "run a network once and save the output of every layer",
    "parity": "compare a network with another program, layer by layer",
    "anchors": "fit the anchors of a cfg to a data set",
    "data": "describe a data set, and draw a sheet of its pictures",
    "env": "print versions, devices and memory for a report about a bug",
    "sample-data": "paint a small labelled data set to try things on",
}
WITH_SOURCES = ("val", "detect", "classify")  # positional arguments follow WEIGHTS
EXAMPLES = """examples:
  python -m ghostyolo.gencfg --width 1.0 > ghostnet.cfg   write a detector's cfg
  ghostyolo info ghostnet.cfg                             its layers and their cost
  ghostyolo lint *.cfg                                    mistakes with their lines and remedies
  ghostyolo data DATA --sheet sheet.png                   a data set in numbers and pictures
  ghostyolo anchors DATA ghostnet.cfg --out my.cfg        anchors that fit its boxes
  ghostyolo train ghostnet.cfg DATA --adapt --epochs 50   train it on VOC, COCO or YOLO data
  ghostyolo val runs/train/ghostnet/model.cfg runs/train/ghostnet/best.weights DATA --split test
  ghostyolo detect runs/train/ghostnet/model.cfg runs/train/ghostnet/best.weights dog.jpg
  ghostyolo export yolov4-tiny.cfg yolov4-tiny.weights yolov4-tiny.onnx --sample python
  ghostyolo ghostify yolov4-tiny.cfg -o ghost-tiny.cfg    ghost modules for its convolutions
  ghostyolo ghosts yolov4-tiny.cfg yolov4-tiny.weights dog.jpg --out ghosts.png
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    logging.basicConfig(format=LOG_FORMAT, level=logging.WARNING)
    words = sys.argv[1:] if argv is None else argv
    args = parser(words).parse_args(with_weights(words))
    try:
        return int(args.run(args) or 0)
    except GhostyoloError as error:
        print(f"ghostyolo: {error}", file=sys.stderr)
        return 1
    except ImportError as error:
        print(f"ghostyolo: {missing_package(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as stop:
        print("ghostyolo: interrupted", file=sys.stderr)
        return SIGNALLED + int(stop.args[0] if stop.args else signal.SIGINT)
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def with_weights(words: list[str]) -> list[str]:
    """Return the words of the command line with empty WEIGHTS after an exported file.

    For argparse, which cannot skip a positional argument before others.
    """
    if not words or words[0] not in WITH_SOURCES:
        return words
    from ghostyolo.runtime.registry import is_exported

    for index, word in enumerate(words):
        if word.lower().endswith(".cfg"):
            break
        if is_exported(word):
            return [*words[: index + 1], "", *words[index + 1 :]]
    return words


def parser(words: list[str]) -> argparse.ArgumentParser:
    """Return the parser, with the options of the command that is in the words."""
    top = argparse.ArgumentParser(
        prog="ghostyolo",
        description="Write, check, train and run Darknet cfgs in PyTorch, GhostNet-YOLO first.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"ghostyolo {ghostyolo.__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        if name in words:
            module = importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
            module.options(command)
            command.set_defaults(run=module.run, words=words)
    return top

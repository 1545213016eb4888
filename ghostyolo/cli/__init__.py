"""The command line: a file per command. Exit codes: 0 done, 1 the input is wrong, 2 usage.

A command's file has `options(parser)`, which declares what it takes, and `run(args)`, which does it
and may return an exit code. Only the command that is called is imported, and what it needs inside
`run`: `ghostyolo info` is not to wait for torch.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import signal
import sys

import ghostyolo
from ghostyolo.cli.model_argument import with_weights
from ghostyolo.errors import GhostyoloError

LOG_FORMAT = "ghostyolo: %(message)s"
SIGNALLED = 128  # what the shell adds to the number of a signal that ended a program
COMMANDS = {
    "info": "print the layers of a cfg and what they cost",
    "ghostify": "replace the convolutions of a cfg by ghost modules",
    "ghosts": "show which feature maps of a layer are near-linear images of others",
    "lint": "find what is wrong or odd in cfgs, and mend it",
    "train": "train a cfg's detector or classifier on labelled pictures",
    "val": "measure the average precision or accuracy of a trained cfg",
    "detect": "find objects in pictures, draw and list them",
    "classify": "name what pictures show",
    "convert": "move weights between file formats and from other checkpoints",
    "export": "write a trained cfg as ONNX, OpenVINO IR or TorchScript",
    "serve": "answer pictures with detections over HTTP, with a page to try it",
    "bench": "measure how fast a cfg runs here, and against what the machine could do",
    "trace": "run a network once and keep every layer's output in a file",
    "parity": "compare a network, layer by layer, with another program's run of it",
    "anchors": "fit the anchors of a cfg to a data set",
    "data": "tell what a data set holds, and draw a sheet of it",
    "sample-data": "paint a small labelled data set to try things on",
}
EXAMPLES = """examples:
  python -m ghostyolo.gencfg --width 1.0 > ghostnet.cfg   write a detector's cfg
  ghostyolo info ghostnet.cfg                             its layers and what they cost
  ghostyolo lint *.cfg                                    mistakes with their lines and mends
  ghostyolo data DATA --sheet sheet.png                   what a data set holds, drawn
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
    except KeyboardInterrupt as stop:
        print("ghostyolo: interrupted", file=sys.stderr)
        return SIGNALLED + int(stop.args[0] if stop.args else signal.SIGINT)
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def parser(words: list[str]) -> argparse.ArgumentParser:
    """Return the parser, with the options of the command that the words name."""
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

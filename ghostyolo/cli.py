"""The command line: one small function per command. Exit codes: 0 done, 1 wrong input, 2 usage.

What a command needs is imported inside it: `ghostyolo info` is not to wait for torch.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ghostyolo
from ghostyolo.errors import DataError, Findings, GhostyoloError, OptionError, Span
from ghostyolo.network import Network, load

if TYPE_CHECKING:
    from ghostyolo.data import Dataset
    from ghostyolo.model import Model
    from ghostyolo.train import TrainConfig

INTERRUPTED = 130  # the shell's code for Ctrl-C
VALIDATIONS = 20  # of a run, unless told otherwise
EXAMPLES = """examples:
  python -m ghostyolo.gencfg --width 1.0 > ghostnet.cfg   write a detector's cfg
  ghostyolo info ghostnet.cfg                             its layers and what they cost
  ghostyolo train ghostnet.cfg DATA --adapt --epochs 50   train it on VOC, COCO or YOLO data
  ghostyolo val runs/train/ghostnet/model.cfg runs/train/ghostnet/best.weights DATA --split test
  ghostyolo detect runs/train/ghostnet/model.cfg runs/train/ghostnet/best.weights dog.jpg
"""


def main(argv: list[str] | None = None) -> int:
    """Run a command and return its exit code."""
    logging.basicConfig(format="ghostyolo: %(message)s", level=logging.WARNING)
    args = parser().parse_args(argv)
    try:
        return int(args.function(args) or 0)
    except GhostyoloError as error:
        print(f"ghostyolo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ghostyolo: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 1


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="ghostyolo",
        description="Write, check, train and run Darknet cfgs in PyTorch, GhostNet-YOLO first.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"ghostyolo {ghostyolo.__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for name, (function, fill, text) in _COMMANDS.items():
        command = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        command.set_defaults(function=function)
        fill(command)
    return top


# --- info


def _info_options(p: argparse.ArgumentParser) -> None:
    _add_cfg(p)
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def info(args: argparse.Namespace) -> None:
    """Print the layers of a cfg and what they cost."""
    from ghostyolo import info as costs

    network = _network(args)
    print(json.dumps(costs.as_dict(network)) if args.json else costs.text(network))


# --- train


def _train_options(p: argparse.ArgumentParser) -> None:
    _add_cfg(p)
    _add_data(p, "train")
    add = p.add_argument
    add("--val-split", default="val", help="part to watch, or 'none' (val)")
    add("--adapt", action="store_true", help="rewrite the heads for the classes of DATA")
    add("--weights", metavar="FILE", help="start from this .weights file")
    add("--epochs", type=int, help="passes over the pictures; the rate's steps are stretched to it")
    add("--batch", type=int, help="pictures of an update, instead of [net]'s")
    add("--set", action="append", default=[], metavar="net.KEY=VALUE", help="override [net]")
    add("--seed", type=int, default=0, help="of everything random (0)")
    add("--workers", type=int, default=1, help="threads that prepare pictures (1)")
    add(
        "--val-every",
        type=int,
        metavar="N",
        help=f"epochs between validations ({VALIDATIONS} in all)",
    )
    add("--save-every", type=int, default=0, metavar="N", help="also save every N iterations")
    add(
        "--bn-momentum",
        type=float,
        default=0.1,
        help="share of a batch in running statistics (0.1)",
    )
    add(
        "--project", default="runs/train", metavar="FOLDER", help="where runs are kept (runs/train)"
    )
    add("--name", help="name of the run (the cfg's)")
    add("--resume", action="store_true", help="go on with a run where it stopped")


def train(args: argparse.Namespace) -> int:
    """Train a cfg on pictures."""
    from ghostyolo.console import TrainProgress
    from ghostyolo.train import train as run

    config = _train_config(args)
    folder = config.folder
    if folder.exists() and any(folder.iterdir()) and not args.resume:
        hint = "give another --name, or --resume to go on"
        raise OptionError("this run exists", span=Span(str(folder)), hint=hint)
    _report_defects(config.train)
    observer = TrainProgress(config.iterations)
    try:
        run(config, observer, resume=args.resume, weights=args.weights)
    except KeyboardInterrupt:
        print(f"ghostyolo: interrupted; --resume goes on with {folder}", file=sys.stderr)
        return INTERRUPTED
    finally:
        observer.progress.close()
    print(f"{folder}: model.cfg, best.weights, last.weights, results.csv, curve.png")
    return 0


def _train_config(args: argparse.Namespace) -> TrainConfig:
    from ghostyolo.data import open_dataset
    from ghostyolo.train import TrainConfig

    names = _names_file(args.names)
    data = open_dataset(args.data, args.split, names)
    watched = None
    if args.val_split != "none":
        watched = open_dataset(args.data, args.val_split, names or data.names)
    network = _fitting(_network(args), data, args)
    network.options = _net_options(network, len(data), args)
    epoch = len(data) / network.options.batch
    epochs = network.options.max_batches / epoch
    every = args.val_every or max(1.0, epochs / VALIDATIONS)
    return TrainConfig(
        network=network,
        train=data,
        val=watched,
        folder=Path(args.project, args.name or Path(args.cfg).stem),
        seed=args.seed,
        workers=args.workers,
        device=_device(args.device),
        val_every=max(1, round(every * epoch)),
        save_every=args.save_every,
        bn_momentum=args.bn_momentum,
    )


def _net_options(network: Network, pictures: int, args: argparse.Namespace) -> Any:
    """Return `[net]` with the flags applied."""
    from ghostyolo.schedule import stretched

    options, texts = network.options, []
    for text in args.set:
        key, equals, value = text.removeprefix("net.").partition("=")
        if not equals or not text.startswith("net."):
            hint = "write it as --set net.learning_rate=0.01"
            raise OptionError(f"--set {text}", hint=hint)
        texts.append((key.strip(), value))
    if args.batch is not None:
        texts.append(("batch", str(args.batch)))
    options = options.set(texts, Span("--set"))
    if options.batch < 1 or options.batch % options.subdivisions:
        message = f"batch={options.batch} is not a multiple of subdivisions={options.subdivisions}"
        raise OptionError(message, hint="change one, such as --set net.subdivisions=1")
    if args.epochs is None:
        return options
    if args.epochs < 1:
        raise OptionError(f"--epochs {args.epochs}", hint="give 1 or more")
    return stretched(options, math.ceil(args.epochs * pictures / options.batch))


def _fitting(network: Network, data: Dataset, args: argparse.Namespace) -> Network:
    """Return the network with the classes of the data; raise `OptionError` unless it may change."""
    from ghostyolo import passes
    from ghostyolo.layers import Head

    for node in network:
        if isinstance(node.layer, Head) and node.layer.classes != len(data.names):
            if args.adapt:
                return passes.reclass(network, len(data.names))
            names = ", ".join(data.names[:8]) + (", ..." if len(data.names) > 8 else "")
            message = f"classes={node.layer.classes}, {data.path} has {len(data.names)} ({names})"
            hint = "give --adapt to rewrite the heads for these"
            raise OptionError(message, span=node.span, section=node.layer.kind, hint=hint)
    return network


def _report_defects(data: Dataset) -> None:
    for defect, count in sorted(data.defects.items()):
        print(f"ghostyolo: {data.path} {data.split}: {count} x {defect}", file=sys.stderr)


# --- val


def _val_options(p: argparse.ArgumentParser) -> None:
    _add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    _add_data(p, "val")
    p.add_argument("--thresh", type=_share, help="least score (0.001)", default=0.001)
    p.add_argument("--nms", type=_share, help="overlap that suppresses (0.6)", default=0.6)
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def val(args: argparse.Namespace) -> None:
    """Measure the average precision of a trained cfg."""
    from ghostyolo.console import Progress
    from ghostyolo.data import open_dataset
    from ghostyolo.evaluate import LIMITS, evaluate

    data = open_dataset(args.data, args.split, _names_file(args.names))
    args.adapt = False
    model = _model(_fitting(_network(args), data, args), args)
    _report_defects(data)
    progress = Progress(len(data), "val", "picture")
    limits = {**LIMITS, "thresh": args.thresh, "nms": args.nms}
    metrics = evaluate(model.detector(**limits), data, progress.advance_to)
    progress.close()
    print(json.dumps(metrics.as_dict()) if args.json else metrics.table())


# --- detect


def _detect_options(p: argparse.ArgumentParser) -> None:
    _add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    p.add_argument("source", nargs="+", metavar="SOURCE", help="pictures, folders or patterns")
    _add_run(p)
    p.add_argument("--names", metavar="FILE", help="class names, one a line (beside WEIGHTS)")
    p.add_argument("--thresh", type=_share, help="least score (0.25)", default=0.25)
    p.add_argument("--nms", type=_share, help="overlap that suppresses (0.45)", default=0.45)
    p.add_argument(
        "--out",
        default="runs/detect",
        metavar="FOLDER",
        help="for annotated pictures and detections.json (runs/detect)",
    )
    p.add_argument("--json", action="store_true", help="print JSON and write nothing")


def detect(args: argparse.Namespace) -> int:
    """Find objects in pictures, draw and list them."""
    from ghostyolo import predict

    paths = predict.pictures(args.source)
    names = _names_file(args.names) or _names_beside(Path(args.weights))
    model = _model(_network(args), args)
    detector = model.detector(thresh=args.thresh, nms=args.nms)
    out = None if args.json else _folder(args.out)
    targets, rows, failed = predict.target_names(paths), [], 0
    for found in predict.predict(detector, paths):
        if isinstance(found, DataError):
            print(f"ghostyolo: {found}", file=sys.stderr)
            failed += 1
            continue
        rows.append(predict.as_dict(found, names))
        if out is not None:
            target = out / targets[found.path]
            predict.write_picture(target, found, names)
            print(f"{found.path}: {predict.summary(found, names)} -> {target}")
    if out is None:
        print(json.dumps(rows))
    elif rows:
        predict.write_json(out / "detections.json", rows)
    return 1 if failed else 0


def _names_beside(weights: Path) -> tuple[str, ...]:
    """Return the names of the only .names file beside the weights; none where there is no such."""
    files = sorted(weights.parent.glob("*.names"))
    if len(files) == 1:
        return _names_file(str(files[0])) or ()
    print("ghostyolo: no class names; give them with --names FILE", file=sys.stderr)
    return ()


# --- sample-data


def _sample_data_options(p: argparse.ArgumentParser) -> None:
    p.add_argument("folder", metavar="FOLDER", help="new or empty")
    p.add_argument("--seed", type=int, default=0, help="another seed, other pictures (0)")


def sample_data(args: argparse.Namespace) -> None:
    """Paint a small labelled data set."""
    from ghostyolo.data.synthetic import write_dataset

    print(f"{write_dataset(args.folder, seed=args.seed)}: JPEGImages, Annotations, ImageSets")


# --- shared


def _add_cfg(p: argparse.ArgumentParser) -> None:
    p.add_argument("cfg", metavar="CFG")
    p.add_argument("--strict", action="store_true", help="take warnings about the cfg as errors")
    p.add_argument(
        "--darknet-compat", action="store_true", help="read its mistakes as Darknet does"
    )


def _add_run(p: argparse.ArgumentParser) -> None:
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ... (auto)")


def _add_data(p: argparse.ArgumentParser, split: str) -> None:
    p.add_argument("data", metavar="DATA", help="VOC or COCO folder, YOLO .yaml or Darknet .data")
    p.add_argument("--split", default=split, help=f"part of DATA ({split})")
    p.add_argument("--names", metavar="FILE", help="class names, one a line (those of DATA)")
    _add_run(p)


def _network(args: argparse.Namespace) -> Network:
    from ghostyolo import passes
    from ghostyolo.gencfg import parse_size

    findings = Findings(strict=args.strict, compat=args.darknet_compat)
    network = load(args.cfg, findings=findings)
    return passes.resize(network, parse_size(args.size)) if args.size else network


def _model(network: Network, args: argparse.Namespace) -> Model:
    from ghostyolo.model import Model

    device = _device(args.device)
    model = Model(network)
    model.load_weights(args.weights)
    return model.to(device).eval()


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        raise OptionError(f"--device {name} is not there", hint="use cpu or auto") from None
    return name


def _names_file(path: str | None) -> tuple[str, ...] | None:
    from ghostyolo.data import read_names

    return read_names(path) if path else None


def _folder(path: str) -> Path:
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        hint = "give a folder that can be written"
        raise OptionError(f"cannot make it: {error.strerror}", span=Span(path), hint=hint) from None
    return Path(path)


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not within 0 and 1")
    return value


_COMMANDS: dict[str, tuple[Callable[..., Any], Callable[..., None], str]] = {
    "info": (info, _info_options, "print the layers of a cfg and what they cost"),
    "train": (train, _train_options, "train a cfg's detector on labelled pictures"),
    "val": (val, _val_options, "measure the average precision of a trained cfg"),
    "detect": (detect, _detect_options, "find objects in pictures, draw and list them"),
    "sample-data": (
        sample_data, _sample_data_options, "paint a small labelled data set to try things on",
    ),
}  # fmt: skip

"""ghostyolo export: a trained cfg as a file for other programs."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ghostyolo.cli import shared
from ghostyolo.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ghostyolo.exporters.settings import ExportSettings
    from ghostyolo.inference.export_job import ExportResult
    from ghostyolo.model.model import Model
    from ghostyolo.network import Network
    from ghostyolo.runtime.interface import Runtime


def options(p: argparse.ArgumentParser) -> None:
    """Declare what export takes."""
    from ghostyolo.exporters.formats import FORMATS, usual_suffixes
    from ghostyolo.exporters.sample import LANGUAGES
    from ghostyolo.exporters.settings import BOXES, DYNAMIC, OPSET, OPSETS, Suppression

    limits, (xyxy, cxcywh) = Suppression(), BOXES
    shared.add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    p.add_argument("out", metavar="OUT", help=f"file: {usual_suffixes()}")
    p.add_argument("--format", choices=FORMATS, help="whatever the suffix of OUT (by the suffix)")
    known = f"{OPSETS.start} to {OPSETS.stop - 1}"
    p.add_argument("--opset", type=int, default=OPSET, help=f"of ONNX, {known} ({OPSET})")
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--batch", type=shared.count, default=1, help="batch size of the input (1)")
    p.add_argument(
        "--dynamic",
        nargs="?",
        const="size",
        default="",
        choices=DYNAMIC,
        help="leave batch size, height and width open, or with 'batch' the batch size alone",
    )
    p.add_argument(
        "--decode",
        nargs="?",
        const=xyxy,
        default="",
        choices=BOXES,
        help=f"put out boxes (N, n, 4) in pixels of the input, as {xyxy} or {cxcywh}, and scores "
        "(N, n, classes)",
    )
    p.add_argument(
        "--nms",
        action="store_true",
        help="and suppress: detections (m, 7) of picture, box, score, class",
    )
    p.add_argument(
        "--thresh", type=shared.share, help=f"of --nms: confidence threshold ({limits.thresh})"
    )
    p.add_argument("--iou", type=shared.share, help=f"of --nms: IoU threshold ({limits.iou})")
    p.add_argument("--most", type=shared.count, help=f"of --nms: boxes a class ({limits.most})")
    p.add_argument(
        "--names", metavar="FILE", help="class names, one a line, kept in OUT (beside WEIGHTS)"
    )
    p.add_argument(
        "--int8", nargs="+", metavar="PICTURES", help="8-bit, with ranges from pictures like yours"
    )
    p.add_argument("--val", metavar="DATA", help="measure AP of cfg and file on DATA's split val")
    p.add_argument(
        "--sample",
        choices=LANGUAGES,
        help="write a program beside OUT that runs it in OpenCV",
    )
    p.set_defaults(device="cpu")


def run(args: argparse.Namespace) -> None:
    """Write a model in another program's format, and compare the file with the model."""
    from ghostyolo.inference.export_job import export_model
    from ghostyolo.prediction.sources import find_pictures

    network = shared.read_network(args)
    result = export_model(
        shared.read_model(network, args),
        args.out,
        _settings(args, network),
        args.format,
        pictures=find_pictures(args.int8) if args.int8 else None,
        sample_language=args.sample,
        score=_average_precision(args, network) if args.val else None,
    )
    print("\n".join(_lines(result)))


def _settings(args: argparse.Namespace, network: Network) -> ExportSettings:
    """Return what the file is to hold. Raises `OptionError` for options that do not fit."""
    from ghostyolo.data.class_names import class_names
    from ghostyolo.exporters.settings import BOXES, ExportSettings, Suppression

    limits = {"thresh": args.thresh, "iou": args.iou, "most": args.most}
    limits = {name: value for name, value in limits.items() if value is not None}
    for name in limits if not args.nms else ():
        raise OptionError(f"--{name} is for suppression in the file", hint="add --nms")
    return ExportSettings(
        boxes=args.decode or (BOXES[0] if args.nms else ""),
        suppression=Suppression(**limits) if args.nms else None,
        dynamic=args.dynamic,
        batch=args.batch,
        names=class_names(network, args.names, beside=args.weights),
        opset=args.opset,
    )


def _average_precision(
    args: argparse.Namespace, network: Network
) -> Callable[[Model | Runtime], dict[str, float]]:
    """Return what scores a model or a file on the data of --val, which is opened now."""
    from ghostyolo.data import open_dataset
    from ghostyolo.data.class_names import check_classes
    from ghostyolo.evaluation.validation import validate

    dataset = open_dataset(args.val, "val", args.names)
    check_classes(network, dataset, "give the data that belongs to the cfg")
    dataset.log_defects()

    def score(predictor: Model | Runtime) -> dict[str, float]:
        progress = shared.progress("val", "picture")
        return validate(predictor, dataset, on_progress=progress).metrics.row()

    return score


def _lines(result: ExportResult) -> Iterator[str]:
    """Yield what was written, how far it departs from the model, and the scores of both."""
    from ghostyolo.runtime.registry import RUNTIMES

    files = " and ".join(map(str, result.files))
    yield f"wrote {files}: {result.size / 1e6:.1f} MB, {result.format}, {result.layout}"
    runtime, deviation = result.runtime, result.deviation
    if not runtime:
        yield f"not verified: no runtime here reads {result.format} files"
    elif deviation is None:
        yield f"not run: {runtime} is not installed ({RUNTIMES[runtime].install})"
    elif math.isinf(deviation.absolute):
        yield (
            f"{runtime} gives '{deviation.output}' in another shape than the model: the numbers of "
            "detections differ, so their difference is not told"
        )
    else:
        yield (
            f"{runtime} departs from the model by at most {deviation.absolute:.2g} in "
            f"'{deviation.output}', {deviation.relative:.1e} of its largest value"
        )
    if result.int8:
        share = result.size / result.float_size
        yield f"8-bit: {share:.0%} of the {result.float_size / 1e6:.1f} MB in float"
    if result.sample:
        yield f"wrote {result.sample}"
    for what, scores in result.scores.items():
        yield f"{what}: AP {scores['AP']:.4f}, AP50 {scores['AP50']:.4f}"

"""ghostyolo export: write a trained cfg as a file for other programs."""

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
    """Declare the options of export."""
    from ghostyolo.exporters.formats import FORMATS, usual_suffixes
    from ghostyolo.exporters.sample import LANGUAGES
    from ghostyolo.exporters.settings import BOXES, DYNAMIC, OPSET, OPSETS, Suppression

    limits, (xyxy, cxcywh) = Suppression(), BOXES
    shared.add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    p.add_argument("out", metavar="OUT", help=f"file: {usual_suffixes()}")
    p.add_argument("--format", choices=FORMATS, help="format of OUT (by its suffix)")
    known = f"{OPSETS.start} to {OPSETS.stop - 1}"
    p.add_argument("--opset", type=int, help=f"opset of ONNX, {known} ({OPSET})")
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--batch", type=shared.count, default=1, help="batch size of the input (1)")
    p.add_argument(
        "--dynamic",
        nargs="?",
        const="size",
        default="",
        choices=DYNAMIC,
        help="accept any batch size, height and width, or with 'batch' any batch size",
    )
    p.add_argument(
        "--decode",
        nargs="?",
        const=xyxy,
        default="",
        choices=BOXES,
        help=f"decode to boxes (N, n, 4) in pixels of the input, as {xyxy} or {cxcywh}, and scores "
        "(N, n, classes)",
    )
    p.add_argument(
        "--nms",
        action="store_true",
        help="decode and suppress: detections (m, 7), each picture, box, score, class",
    )
    p.add_argument(
        "--thresh", type=shared.fraction, help=f"confidence threshold of --nms ({limits.thresh})"
    )
    p.add_argument("--iou", type=shared.fraction, help=f"IoU threshold of --nms ({limits.iou})")
    p.add_argument("--most", type=shared.count, help=f"boxes per class of --nms ({limits.most})")
    p.add_argument(
        "--names", metavar="FILE", help="class names, one a line, stored in OUT (beside WEIGHTS)"
    )
    p.add_argument(
        "--int8", nargs="+", metavar="PICTURES", help="quantise to 8 bits by ranges on pictures"
    )
    p.add_argument(
        "--val", metavar="DATA", help="measure the AP of CFG and OUT on split val of DATA"
    )
    p.add_argument(
        "--sample",
        choices=LANGUAGES,
        help="write a program beside OUT that runs it in OpenCV",
    )
    p.set_defaults(device="cpu")


def run(args: argparse.Namespace) -> None:
    """Export a model, and print how the file differs from it."""
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
    """Return the settings of the export. Raises `OptionError` for options that do not fit."""
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
    """Open the data of --val; return a function that scores a model or a file on it."""
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
    """Yield lines about the files, their deviation from the model, and the scores of both."""
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

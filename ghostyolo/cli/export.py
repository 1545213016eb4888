"""ghostyolo export: write a trained cfg as a file for other programs."""

from __future__ import annotations

import argparse
from shlex import quote

from ghostyolo.cli import model_argument, shared
from ghostyolo.syntax.arguments import Parser

EXAMPLES = ("runs/train/first my.onnx", "my.cfg best.weights my.onnx --nms --sample python")


def options(p: Parser) -> None:
    """Declare the options of export."""
    from ghostyolo.exporters.formats import FORMATS, usual_suffixes
    from ghostyolo.exporters.sample import LANGUAGES
    from ghostyolo.exporters.settings import BOXES, DYNAMIC, OPSET, OPSETS, Suppression

    limits, (xyxy, cxcywh) = Suppression(), BOXES
    model_argument.add_model(p)
    shared.add_names(p, "model", "beside WEIGHTS; OUT holds them")
    group = p.group("file")
    group.add_argument("out", metavar="OUT", help=f"file: {usual_suffixes()}")
    group.add_argument("--format", choices=FORMATS, help="format of OUT (by its suffix)")
    known = f"{OPSETS.start} to {OPSETS.stop - 1}"
    group.add_argument("--opset", type=int, help=f"opset of ONNX, {known} ({OPSET})")
    text = "write a program beside OUT that runs it in OpenCV"
    group.add_argument("--sample", choices=LANGUAGES, help=text)
    group = p.group("input of the file")
    group.add_argument("--batch", type=shared.count, default=1, help="batch size (1)")
    group.add_argument(
        "--dynamic",
        nargs="?",
        const="size",
        default="",
        choices=DYNAMIC,
        help="accept any batch size, height and width, or with 'batch' any batch size",
    )
    group = p.group("boxes in the file")
    group.add_argument(
        "--decode",
        nargs="?",
        const=xyxy,
        default="",
        choices=BOXES,
        help=f"decode to boxes (N, n, 4) in pixels of the input, as {xyxy} or {cxcywh}, and scores "
        "(N, n, classes)",
    )
    group.add_argument(
        "--nms",
        action="store_true",
        help="decode and suppress: detections (m, 7), each picture, box, score, class",
    )
    text = f"confidence threshold of --nms ({limits.thresh})"
    group.add_argument("--thresh", type=shared.fraction, help=text)
    text = f"IoU threshold of --nms ({limits.iou})"
    group.add_argument("--iou", type=shared.fraction, help=text)
    text = f"boxes per class of --nms ({limits.most})"
    group.add_argument("--most", type=shared.count, help=text)
    group = p.group("8 bits and accuracy")
    text = (
        "quantise to 8 bits by ranges on pictures, 100 or more; --strict refuses large deviations"
    )
    group.add_argument("--int8", nargs="+", metavar="PICTURES", help=text)
    text = "measure the AP of CFG and OUT on split val of DATA"
    group.add_argument("--val", metavar="DATA", help=text)
    shared.add_reading(p, "8 bits and accuracy")
    shared.add_quiet(p)


def run(args: argparse.Namespace) -> None:
    """Export a model, and print how the file differs from it."""
    from ghostyolo.jobs.export import export
    from ghostyolo.network.outputs import classifier_output
    from ghostyolo.runtime.registry import is_exported

    names = (
        "weights", "format", "batch", "dynamic", "decode", "nms", "thresh", "iou", "most", "names",
        "opset", "int8", "val", "allow_outside", "no_cache", "sample", "strict",
    )  # fmt: skip
    options = {name: getattr(args, name) for name in names}
    network = shared.read_network(args)
    with shared.progress(args, "export", "picture") as on_progress:
        result = export(network, args.out, **options, on_progress=on_progress)
    shared.say(repr(result), keep="\n")
    if result.deviation and is_exported(args.out) and not args.nms:
        command = "classify" if classifier_output(network) else "detect"
        shared.say(f"try it: ghostyolo {command} {quote(args.out)} PICTURES")

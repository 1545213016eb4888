"""ghostyolo export: write a trained cfg as a file for other programs."""

from __future__ import annotations

import argparse

from ghostyolo.cli import shared


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


def run(args: argparse.Namespace) -> None:
    """Export a model, and print how the file differs from it."""
    from ghostyolo.jobs.export import export

    names = (
        "weights", "format", "batch", "dynamic", "decode", "nms", "thresh", "iou", "most", "names",
        "opset", "int8", "val", "sample",
    )  # fmt: skip
    options = {name: getattr(args, name) for name in names}
    progress = shared.progress("val", "picture")
    print(export(shared.read_network(args), args.out, **options, on_progress=progress))

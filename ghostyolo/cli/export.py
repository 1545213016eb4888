"""ghostyolo export: a trained cfg as a file for other programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ghostyolo.cli import shared
from ghostyolo.errors import OptionError

if TYPE_CHECKING:
    from ghostyolo.data import Dataset
    from ghostyolo.exporters.export import ExportSettings
    from ghostyolo.model.model import Model
    from ghostyolo.network import Network

FORMATS = ("onnx", "openvino", "torchscript")
FEW = 32  # pictures; ranges from fewer depend on which they are


def options(p: argparse.ArgumentParser) -> None:
    """Declare what export takes."""
    shared.add_cfg(p)
    p.add_argument("weights", metavar="WEIGHTS")
    p.add_argument("out", metavar="OUT", help="file: .onnx, .xml (OpenVINO) or .torchscript")
    p.add_argument("--format", choices=FORMATS, help="whatever the suffix of OUT (by the suffix)")
    p.add_argument("--opset", type=int, default=17, help="of ONNX, 11 to 20 (17)")
    p.add_argument("--size", metavar="HxW", help="input size in pixels, instead of [net]'s")
    p.add_argument("--batch", type=shared.count, default=1, help="pictures of one input (1)")
    p.add_argument(
        "--dynamic",
        nargs="?",
        const="size",
        default="",
        choices=("size", "batch"),
        help="leave the number of pictures and their size open, or with 'batch' the number alone",
    )
    p.add_argument(
        "--decode",
        nargs="?",
        const="xyxy",
        default="",
        choices=("xyxy", "cxcywh"),
        help="put out boxes (N, n, 4) in pixels of the input, and scores (N, n, classes)",
    )
    p.add_argument(
        "--nms",
        action="store_true",
        help="and suppress: detections (m, 7) of picture, box, score, class",
    )
    p.add_argument("--thresh", type=shared.share, help="of --nms: least score (0.25)")
    p.add_argument("--iou", type=shared.share, help="of --nms: overlap (0.45)")
    p.add_argument("--most", type=shared.count, help="of --nms: boxes a class (300)")
    p.add_argument(
        "--names", metavar="FILE", help="class names, one a line, kept in OUT (beside WEIGHTS)"
    )
    p.add_argument(
        "--int8", nargs="+", metavar="PICTURES", help="8-bit, with ranges from pictures like yours"
    )
    p.add_argument("--val", metavar="DATA", help="measure AP of cfg and file on DATA's split val")
    p.add_argument(
        "--sample",
        choices=("python", "cpp"),
        help="write a program beside OUT that runs it in OpenCV",
    )
    p.set_defaults(device="cpu")


def run(args: argparse.Namespace) -> int:
    """Write a model in another program's format and run it once to compare."""
    from ghostyolo.exporters import export, sample
    from ghostyolo.prediction.sources import find_pictures

    network = shared.read_network(args)
    form, kind, out = _form(args, network), export.format_of(args.out, args.format), Path(args.out)
    if args.sample and kind != "onnx":
        raise OptionError(f"--sample {args.sample} reads ONNX", hint="give OUT an .onnx suffix")
    program = sample.text(args.sample, form.metadata(network), out) if args.sample else ""
    data = _data(args, network, form)
    model = shared.read_model(network, args)
    if args.int8:
        pictures = find_pictures(args.int8)
        if len(pictures) < FEW:
            said = f"ranges from {len(pictures)} pictures only; give {FEW} or more like yours"
            print(f"ghostyolo: {said}", file=sys.stderr)
        export.write_int8(model, out, form, kind, pictures)
    else:
        export.write(model, out, form, kind)
    print(_summary(model, out, form, kind, eight_bits=bool(args.int8)))
    if program:
        print(f"wrote {sample.write(args.sample, form.metadata(network), out)}")
    if data:
        print("\n".join(_precisions(model, out, data)))
    return 0


def _data(args: argparse.Namespace, network: Network, form: ExportSettings) -> Dataset | None:
    """Return what --val measures on. Raises `OptionError` where the file cannot be measured."""
    from ghostyolo.data import open_dataset
    from ghostyolo.data.class_names import check_classes

    if not args.val:
        return None
    if form.suppression:
        message = "--val wants boxes of every score, before suppression"
        raise OptionError(message, hint="leave --nms out")
    data = open_dataset(args.val, "val", args.names)
    check_classes(network, data, "give the data that belongs to the cfg")
    data.log_defects()
    return data


def _precisions(model: Model, out: Path, data: Dataset) -> Iterator[str]:
    """Yield a line each for the model and for the file: its AP on the data."""
    from ghostyolo.evaluation.validation import validate
    from ghostyolo.inference.choice import open_runtime

    with open_runtime(out) as runtime:
        for what, computes in (("the cfg", model), (f"the file in {runtime.name}", runtime)):
            progress = shared.progress("val", "picture")
            scores = validate(computes, data, on_progress=progress).metrics.row()
            yield f"{what}: AP {scores['AP']:.4f}, AP50 {scores['AP50']:.4f}"


def _form(args: argparse.Namespace, network: Network) -> ExportSettings:
    """Return what the file is to hold. Raises `OptionError` for options that do not fit."""
    from ghostyolo.data.class_names import class_names
    from ghostyolo.exporters.export import ExportSettings, Suppression

    limits = {"thresh": args.thresh, "iou": args.iou, "most": args.most}
    limits = {name: value for name, value in limits.items() if value is not None}
    for name in limits if not args.nms else ():
        raise OptionError(f"--{name} is for suppression in the file", hint="add --nms")
    return ExportSettings(
        boxes=args.decode or ("xyxy" if args.nms else ""),
        suppression=Suppression(**limits) if args.nms else None,
        dynamic=args.dynamic,
        batch=args.batch,
        names=class_names(network, args.names, beside=args.weights),
        opset=args.opset,
    )


def _summary(model: Model, out: Path, form: ExportSettings, kind: str, *, eight_bits: bool) -> str:
    """Return the files, their size and how far their outputs are from the model's."""
    from ghostyolo.exporters import export
    from ghostyolo.inference import verification

    files = [out, out.with_suffix(".bin")] if kind == "openvino" else [out]
    size = sum(path.stat().st_size for path in files)
    lines = [f"wrote {' and '.join(map(str, files))}: {size / 1e6:.1f} MB, {kind}, {form.layout}"]
    found = verification.check(model, out, form, kind)
    runtime = export.FORMATS[kind].runtime
    if found is None:
        lines.append(f"not run: {runtime} is not installed (pip install 'ghostyolo[{kind}]')")
    else:
        lines.append(
            f"{runtime} departs from the model by at most {found.difference:.2g} in "
            f"'{found.output}', {found.share:.1e} of its largest value"
        )
    if eight_bits:
        floats = 4 * sum(p.numel() for p in model.parameters())
        lines.append(f"8-bit: {size / floats:.0%} of the {floats / 1e6:.1f} MB in float")
    return "\n".join(lines)

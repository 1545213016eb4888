"""ghostyolo convert: weights from one file into another."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING

from ghostyolo.cli import shared
from ghostyolo.errors import Findings, OptionError
from ghostyolo.network import load
from ghostyolo.zoo.state_dicts import STATE_DICTS

if TYPE_CHECKING:
    from ghostyolo.convert import Report

EXAMPLES = """formats, by suffix:
  .weights                 Darknet's
  .conv.N                  its partial file, with the layers below N
  .safetensors .pt .pth    named tensors: ours (a checkpoint.pt too), or those of a family
examples:
  ghostyolo convert net.cfg best.weights best.safetensors
  ghostyolo convert yolov3.cfg yolov3.weights darknet53.conv.74
  python -m ghostyolo.gencfg --task classify --gate hard --out ghostnet.cfg
  ghostyolo convert ghostnet.cfg ghostnet_100.safetensors ghostnet.weights
  ghostyolo convert ghostnet.cfg ghostnet.weights timm.pth --to ghostnet
  ghostyolo convert detector.cfg state_dict_73.98.pth start.weights --backbone-only
"""


def options(p: argparse.ArgumentParser) -> None:
    """Declare what convert takes."""
    p.epilog, p.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    shared.add_cfg(p)
    p.add_argument("source", metavar="IN", help="file with weights; its content says the format")
    p.add_argument("out", metavar="OUT", help="file to write; its suffix says the format")
    p.add_argument(
        "--from",
        dest="kind",
        choices=("partial", *STATE_DICTS),
        default="",
        help="what IN is, where neither name nor content says it",
    )
    p.add_argument(
        "--to",
        choices=tuple(STATE_DICTS),
        help="name the tensors in OUT as this family's checkpoints",
    )
    p.add_argument(
        "--backbone-only",
        action="store_true",
        help="take the first layers, as far as they are the same, and keep the rest as drawn",
    )
    p.add_argument("--source-cfg", metavar="CFG", help="with --backbone-only: the cfg of IN")
    p.add_argument(
        "--bn-eps", type=float, metavar="EPS", help="of a family's batch norms, if not the usual"
    )
    p.add_argument("--seed", type=int, default=0, help="of what IN does not hold (0)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> None:
    """Convert weights and say what matched."""
    import torch

    from ghostyolo import convert
    from ghostyolo.model.model import Model
    from ghostyolo.training.loop import initialise_heads

    if args.source_cfg and not args.backbone_only:
        raise OptionError("--source-cfg without --backbone-only", hint="give both or neither")
    torch.manual_seed(args.seed)
    findings = Findings(strict=args.strict, compat=args.darknet_compat)
    model = Model(load(args.cfg, findings=findings))
    initialise_heads(model)
    eps = args.bn_eps if not args.to else None
    if args.backbone_only:
        source = load(args.source_cfg, findings=findings) if args.source_cfg else None
        report = convert.start(model, args.source, source=source, kind=args.kind, eps=eps)
    else:
        report = convert.load(model, args.source, kind=args.kind, eps=eps)
    convert.save(model, args.out, kind=args.to or convert.OWN, eps=args.bn_eps if args.to else None)
    print(json.dumps({"out": args.out, **asdict(report)}) if args.json else text(args, report))
    if report.warning:
        print(f"ghostyolo: warning: {report.warning}; train on from here", file=sys.stderr)


def text(args: argparse.Namespace, report: Report) -> str:
    """Return what happened, for a person to read."""
    matched, kept = len(report.matched), len(report.kept)
    lines = [
        f"{args.out}: {matched} of {matched + kept} tensors from {args.source} ({report.source})"
    ]
    if kept:
        lines.append(f"kept as drawn: {kept} tensors of layers {_layers(report.kept)}")
    if report.stopped:
        lines.append(f"because {report.stopped}")
    return "\n".join(lines)


def _layers(names: tuple[str, ...]) -> str:
    """Return the layers of tensors in few words: 3, 5-9."""
    indices = sorted({int(name.split(".")[1]) for name in names})
    runs = [
        [index for _, index in run]
        for _, run in groupby(enumerate(indices), lambda item: item[1] - item[0])
    ]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)

"""ghostyolo convert: write the weights of one file in another format."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from ghostyolo.cli import shared
from ghostyolo.errors import Findings
from ghostyolo.network import load
from ghostyolo.zoo.state_dicts import STATE_DICTS

EXAMPLES = """formats, by suffix:
  .weights                 Darknet's file
  .conv.N                  Darknet's partial file, with the layers below N
  .safetensors .pt .pth    named tensors: ghostyolo's (a checkpoint.pt too), or a family's
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
    p.add_argument("source", metavar="IN", help="file with weights, of any format")
    p.add_argument("out", metavar="OUT", help="file to write; its suffix gives the format")
    p.add_argument(
        "--from",
        dest="kind",
        choices=("partial", *STATE_DICTS),
        default="",
        help="format of IN, if its name and content do not tell it",
    )
    p.add_argument(
        "--to",
        choices=tuple(STATE_DICTS),
        help="name the tensors in OUT as in this family's checkpoints",
    )
    p.add_argument(
        "--backbone-only",
        action="store_true",
        help="take the first layers, up to the first different one, and initialise the rest",
    )
    p.add_argument("--source-cfg", metavar="CFG", help="with --backbone-only: the cfg of IN")
    p.add_argument(
        "--bn-eps",
        type=float,
        metavar="EPS",
        help="epsilon of a family's batch norms (as published)",
    )
    p.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the initialisation of tensors that IN lacks (0)",
    )
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> None:
    """Convert weights and print what matched."""
    from ghostyolo import convert

    findings = Findings(strict=args.strict, compat=args.darknet_compat)
    report = convert.convert(
        load(args.cfg, findings=findings),
        args.source,
        args.out,
        kind=args.kind,
        to=args.to or "",
        eps=args.bn_eps,
        backbone_only=args.backbone_only,
        source=load(args.source_cfg, findings=findings) if args.source_cfg else None,
        seed=args.seed,
    )
    result = {"out": args.out, **asdict(report)}
    print(json.dumps(result) if args.json else f"{args.out}: {report.text(args.source)}")

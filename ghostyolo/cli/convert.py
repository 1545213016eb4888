"""ghostyolo convert: weights from one file into another."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from ghostyolo.cli import shared
from ghostyolo.errors import Findings
from ghostyolo.network import load
from ghostyolo.zoo.state_dicts import STATE_DICTS

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
        help="take the first layers as far as they are the same, and initialise the rest",
    )
    p.add_argument("--source-cfg", metavar="CFG", help="with --backbone-only: the cfg of IN")
    p.add_argument(
        "--bn-eps", type=float, metavar="EPS", help="of a family's batch norms, if not the usual"
    )
    p.add_argument(
        "--seed", type=int, default=0, help="of the initialisation of what IN does not hold (0)"
    )
    p.add_argument("--json", action="store_true", help="print JSON for programs")


def run(args: argparse.Namespace) -> None:
    """Convert weights and print what matched."""
    import torch

    from ghostyolo import convert
    from ghostyolo.model.model import Model
    from ghostyolo.training.state import initialise_heads

    torch.manual_seed(args.seed)
    findings = Findings(strict=args.strict, compat=args.darknet_compat)
    model = Model(load(args.cfg, findings=findings))
    initialise_heads(model)
    report = convert.convert(
        model,
        args.source,
        args.out,
        kind=args.kind,
        to=args.to or "",
        eps=args.bn_eps,
        backbone_only=args.backbone_only,
        source=load(args.source_cfg, findings=findings) if args.source_cfg else None,
    )
    result = {"out": args.out, **asdict(report)}
    print(json.dumps(result) if args.json else f"{args.out}: {report.text(args.source)}")

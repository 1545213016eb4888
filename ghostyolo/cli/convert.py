"""ghostyolo convert: write the weights of one file in another format."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ghostyolo.cli import model_argument, shared
from ghostyolo.errors import Findings, printable
from ghostyolo.network import load
from ghostyolo.syntax.arguments import Parser
from ghostyolo.zoo.state_dicts import STATE_DICTS

ABOUT = """\
formats of IN and OUT, by suffix:
  .weights                 Darknet's file
  .conv.N                  Darknet's partial file, with the layers below N
  .safetensors .pt .pth    named tensors: ghostyolo's, a checkpoint.pt too, or
                           those of a family's published checkpoints
"""
EXAMPLES = ("runs/train/first my.safetensors", "my.cfg best.weights my.conv.2")
IN = "file with weights, of any format; those of a run are its best.weights"


def options(p: Parser) -> None:
    """Declare what convert takes."""
    p.epilog = ABOUT
    shared.add_cfg(p, model_argument.cfg_help().replace("WEIGHTS", "IN"), size=False)
    p.set_defaults(exported=False)
    p.or_usage = {"cfg": "RUN", "source": ""}
    group = p.group("input")
    group.add_argument("source", metavar="IN", help=IN)
    group.add_argument(
        "--from",
        dest="kind",
        choices=("partial", *STATE_DICTS),
        default="",
        metavar="FORMAT",
        help="format of IN, if its name and content do not tell it: partial, or a family of --to",
    )
    group.add_argument(
        "--backbone-only",
        action="store_true",
        help="take the first layers, up to the first different one, and initialise the rest",
    )
    group.add_argument("--source-cfg", metavar="CFG", help="with --backbone-only: the cfg of IN")
    group.add_argument(
        "--bn-eps",
        type=float,
        metavar="EPS",
        help="epsilon of a family's batch norms (as published)",
    )
    text = "seed of the initialisation of tensors that IN lacks (0)"
    group.add_argument("--seed", type=int, default=0, help=text)
    group = p.group("output")
    group.add_argument("out", metavar="OUT", help="file to write; its suffix gives the format")
    text = f"name the tensors in OUT as in this family's checkpoints: {', '.join(STATE_DICTS)}"
    group.add_argument("--to", choices=tuple(STATE_DICTS), metavar="FAMILY", help=text)
    shared.add_json(p)


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
    text = f"{printable(args.out)}: {report.text(args.source)}"
    shared.say(shared.json_text(result) if args.json else text, keep="\n")

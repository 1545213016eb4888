"""ghostyolo serve: a detector behind HTTP, with a page to try it."""

from __future__ import annotations

import argparse

from ghostyolo.cli import shared


def options(p: argparse.ArgumentParser) -> None:
    """Declare what serve takes."""
    p.add_argument("source", metavar="SOURCE", help="a cfg, or a file of ghostyolo export")
    p.add_argument("weights", metavar="WEIGHTS", nargs="?", help="of a cfg")
    shared.add_run(p)
    p.add_argument("--runtime", default="auto", help="torch, onnxruntime, openvino, opencv (auto)")
    p.add_argument("--threads", type=shared.count, help="of the runtime (all)")
    p.add_argument("--names", metavar="FILE", help="class names, one a line (beside WEIGHTS)")
    p.add_argument("--thresh", type=shared.share, help="least score (0.25)", default=0.25)
    p.add_argument("--nms", type=shared.share, help="overlap that suppresses (0.45)", default=0.45)
    p.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    p.add_argument("--port", type=int, default=8000, help="0 takes any free one (8000)")
    p.add_argument("--batch", type=shared.count, default=8, help="pictures computed at once (8)")
    p.add_argument("--queue", type=shared.count, default=32, help="requests inside at once (32)")
    p.add_argument("--max-mb", type=shared.count, default=16, help="of one picture's file (16)")
    p.add_argument("--max-mpixels", type=shared.count, default=32, help="of one picture (32)")
    p.add_argument("--access-log", action="store_true", help="log every request")


def run(args: argparse.Namespace) -> None:
    """Serve a detector until a signal ends it."""
    from ghostyolo import serve

    serve.check()
    import numpy as np

    from ghostyolo.gencfg import parse_size
    from ghostyolo.runtime import open_runtime
    from ghostyolo.serve.app import Service, application
    from ghostyolo.serve.batcher import Choice
    from ghostyolo.serve.incoming import Limits

    bound = serve.bind(args.host, args.port)
    runtime = open_runtime(
        args.source,
        args.weights,
        name=args.runtime,
        size=parse_size(args.size) if args.size else None,
        threads=args.threads,
        device=args.device,
    )
    names = shared.class_names(args.names, args.weights or args.source, runtime)

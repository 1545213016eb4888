"""ghostyolo serve: a detector or a classifier over HTTP, with a page to try it."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING

from ghostyolo.cli import shared
from ghostyolo.errors import OptionError, Span
from ghostyolo.network.net_options import parse_size

if TYPE_CHECKING:
    from ghostyolo.runtime.interface import Runtime


PORT = shared.number(int, 0, 65535, "a port from 0 to 65535")


def options(p: argparse.ArgumentParser) -> None:
    """Declare the options of serve."""
    from ghostyolo.model.detector import NMS, THRESH
    from ghostyolo.runtime.registry import AUTO, CHOICES

    p.add_argument("source", metavar="SOURCE", help="a cfg, or an exported file")
    p.add_argument("weights", metavar="WEIGHTS", nargs="?", help="of a cfg")
    shared.add_run(p)
    p.add_argument("--runtime", default=AUTO, choices=CHOICES, help=f"of the network ({AUTO})")
    p.add_argument("--threads", type=shared.count, help="threads that compute (all)")
    shared.add_names(p)
    shared.add_thresholds(p, THRESH, NMS)
    p.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    p.add_argument("--port", type=PORT, default=8000, help="0 for any free one (8000)")
    p.add_argument("--batch", type=shared.count, default=8, help="largest batch size (8)")
    p.add_argument("--queue", type=shared.count, default=32, help="most requests at once (32)")
    p.add_argument("--max-mb", type=shared.count, default=16, help="largest file, in MB (16)")
    p.add_argument("--max-mpixels", type=shared.count, default=32, help="largest picture (32)")
    p.add_argument("--access-log", action="store_true", help="log every request")


def run(args: argparse.Namespace) -> None:
    """Serve a detector or a classifier until a signal ends it."""
    from ghostyolo.serve import server

    server.check()
    from ghostyolo.data.class_names import class_names
    from ghostyolo.serve.app import Service, application
    from ghostyolo.serve.incoming import Limits
    from ghostyolo.serve.tasks import task_of

    bound = server.bind(args.host, args.port)
    runtime = _runtime(args)
    beside = args.weights or args.source
    names = class_names(runtime.network, args.names, runtime.class_names, beside=beside)
    limits = Limits(
        requests=args.queue,
        bytes=args.max_mb * 10**6,
        pixels=args.max_mpixels * 10**6,
        batch=args.batch,
    )
    task = task_of(runtime, names, thresh=args.thresh, nms=args.nms)
    app = application(Service(task, limits, runtime.name))
    if args.access_log:
        logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    host, port = bound.getsockname()[:2]
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"serving {args.source} in {runtime.title} at {where} (Ctrl+C ends it)", flush=True)
    server.run(app, bound, access_log=args.access_log)
    print("stopped")


def _runtime(args: argparse.Namespace) -> Runtime:
    """Return SOURCE in a runtime. Raises `OptionError` for a cfg without WEIGHTS."""
    from ghostyolo.inference.choice import open_runtime
    from ghostyolo.runtime.registry import is_exported

    if args.weights is None and not is_exported(args.source):
        hint = "give WEIGHTS, or an exported file"
        raise OptionError("a cfg alone computes nothing", span=Span(args.source), hint=hint)
    return open_runtime(
        args.source,
        args.weights,
        name=args.runtime,
        size=parse_size(args.size) if args.size else None,
        threads=args.threads,
        device=args.device,
    )

"""ghostyolo serve: a detector or a classifier over HTTP, with a page to try it."""

from __future__ import annotations

import argparse
import logging
import re

from ghostyolo.cli import model_argument, shared
from ghostyolo.syntax.arguments import Parser

EXAMPLES = ("runs/train/first", "my.cfg best.weights --port 8080 --thresh 0.4")
PORT = shared.number(int, 0, 65535, "a port from 0 to 65535")


def origin(text: str) -> str:
    """Return the origin of pages as browsers write it."""
    found = text.lower().rstrip("/")
    if not re.fullmatch(r"https?://[^\s/]+|\*|null", found):
        raise argparse.ArgumentTypeError(f"'{text}' is not like https://app.example:8443")
    return found


def options(p: Parser) -> None:
    """Declare the options of serve."""
    from ghostyolo.model.detector import NMS, THRESH

    model_argument.add_model(p, exported=True)
    shared.add_names(p, "model", "beside WEIGHTS")
    shared.add_thresholds(p, THRESH, NMS)
    shared.add_tiles(p)
    model_argument.add_runtime(p, 8, "largest batch size")
    group = p.group("server")
    group.add_argument("--host", default="127.0.0.1", help="address to listen at (127.0.0.1)")
    group.add_argument("--port", type=PORT, default=8000, help="0 for any free one (8000)")
    text = "another name of this server that requests may state, * for any"
    group.add_argument("--allow-host", action="append", default=[], metavar="NAME", help=text)
    text = "another origin whose pages may send pictures, such as https://app.example, * for any"
    group.add_argument(
        "--allow-origin", action="append", default=[], type=origin, metavar="ORIGIN", help=text
    )
    group.add_argument("--access-log", action="store_true", help="log every request")
    group = p.group("limits")
    group.add_argument("--queue", type=shared.count, default=32, help="most requests at once (32)")
    group.add_argument("--max-mb", type=shared.count, default=16, help="largest file, in MB (16)")
    group.add_argument("--max-mpixels", type=shared.count, default=32, help="largest picture (32)")


def run(args: argparse.Namespace) -> None:
    """Serve a detector or a classifier until a signal ends it."""
    from ghostyolo.serve import server

    server.check()
    from ghostyolo.data.class_names import class_names
    from ghostyolo.serve import connections
    from ghostyolo.serve.app import Service, application
    from ghostyolo.serve.clients import Allowed
    from ghostyolo.serve.incoming import Limits
    from ghostyolo.serve.tasks import task_of

    bound = server.bind(args.host, args.port)
    runtime = model_argument.open_model(args, batch=1)
    beside = args.weights or args.cfg
    names = class_names(runtime.network, args.names, runtime.class_names, beside=beside)
    limits = Limits(
        requests=args.queue,
        bytes=args.max_mb * 10**6,
        pixels=args.max_mpixels * 10**6,
        batch=args.batch,
    )
    task = task_of(runtime, names, thresh=args.thresh, nms=args.nms, tiles=shared.tiles(args))
    allowed = Allowed.of(args.host, args.allow_host, args.allow_origin)
    app = application(Service(task, limits, runtime.name), allowed)
    if args.access_log:
        logging.getLogger("uvicorn.access").setLevel(logging.INFO)
    host, port = bound.getsockname()[:2]
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    shared.say(f"serving {args.cfg} in {runtime.title} at {where} (Ctrl+C ends it)")
    connections.run(app, bound, limits, access_log=args.access_log)
    shared.say("stopped")

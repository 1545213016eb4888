"""The server's socket, libraries and signals."""

from __future__ import annotations

import logging
import signal
import socket
from typing import TYPE_CHECKING

from ghostyolo.errors import OptionError

if TYPE_CHECKING:
    from starlette.applications import Starlette

DRAIN_SECONDS = 10  # for requests under way, after a signal to stop


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any free one. Early requests wait.

    Raises `OptionError` for an address that is not available.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, proto)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
            bound.listen()
        except OSError:
            bound.close()
            raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        hint = "give another --host or --port"
        raise OptionError(f"cannot serve at {host}:{port}: {reason}", hint=hint) from None
    return bound


def check() -> None:
    """Raise `OptionError` unless the libraries of the extra are installed."""
    try:
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        hint = "pip install 'ghostyolo[serve]'"
        raise OptionError(f"{error.name} is not installed", hint=hint) from None


def run(app: Starlette, bound: socket.socket, *, access_log: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests under way. Main thread only."""
    import uvicorn

    config = uvicorn.Config(
        app,
        access_log=access_log,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    # The client gets what it warns of; clients must not fill the log with it.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    # uvicorn raises the signal again once it has stopped, which must not be an error.
    before = {number: signal.signal(number, _ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        uvicorn.Server(config).run(sockets=[bound])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore(number: int, frame: object) -> None:
    """Return, so that the program goes on to its end."""

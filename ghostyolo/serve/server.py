"""The socket, the libraries and the signals of the server."""

from __future__ import annotations

import logging
import signal
import socket
from typing import TYPE_CHECKING

from ghostyolo.errors import OptionError

if TYPE_CHECKING:
    from starlette.applications import Starlette

DRAIN_SECONDS = 10  # to finish running requests after a signal to stop


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that listens; port 0 takes any free port. Requests wait until `run`.

    Raises `OptionError` for an address that is not available.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        dual = family == socket.AF_INET6 and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, dualstack_ipv6=dual)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0].lower()
        hint = "give another --host or --port"
        raise OptionError(f"cannot serve at {host}:{port}: {reason}", hint=hint) from None


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
    """Serve until SIGTERM or SIGINT, then finish running requests. Call it in the main thread."""
    import uvicorn

    config = uvicorn.Config(
        app,
        access_log=access_log,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    # The client gets its warnings as an error; clients must not fill the log with them.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    # uvicorn raises the signal again after it has stopped; that must not end the program.
    before = {number: signal.signal(number, _ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        uvicorn.Server(config).run(sockets=[bound])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore(number: int, frame: object) -> None:
    """Ignore a signal."""

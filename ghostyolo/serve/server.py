"""The socket and the libraries of the server."""

from __future__ import annotations

import socket

from ghostyolo.errors import OptionError


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

"""Who may send requests, and what the log tells of clients that send garbage.

Any page that a browser shows can send requests to the computer that it runs on. The browser tells
in Origin where such a page is from. A page whose name was pointed to this computer after it was
loaded (DNS rebinding) has the origin of the server, but its name in Host is not the server's.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NoReturn
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from ghostyolo.errors import printable
from ghostyolo.serve.incoming import RequestError

LOCAL = ("localhost", "127.0.0.1", "::1")
ANY = "*"
PORTS = {"http": 80, "https": 443}  # of an origin that states none
LONGEST = 100  # characters of a client's word in a message
QUIET_SECONDS = 60.0  # after a line of the log about a client
MOST_CLIENTS = 1000  # in the log within that time


class OnePerMinute(logging.Filter):
    """Lets one message a minute pass for each client, which is the first argument of a message."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log a message."""
        client, now = str(record.args[0]), record.created  # type: ignore[index]
        if len(self.passed) >= MOST_CLIENTS:
            self.passed = {who: at for who, at in self.passed.items() if now - at < QUIET_SECONDS}
        known = now - self.passed.get(client, -QUIET_SECONDS) < QUIET_SECONDS
        if known or len(self.passed) >= MOST_CLIENTS:
            return False
        self.passed[client] = now
        return True


ONE_PER_MINUTE = OnePerMinute()
logger = logging.getLogger(__name__)
logger.addFilter(ONE_PER_MINUTE)


def log(client: tuple[str, int] | None, what: str) -> None:
    """Log what is wrong with the requests of a client, its address and port."""
    address = client[0] if client else "a client"
    logger.warning("%s: %s; no more of it is logged for a minute", address, printable(what))


@dataclass(frozen=True)
class Allowed:
    """The names of the server, and the origins of pages that may use it beside its own page.

    An address in Host is allowed without being named: only a name can be pointed elsewhere.
    """

    hosts: frozenset[str] = frozenset(LOCAL)
    origins: frozenset[str] = frozenset()

    @classmethod
    def of(cls, host: str, hosts: Iterable[str], origins: Iterable[str]) -> Allowed:
        """Return what a server at `host` allows; hosts, origins: further ones, "*" for any."""
        names = (name.lower() for name in (*LOCAL, host, *hosts))
        return cls(frozenset(names), frozenset(origins))

    def check(self, headers: Headers, port: int) -> None:
        """Raise `RequestError` with 403 for a request to another name or by a foreign page.

        port: that the server listens at.
        """
        host, origin = headers.get("host"), headers.get("origin")
        if host is not None and not self._is_own_name(host):
            _refuse(f"this server is not called '{host[:LONGEST]}'", "--allow-host NAME")
        if origin is not None and not self._is_own_page(origin, host, port):
            _refuse(f"a page of '{origin[:LONGEST]}' may not use it", "--allow-origin ORIGIN")

    def _is_own_name(self, host: str) -> bool:
        name, _ = _name_and_port(f"//{host}")
        return bool({name, ANY} & self.hosts) or _is_address(name)

    def _is_own_page(self, origin: str, host: str | None, port: int) -> bool:
        if {origin, ANY} & self.origins or origin in (f"http://{host}", f"https://{host}"):
            return True
        name, its_port = _name_and_port(origin)
        return name in self.hosts and its_port == port


def _refuse(message: str, option: str) -> NoReturn:
    raise RequestError(403, message, f"if it should, start the server with {option}")


def _name_and_port(address: str) -> tuple[str, int | None]:
    """Return the name and the port in an address, "" for what is no address."""
    try:
        parts = urlsplit(address)
        return (parts.hostname or "").rstrip("."), parts.port or PORTS.get(parts.scheme)
    except ValueError:
        return "", None


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True

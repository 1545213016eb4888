"""HTTP connections: time limits for clients, and the end at a signal."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Mapping

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from ghostyolo.serve import clients
from ghostyolo.serve.incoming import Limits

END_SECONDS = 60  # for all answers after a signal to stop; what the limits of clients leave is less
GRACE_SECONDS = 0.2  # for requests that are on their way when the signal comes
LINGER_SECONDS = 1.0  # in which a client may send to a connection that has ended, without a reset
SWEEP_SECONDS = 0.5  # between two looks for clients that are late
TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
CLOSE = (b"connection", b"close")
# What a client has to do: to send the head or the body of a request, or to read an answer.
HEAD, BODY, ANSWER = "head", "body", "answer"
STATES = {h11.IDLE: HEAD, h11.SEND_BODY: BODY}


class Connection(H11Protocol):
    """A connection of uvicorn's, which has no time limit for clients that are slow on purpose."""

    ended = False
    waiting: tuple[str, object] = ("", None)  # what the client has to do, and the last request
    since = 0.0  # when that was seen first

    def close_if_late(self, now: float, seconds: Mapping[str, float]) -> None:
        """Close the connection if the client had more time than this for what it has to do."""
        blocked = self.transport.is_closing() or self.transport.get_write_buffer_size()
        task = ANSWER if blocked else STATES.get(self.conn.their_state, "")
        if (task, self.cycle) != self.waiting:
            self.waiting, self.since = (task, self.cycle), now
        elif task and now - self.since >= seconds[task]:
            begun = task != HEAD or self.conn.trailing_data[0]
            if begun:
                clients.log(self.client, f"late with the {task} of a request")
            if blocked:
                self.transport.abort()
                return
            if begun and task == HEAD:
                self.transport.write(TOO_LATE)
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Take what the client sends, unless the connection has ended."""
        if not self.ended:
            super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP; after the start of an answer only by closing."""
        clients.log(self.client, "sends what is not HTTP")
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()
        if self.cycle:  # a handler may wait for the body, of which no more is taken
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def shutdown(self) -> None:
        """Close an idle connection, without a reset; let the answer of any other be its last."""
        if self.cycle and not self.cycle.response_complete:
            self.cycle.default_headers = self.server_state.default_headers
            super().shutdown()
        elif not self.transport.is_closing():
            self.ended = True
            self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _unsupported_upgrade_warning(self) -> None:
        """Log nothing: the request is answered as if it asked for no other protocol."""


class Server(uvicorn.Server):
    """A server that closes the connections of late clients, and at its end resets none."""

    def __init__(self, app: Starlette, limits: Limits, *, access_log: bool = False) -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            proxy_headers=False,  # by which a client on this computer states any address
            access_log=access_log,
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=END_SECONDS,
        )
        super().__init__(config)
        # These warn of what clients send, without a limit.
        for name in ("python_multipart", "uvicorn.error"):
            logging.getLogger(name).setLevel(logging.ERROR)
        # `Service` has the same limit for a body, and for the rest of one that it has refused.
        self.seconds = {HEAD: limits.head, BODY: 2 * limits.seconds + 1, ANSWER: limits.head}

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        self.sweeper = asyncio.create_task(self._close_late())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the requests that have come, with the word that the connection closes."""
        self.server_state.default_headers.append(CLOSE)
        self.seconds[BODY] = self.seconds[HEAD]
        await asyncio.sleep(GRACE_SECONDS)
        await super().shutdown(sockets)

    async def _close_late(self) -> None:
        """Look after late clients for as long as the server runs."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for connection in list(self.server_state.connections):
                if isinstance(connection, Connection):
                    connection.close_if_late(time.monotonic(), self.seconds)


def run(app: Starlette, bound: socket.socket, limits: Limits, *, access_log: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then finish running requests. Call it in the main thread."""
    # uvicorn raises the signal again after it has stopped; that must not end the program.
    before = {number: signal.signal(number, _ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        Server(app, limits, access_log=access_log).run(sockets=[bound])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore(number: int, frame: object) -> None:
    """Ignore a signal."""

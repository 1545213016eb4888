"""What hostile clients send to `ghostyolo serve`: each function is one attack, and then leaves.

None of them is answered by a prediction, except the large picture.
"""

from __future__ import annotations

import http.client
import socket
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress

import cv2
import numpy as np

Attack = Callable[[int, bytes, np.random.Generator], None]
HEAD = b"POST /detect HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LINES = 20  # that a slow client sends, at most
PAUSE = 0.1  # seconds between two of them
SIDE = 5600  # pixels of a square picture within the server's limit of 32 million
PNG = b"\x89PNG\r\n\x1a\n"


def _attack(port: int, *parts: bytes, lines: int = 0, reset: bool = False) -> None:
    """Send parts, repeat the last one slowly, and leave after an answer, or with a reset."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        for part in [*parts, *[parts[-1]] * lines]:
            client.sendall(part)
            if lines:
                time.sleep(PAUSE)
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass


def _post(port: int, body: bytes, path: str = "/detect", **headers: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with suppress(OSError, http.client.HTTPException):
        connection.request("POST", path, body, headers)
        connection.getresponse().read()
    connection.close()


def _png(width: int, height: int, end: int) -> bytes:
    """Return a PNG that states a size, and a length of its last chunk."""
    header = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    sized = struct.pack(">I", len(header)) + b"IHDR" + header
    return (
        PNG
        + sized
        + struct.pack(">I", zlib.crc32(sized[4:]) & 0xFFFFFFFF)
        + (struct.pack(">I", end) + b"IEND" + b"\xaeB`\x82")
    )


def long_chunk(port: int, picture: bytes, rng: np.random.Generator) -> None:
    """Send a PNG whose last chunk states 4 GB."""
    _post(port, _png(4, 4, 0xF0000000))


def huge_size(port: int, picture: bytes, rng: np.random.Generator) -> None:
    """Send a PNG and a BMP that state sizes far over the limit."""
    _post(port, _png(2**31 - 1, 2**31 - 1, 0))
    _post(port, b"BM" + struct.pack("<IIIIiiHH6I", 0, 0, 54, 40, 2**30, 2**30, 1, 24, *[0] * 6))


def large_picture(port: int, picture: bytes, rng: np.random.Generator) -> None:
    """Send a picture just within the limit, which is small as a file."""
    _post(port, cv2.imencode(".png", np.zeros((SIDE, SIDE), np.uint8))[1].tobytes())


def mutated(port: int, picture: bytes, rng: np.random.Generator) -> None:
    """Send a picture with bytes changed, as a PNG or BMP too."""
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    ending = str(rng.choice([".jpg", ".png", ".bmp"]))
    data = np.frombuffer(cv2.imencode(ending, cv2.resize(image, (64, 64)))[1], np.uint8).copy()
    data[rng.integers(0, len(data), 8)] = rng.integers(0, 256, 8)
    data[rng.integers(0, 60, 2)] = rng.integers(0, 256, 2)
    _post(port, data.tobytes())


def slow_head(port: int, picture: bytes, rng: np.random.Generator) -> None:
    """Send a head that does not end."""
    _attack(port, HEAD, b"X: y\r\n", lines=LINES, reset=True)


def slow_body(port: int, picture: bytes, rng: np.random.Generator) -> None:
    """Send a body byte by byte, of a stated length or in chunks."""
    _attack(port, HEAD + b"Content-Length: 100000\r\n\r\n", b"x", lines=LINES, reset=True)
    _attack(port, HEAD + CHUNKED, b"1\r\nx\r\n", lines=LINES, reset=True)


def no_http(port: int, picture: bytes, rng: np.random.Generator) -> None:
    """Send a TLS greeting, HTTP/2, bad chunks, bad lengths and a long head."""
    _attack(port, b"\x16\x03\x01\x02\x00\x01\x00\xfc\r\n\r\n")
    _attack(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    _attack(port, HEAD + CHUNKED + b"xyz\r\n")
    _attack(port, HEAD.replace(b"detect", b"no") + CHUNKED + b"xyz\r\n")
    _attack(port, HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n")
    _attack(port, HEAD + b"Content-Length: 1" + b"0" * 18 + b"\r\n\r\n" + picture[:1000])
    _attack(port, HEAD + b"X: " + b"y" * 10**6)
    _attack(port, HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n", reset=True)


def foreign(port: int, picture: bytes, rng: np.random.Generator) -> None:
    """Ask as a page of another origin, and for another host."""
    _post(port, picture, Origin="http://evil.example")
    _post(port, picture, Host=f"evil{rng.integers(10**9)}.example\x1b[2J")


def leaves_early(port: int, picture: bytes, rng: np.random.Generator) -> None:
    """Leave within a picture, and after a whole one without waiting for the answer."""
    head = HEAD + b"Content-Length: %d\r\n\r\n" % len(picture)
    _attack(port, head + picture[: len(picture) // 2], reset=True)
    _attack(port, head + picture, reset=True)


def reads_nothing(port: int, picture: bytes, rng: np.random.Generator) -> None:
    """Ask for many answers and read none."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as client:
        for _ in range(100):
            client.sendall(b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)


def many_connections(port: int, picture: bytes, rng: np.random.Generator) -> None:
    """Open a hundred connections, half of which begin a head, and keep them for a second."""
    clients = []
    with suppress(OSError):
        for number in range(100):
            clients.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            if number % 2:
                clients[-1].sendall(HEAD)
        time.sleep(1)
    for client in clients:
        client.close()


def forms(port: int, picture: bytes, rng: np.random.Generator) -> None:
    """Send forms with many fields, with a head of a part that does not end, and cut ones."""
    field = b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n'
    for body in (field * 10_000, b"--b\r\nX: " + b"y" * 10**6, field[: rng.integers(1, 40)]):
        _post(port, body, **{"Content-Type": "multipart/form-data; boundary=b"})


ATTACKS: tuple[Attack, ...] = (
    long_chunk, huge_size, large_picture, mutated, slow_head, slow_body, no_http, foreign,
    leaves_early, reads_nothing, many_connections, forms,
)  # fmt: skip


def attack(port: int, picture: bytes, seed: int, end: float) -> None:
    """Make one attack after the other until the time `end` of `time.perf_counter`."""
    rng = np.random.default_rng(seed)
    while time.perf_counter() < end:
        ATTACKS[rng.integers(len(ATTACKS))](port, picture, rng)

"""A server on the loopback, and what asks it."""

from __future__ import annotations

import http.client
import json
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ghostyolo.model.detections import Detections
from ghostyolo.model.model import Model
from ghostyolo.serve import connections, server
from ghostyolo.serve.app import Service, application
from ghostyolo.serve.clients import Allowed
from ghostyolo.serve.incoming import Limits
from ghostyolo.serve.tasks import DetectOptions, detection
from support import ROOT, tiny

NAMES = ("ball", "cube", "cone", "ring", "star", "leaf")
OPTIONS = DetectOptions(0.25, 0.45)
LIMITS = Limits(requests=4, bytes=200_000, pixels=100_000, seconds=1.0, head=1.0, batch=4)


class Reply(NamedTuple):
    """What the server answered."""

    status: int
    content: Any
    headers: dict[str, str]


class Site(NamedTuple):
    """A server that runs, and a picture with what the model itself finds in it."""

    port: int
    service: Service
    picture: bytes
    expected: Detections

    def ask(
        self,
        path: str = "/detect",
        body: Any = None,
        method: str = "POST",
        headers: dict[str, str] | None = None,
    ) -> Reply:
        return ask(self.port, path, body, method, headers)


def ask(
    port: int,
    path: str,
    body: Any = None,
    method: str = "POST",
    headers: dict[str, str] | None = None,
) -> Reply:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        data = response.read()
        is_json = response.headers.get_content_type() == "application/json"
        content = json.loads(data) if is_json else data
        return Reply(response.status, content, dict(response.headers))
    finally:
        connection.close()


@contextmanager
def serving(service: Service, allowed: Allowed = Allowed()) -> Iterator[int]:  # noqa: B008
    """Serve in a thread; yield the port."""
    with running(service, allowed) as (_, port):
        yield port


@contextmanager
def running(
    service: Service,
    allowed: Allowed = Allowed(),  # noqa: B008
) -> Iterator[tuple[connections.Server, int]]:
    """Serve in a thread; yield the server, which ends once `should_exit` is True, and the port."""
    bound = server.bind("127.0.0.1", 0)
    running = connections.Server(application(service, allowed), service.limits)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [bound]})
    thread.start()
    while not running.started:
        time.sleep(0.01)
    try:
        yield running, bound.getsockname()[1]
    finally:
        running.should_exit = True
        thread.join()
        bound.close()


def jpeg(h: int, w: int) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (h // 8, w // 8, 3), np.uint8)
    return cv2.imencode(".jpg", cv2.resize(pixels, (w, h)))[1].tobytes()


def png_that_states(h: int, w: int) -> bytes:
    """Return a PNG of a few bytes that states a size and has no pixels."""
    chunks = {b"IHDR": struct.pack(">II5B", w, h, 8, 2, 0, 0, 0), b"IEND": b""}
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks.items()
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def form(parts: Sequence[tuple[str, bytes]], boundary: str = "xyz") -> dict[str, Any]:
    """Return body and headers of a form; each part: what follows form-data, its content."""
    head = "--{}\r\nContent-Disposition: form-data; {}\r\n\r\n"
    pieces = [head.format(boundary, what).encode() + data + b"\r\n" for what, data in parts]
    body = b"".join(pieces) + f"--{boundary}--\r\n".encode()
    return {
        "body": body,
        "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    }


@contextmanager
def tiny_site(folder: Path) -> Iterator[Site]:
    """Serve a tiny network from a folder."""
    model = Model(tiny.write(folder), tiny.eager_weights(folder)).eval()
    detect = lambda images, options: model.detector(**options._asdict())(images)  # noqa: E731
    service = Service(detection(detect, NAMES), LIMITS, "torch")
    (folder / "x.jpg").write_bytes(jpeg(96, 128))
    expected = model.detect(folder / "x.jpg")
    assert len(expected)
    with serving(service) as port:
        yield Site(port, service, jpeg(96, 128), expected)


def same(found: dict[str, Any], expected: Detections) -> bool:
    rows = found["detections"]
    return (
        (found["schema"], found["format"]) == (1, "xyxy")
        and [row["class"] for row in rows] == expected.classes.tolist()
        and np.allclose([row["box"] for row in rows], expected.boxes, atol=0.01)
        and np.allclose([row["score"] for row in rows], expected.scores, atol=1e-5)
    )


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


class Gate:
    """A detector that waits to be let through, and notes the sizes of its batches."""

    def __init__(self) -> None:
        self.open, self.sizes = threading.Event(), list[int]()

    def __call__(self, images: Sequence[np.ndarray], options: DetectOptions) -> list[Detections]:
        self.sizes.append(len(images))
        assert self.open.wait(30)
        # each picture's answer is told by its first pixel
        return [
            Detections(
                np.array([[0, 0, 1, 1]], np.float32), np.ones(1, np.float32), image[0, :1, 0]
            )
            for image in images
        ]


@contextmanager
def started(*words: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `ghostyolo serve` on a free port; yield the process and the port."""
    command = [sys.executable, "-m", "ghostyolo", "serve", *words, "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("serving"), line + process.stdout.read()
        yield process, int(line.partition("http://127.0.0.1:")[2].split()[0])
    finally:
        process.kill()
        process.wait()

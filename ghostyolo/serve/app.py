"""The routes of the server: pictures in, detections out as JSON; a page to try it; its health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

import ghostyolo
from ghostyolo.prediction.results import detection_rows
from ghostyolo.serve import incoming
from ghostyolo.serve.batcher import Batcher, Choice, Detect
from ghostyolo.serve.incoming import Limits, Refused

PAGE = Path(__file__).parent / "page"
FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js"}
DECODERS = 2  # pictures that are decoded at once
DRAIN_SECONDS = 10.0
# Nothing but the page's own files, and the picture that a person has dropped.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Service:
    """What the routes share: the batcher, the limits, the classes' names, who is inside."""

    def __init__(
        self, detect: Detect, names: Sequence[str], limits: Limits, choice: Choice, about: str
    ) -> None:
        """choice: what a request gets that asks for nothing. about: the runtime, in words."""
        self.names, self.limits, self.choice, self.about = names, limits, choice, about
        self.batcher = Batcher(detect, limits.batch)
        self.decoders = ThreadPoolExecutor(DECODERS, "decode")
        self.decoded = asyncio.Semaphore(2 * limits.batch)  # pictures in memory, a batch ahead
        self.inside = 0

    def close(self) -> None:
        """Finish what waits and let the threads go."""
        self.batcher.close()
        self.decoders.shutdown()

    async def detect(self, request: Request) -> Response:
        """Answer a picture with what is in it."""
        body = request.stream()
        try:
            with self._place():
                return await self._answer(request, body)
        except Refused as refused:
            with suppress(asyncio.TimeoutError, ClientDisconnect):
                await asyncio.wait_for(incoming.drain(body), DRAIN_SECONDS)
            return _refusal(refused)
        except ClientDisconnect:
            return Response(status_code=400)  # to nobody

    async def health(self, request: Request) -> Response:
        """Tell whether pictures are taken, and how many are inside."""
        ready = self.batcher.ready
        found = {
            "ready": ready,
            "queue": self.inside,
            "places": self.limits.places,
            "defaults": self.choice._asdict(),
            "runtime": self.about,
            "version": ghostyolo.__version__,
        }
        return JSONResponse(found, 200 if ready else 503)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Hold one of the places. Raises `Refused` with 503 when all are taken."""
        if self.inside >= self.limits.places:
            raise Refused(503, f"all {self.limits.places} places are taken", "try again later")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def _answer(self, request: Request, body: AsyncGenerator[bytes, None]) -> Response:
        start = time.perf_counter()
        data, options = await self._received(request, body)
        choice = incoming.choice(options, self.choice)
        received = time.perf_counter()
        async with self.decoded:
            loop, pixels = asyncio.get_running_loop(), self.limits.pixels
            image = await loop.run_in_executor(self.decoders, incoming.picture, data, pixels)
            answer = await asyncio.wrap_future(self.batcher.submit(image, choice))
        end = time.perf_counter()
        seconds = {
            "receive": received - start,
            "wait": end - received - answer.took,
            "detect": answer.took,
            "total": end - start,
        }
        found = {
            "width": image.shape[1],
            "height": image.shape[0],
            "detections": detection_rows(answer.detections, self.names),
            "ms": {name: round(value * 1e3, 2) for name, value in seconds.items()},
        }
        return JSONResponse(found)

    async def _received(
        self, request: Request, body: AsyncGenerator[bytes, None]
    ) -> tuple[bytes, dict[str, str]]:
        limits = self.limits
        try:
            coming = incoming.receive(request, body, limits.bytes)
            return await asyncio.wait_for(coming, limits.seconds)
        except asyncio.TimeoutError:
            message = f"not received within {limits.seconds:g} s"
            raise Refused(408, message, "send a smaller file") from None


def application(service: Service) -> Starlette:
    """Return the application over a service, which it closes when it ends."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    routes = [Route(path, _page(name), methods=["GET"]) for path, name in FILES.items()]
    routes += [
        Route("/detect", service.detect, methods=["POST"]),
        Route("/health", service.health, methods=["GET"]),
    ]
    handlers: dict[Any, Any] = {HTTPException: _http_error, Exception: _own_error}
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)


def _page(name: str) -> Any:
    async def page(request: Request) -> Response:
        return FileResponse(PAGE / name, headers=HEADERS)

    return page


def _refusal(refused: Refused) -> Response:
    headers = {"Retry-After": "1"} if refused.status == 503 else None
    content = {"error": refused.message, "hint": refused.hint}
    return JSONResponse(content, refused.status, headers)


async def _http_error(request: Request, error: HTTPException) -> Response:
    """Answer what no route takes."""
    hint = "POST a picture to /detect"
    return JSONResponse({"error": error.detail, "hint": hint}, error.status_code, error.headers)


async def _own_error(request: Request, error: Exception) -> Response:
    """Answer what went wrong here, without its inner details; they are logged."""
    content = {"error": "the server failed at this request", "hint": "see the server's log"}
    return JSONResponse(content, 500)

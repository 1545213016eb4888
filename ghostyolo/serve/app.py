"""The routes of the server: predictions for pictures as JSON, a page to try it, its health."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

import ghostyolo
from ghostyolo.drawing import COLOURS, PLACES, class_colour, css_colour, text_colour
from ghostyolo.files import SCHEMA
from ghostyolo.prediction.predict import picture_row
from ghostyolo.serve import clients, incoming
from ghostyolo.serve.batcher import Batcher
from ghostyolo.serve.clients import Allowed
from ghostyolo.serve.incoming import Limits, RequestError
from ghostyolo.serve.tasks import Task

PAGE = Path(__file__).parent / "page"
FILES = {"/": "index.html", "/page.css": "page.css", "/page.js": "page.js"}
DECODERS = 2  # threads that decode pictures
# The browser may load only the files of the page and the picture that the user has chosen.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class Service:
    """The state of the server: task, limits, batcher, decoders and number of current requests."""

    def __init__(self, task: Task, limits: Limits, runtime: str) -> None:
        """runtime: the name of the runtime, which the page shows."""
        self.task, self.limits, self.runtime = task, limits, runtime
        self.batcher = Batcher(task.compute, limits.batch)
        self.decoders = ThreadPoolExecutor(DECODERS, "decode")
        self.decoded = asyncio.Semaphore(
            2 * limits.batch
        )  # at most two batches of decoded pictures are in memory
        self.inside = 0

    def close(self) -> None:
        """Compute the waiting pictures and end the threads."""
        self.batcher.close()
        self.decoders.shutdown()

    async def answer(self, request: Request) -> Response:
        """Answer a picture with its prediction."""
        body = request.stream()
        try:
            with self._place():
                return await self._answer(request, body)
        except RequestError as error:
            if error.status != 408:
                with suppress(asyncio.TimeoutError, ClientDisconnect):
                    await asyncio.wait_for(incoming.drain(body), self.limits.seconds)
            return _refusal(error)
        except ClientDisconnect:
            return Response(status_code=400)  # the client has closed the connection

    async def drawing(self, request: Request) -> Response:
        """Answer with the colours of boxes and their text by class, and the places of labels."""
        colours = [
            [css_colour(ground), css_colour(text_colour(ground))]
            for ground in map(class_colour, range(len(COLOURS)))
        ]
        return JSONResponse({"schema": SCHEMA, "colours": colours, "places": PLACES.tolist()})

    async def health(self, request: Request) -> Response:
        """Answer with the state of the server: readiness, requests, task and runtime."""
        ready = self.batcher.ready
        found = {
            "schema": SCHEMA,
            "ready": ready,
            "queue": self.inside,
            "places": self.limits.requests,
            "task": self.task.name,
            "defaults": self.task.defaults._asdict(),
            "runtime": self.runtime,
            "version": ghostyolo.__version__,
        }
        return JSONResponse(found, 200 if ready else 503)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Count a request while it is answered. Raises `RequestError` with 503 beyond the limit."""
        if self.inside >= self.limits.requests:
            message = f"all {self.limits.requests} places are taken"
            raise RequestError(503, message, "try again later")
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1

    async def _answer(self, request: Request, body: AsyncGenerator[bytes, None]) -> Response:
        start = time.perf_counter()
        data, given = await self._received(request, body)
        options = incoming.request_options(given, self.task.defaults)
        received = time.perf_counter()
        async with self.decoded:
            loop, pixels = asyncio.get_running_loop(), self.limits.pixels
            image = await loop.run_in_executor(self.decoders, incoming.picture, data, pixels)
            answer = await asyncio.wrap_future(self.batcher.submit(image, options))
        end = time.perf_counter()
        seconds = {
            "receive": received - start,
            "wait": end - received - answer.seconds,
            self.task.name: answer.seconds,
            "total": end - start,
        }
        row = picture_row(image.shape[:2], self.task.shown(answer.result, options))
        ms = {name: round(value * 1e3, 2) for name, value in seconds.items()}
        return JSONResponse({**row, "ms": ms})

    async def _received(
        self, request: Request, body: AsyncGenerator[bytes, None]
    ) -> tuple[bytes, dict[str, str]]:
        limits = self.limits
        try:
            coming = incoming.receive(request, body, limits.bytes)
            return await asyncio.wait_for(coming, limits.seconds)
        except asyncio.TimeoutError:
            message = f"not received within {limits.seconds:g} s"
            raise RequestError(408, message, "send a smaller file") from None


class Gatekeeper:
    """Middleware that answers 403 to requests that are not allowed."""

    def __init__(self, app: ASGIApp, allowed: Allowed) -> None:
        self.app, self.allowed = app, allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            try:
                self.allowed.check(Headers(scope=scope), scope["server"][1])
            except RequestError as error:
                clients.log(scope["client"], error.message)
                await _refusal(error)(scope, receive, send)
                return
        await self.app(scope, receive, send)


def application(service: Service, allowed: Allowed = Allowed()) -> Starlette:  # noqa: B008
    """Return the application of a service, and close the service when the application ends.

    allowed: who may send requests.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.close)

    routes = [Route(path, _page(name), methods=["GET"]) for path, name in FILES.items()]
    routes += [
        Route(f"/{service.task.name}", service.answer, methods=["POST"]),
        Route("/health", service.health, methods=["GET"]),
        Route("/drawing", service.drawing, methods=["GET"]),
    ]
    handlers: dict[Any, Any] = {HTTPException: _no_route(service.task.name), Exception: _own_error}
    layers = [
        Middleware(Gatekeeper, allowed=allowed),
        Middleware(
            CORSMiddleware,
            allow_origins=[*allowed.origins],
            allow_methods=["GET", "POST"],
            allow_headers=["content-type"],
        ),
    ]
    return Starlette(
        routes=routes, lifespan=lifespan, exception_handlers=handlers, middleware=layers
    )


def _page(name: str) -> Any:
    async def page(request: Request) -> Response:
        return FileResponse(PAGE / name, headers=HEADERS)

    return page


def _refusal(error: RequestError) -> Response:
    headers = {408: {"Connection": "close"}, 503: {"Retry-After": "1"}}.get(error.status)
    return _error(error.status, error.message, error.hint, headers)


def _no_route(task: str) -> Any:
    async def no_route(request: Request, error: HTTPException) -> Response:
        return _error(error.status_code, error.detail, f"POST a picture to /{task}", error.headers)

    return no_route


async def _own_error(request: Request, error: Exception) -> Response:
    """Answer an error of the server without its details, which go to the log."""
    return _error(500, "the server failed at this request", "see the server's log")


def _error(status: int, message: str, hint: str, headers: Any = None) -> Response:
    content = {"schema": SCHEMA, "error": message, "hint": hint}
    return JSONResponse(content, status, headers)

"""Clients that are slow, send garbage, or are pages of other origins; and the end of the server."""

from __future__ import annotations

import http.client
import http.server
import logging
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support import browser, tiny

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")

from ghostyolo import cli
from ghostyolo.serve import clients
from ghostyolo.serve.app import Service
from ghostyolo.serve.clients import Allowed
from ghostyolo.serve.tasks import detection
from support.serving import (
    LIMITS,
    Gate,
    Reply,
    Site,
    ask,
    jpeg,
    running,
    serving,
    started,
    wait_until,
)

HEAD = b"POST /detect HTTP/1.1\r\nHost: localhost\r\n"
GET = b"GET /health"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
LARGE = HEAD + b"Content-Length: 100000\r\n\r\n"


@pytest.fixture(autouse=True)
def _fresh_log() -> None:
    """Forget which clients were logged in the last minute."""
    clients.ONE_PER_MINUTE.passed.clear()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        yield client


def received(client: socket.socket) -> bytes:
    """Return all that the server sends until it closes the connection."""
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


def answered(client: socket.socket) -> bytes:
    """Ask for the health, and return the whole answer."""
    client.sendall(GET + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = b""
    while b"}" not in answer:
        answer += client.recv(65536)
    return answer


def trickle(client: socket.socket, line: bytes) -> bytes:
    """Send a line again and again until the server closes; return what it sent."""
    client.settimeout(0.05)
    parts, end = [b""], time.monotonic() + 15
    while time.monotonic() < end:
        try:
            client.sendall(line)
            part = client.recv(65536)
        except TimeoutError:
            continue
        except OSError:  # reset: the server closed and this client went on
            return b"".join(parts)
        if not part:
            return b"".join(parts)
        parts.append(part)
    raise AssertionError("the server keeps the connection")


def fresh(site: Site) -> Service:
    """Return a service like the site's, for another server."""
    return Service(site.service.task, LIMITS, "torch")


SLOW = {
    "head that never ends": (HEAD, b"X: y\r\n", b"HTTP/1.1 408 "),
    "first line that never ends": (b"POST /", b"x", b"HTTP/1.1 408 "),
    "body": (LARGE, b"x", b"HTTP/1.1 408 "),
    "chunked body": (HEAD + CHUNKED, b"1\r\nx\r\n", b"HTTP/1.1 408 "),
    "body of what is refused": (LARGE.replace(b"/detect", b"/nowhere"), b"x", b"HTTP/1.1 404 "),
    "body that is not read": (LARGE.replace(b"POST /detect", GET), b"x", b"HTTP/1.1 200 "),
    "second head": (GET + b" HTTP/1.1\r\nHost: localhost\r\n\r\nG", b"x", b"HTTP/1.1 200 "),
}  # fmt: skip


def test_slow_senders_are_let_go(site: Site) -> None:
    def answer(start: bytes, line: bytes) -> bytes:
        with connected(site.port) as client:
            client.sendall(start)
            return trickle(client, line)

    with ThreadPoolExecutor(len(SLOW)) as pool:
        found = {name: pool.submit(answer, *row[:2]) for name, row in SLOW.items()}
    for name, (_, _, expected) in SLOW.items():
        assert found[name].result().startswith(expected), name
    wait_until(lambda: site.service.inside == 0)


def test_connection_that_sends_nothing_is_closed(site: Site) -> None:
    with connected(site.port) as client:
        assert received(client) == b""


def test_client_that_reads_no_answers_is_let_go(site: Site) -> None:
    with running(fresh(site)) as (server, port), connected(port) as client:
        client.settimeout(0.1)
        with suppress(TimeoutError):
            while True:
                client.sendall(b"GET /page.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        assert server.server_state.connections
        wait_until(lambda: not server.server_state.connections)


def test_busy_connection_is_kept(site: Site) -> None:
    """It is asked for longer than a head may take, and each answer comes."""
    with connected(site.port) as client:
        end = time.monotonic() + 2 * LIMITS.head
        while time.monotonic() < end:
            assert answered(client).startswith(b"HTTP/1.1 200 ")


# --- the log


GARBAGE = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\xfc\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "bad chunk": HEAD + CHUNKED + b"xyz\r\n",
    "bad chunk for no path": HEAD.replace(b"detect", b"no") + CHUNKED + b"xyz\r\n",
    "bad chunk after the answer": HEAD.replace(b"detect", b"no") + CHUNKED,
    "bad length": HEAD + b"Content-Length: many\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "long head": HEAD + b"X: " + b"y" * 100_000,
    "web socket": HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "foreign host": b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
}  # fmt: skip


def test_garbage_is_one_line_of_log_for_each_client_and_minute(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for sent in [*GARBAGE.values()] * 2:
        with connected(site.port) as client, suppress(OSError):
            client.sendall(sent)
            if sent == GARBAGE["bad chunk after the answer"]:
                assert client.recv(65536).startswith(b"HTTP/1.1 404 ")
                client.sendall(b"xyz\r\n")
            client.shutdown(socket.SHUT_WR)
            received(client)
    wait_until(lambda: bool(caplog.records))
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1, lines
    assert re.match(r"127\.0\.0\.1: .*; no more of it is logged for a minute$", lines[0])
    wait_until(lambda: site.service.inside == 0)


def test_log_tells_the_address_of_the_connection_and_commands_no_terminal(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    stated = "\x1b[2J" + "x" * 10_000
    site.ask("/health", headers={"Host": "evil\x1b[2J", "X-Forwarded-For": stated})
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(r"127.0.0.1: this server is not called 'evil\x1b[2J'")
    assert [*clients.ONE_PER_MINUTE.passed] == ["127.0.0.1"]


def test_clients_cannot_fill_the_log_or_the_memory() -> None:
    lets = clients.OnePerMinute()
    record = logging.makeLogRecord
    assert lets.filter(record({"args": ("a", "x"), "created": 100.0}))
    assert not lets.filter(record({"args": ("a", "y"), "created": 159.0}))
    assert lets.filter(record({"args": ("b", "y"), "created": 159.0}))
    assert lets.filter(record({"args": ("a", "y"), "created": 161.0}))
    passed = [lets.filter(record({"args": (f"{n}", ""), "created": 162.0})) for n in range(1500)]
    assert sum(passed) == clients.MOST_CLIENTS - 2
    assert len(lets.passed) == clients.MOST_CLIENTS
    assert lets.filter(record({"args": ("c", ""), "created": 300.0}))
    assert len(lets.passed) == 1


# --- hosts and origins


def headers(**values: str) -> dict[str, str]:
    return {name.capitalize(): value for name, value in values.items()}


OWN = [
    {},
    {"host": "localhost"},
    {"host": "LOCALHOST.:{port}"},
    {"host": "127.0.0.1:{port}", "origin": "http://127.0.0.1:{port}"},
    {"host": "127.0.0.1:{port}", "origin": "http://localhost:{port}"},
    {"host": "localhost:99", "origin": "http://localhost:99"},  # a port that is forwarded
    {"host": "[::1]:{port}", "origin": "http://[::1]:{port}"},
    {"host": "192.168.1.5:{port}", "origin": "http://192.168.1.5:{port}"},  # no name, no rebinding
    {"host": "cam.lan", "origin": "https://cam.lan"},  # behind an encrypting server
    {"host": "cam.lan:{port}", "origin": "http://cam.lan:{port}"},
    {"host": "localhost", "origin": "https://app.example:8443"},
]  # fmt: skip
FOREIGN = [
    {"host": "evil.example"},
    {"host": "localhost.evil.example:{port}"},
    {"host": "evil.example:{port}", "origin": "http://evil.example:{port}"},
    {"host": "127.0.0.1.evil.example"},
    {"host": ""},
    {"host": "[::1"},
    {"host": "localhost:{port}", "origin": "http://evil.example"},
    {"host": "localhost:{port}", "origin": "http://evil.example:{port}"},
    {"host": "localhost:{port}", "origin": "http://6.6.6.6:{port}"},
    {"host": "localhost:{port}", "origin": "http://localhost:99"},  # another program's page
    {"host": "localhost:{port}", "origin": "http://localhost"},
    {"host": "localhost:{port}", "origin": "null"},
    {"host": "localhost:{port}", "origin": "http://[::1"},
    {"host": "localhost:{port}", "origin": "http://localhost:{port}.evil.example"},
    {"host": "localhost:{port}", "origin": "http://localhost:port"},
    {"host": "localhost", "origin": "https://app.example"},
    {"host": "localhost", "origin": ""},
]  # fmt: skip


def test_hosts_and_origins(site: Site) -> None:
    allowed = Allowed.of("127.0.0.1", ["cam.lan"], ["https://app.example:8443"])
    with serving(fresh(site), allowed) as port:
        for rows, status in ((OWN, 200), (FOREIGN, 403)):
            for row in rows:
                sent = {name: value.format(port=port) for name, value in row.items()}
                for path, body, method in (("/detect", site.picture, "POST"), ("/", None, "GET")):
                    reply = ask(port, path, body, method, headers(**sent))
                    assert reply.status == status, (sent, reply)
                    if status == 403:
                        assert set(reply.content) == {"schema", "error", "hint"}
                        assert "--allow-" in reply.content["hint"]
    assert site.service.inside == 0


def test_any_host_and_origin_if_it_is_said(site: Site) -> None:
    with serving(fresh(site), Allowed.of("0.0.0.0", ["*"], ["*"])) as port:
        sent = headers(host="evil.example", origin="http://other.example")
        assert ask(port, "/detect", site.picture, headers=sent).status == 200


@pytest.mark.parametrize("text", ["app.example", "https://app.example/x", "ftp://x", "a b"])
def test_option_with_what_is_no_origin(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "x.cfg", "x.weights", "--allow-origin", text])
    assert f"'{text}' is not" in capsys.readouterr().err


class Page(http.server.BaseHTTPRequestHandler):
    """A page of another origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>other</title>")

    def log_message(self, *args: Any) -> None:
        pass


POST = """([url, mode, bytes]) => fetch(url, {method: "POST", mode, body: new Uint8Array(bytes)})
    .then(answer => answer.text()).catch(() => "refused")"""


def test_page_of_another_origin_needs_leave(site: Site) -> None:
    """As a browser sees it: it tells where a page is from, and reads the answer only with leave."""
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=other.serve_forever).start()
    pictures = list[int]()

    def compute(images: Any, options: Any) -> Any:
        pictures.append(len(images))
        return site.service.task.compute(images, options)

    strict = Service(site.service.task._replace(compute=compute), LIMITS, "torch")
    origin = f"http://127.0.0.1:{other.server_port}"
    try:
        with (
            browser.page() as page,
            serving(strict) as port,
            serving(fresh(site), Allowed.of("", [], [origin])) as open_port,
        ):

            def post(port: int, mode: str = "cors") -> str:
                url = f"http://127.0.0.1:{port}/detect"
                return str(page.evaluate(POST, [url, mode, [*site.picture]]))

            page.goto(origin)
            assert '"detections"' in post(open_port)
            assert post(port) == "refused"
            assert post(port, "no-cors") == ""
            assert not pictures
            page.goto(f"http://127.0.0.1:{port}/")
            assert '"detections"' in post(port)
            assert pictures == [1]
    finally:
        other.shutdown()
        other.server_close()


# --- the end


def closed(client: socket.socket) -> bytes:
    """Return what is left to read; a reset is an error."""
    client.settimeout(20)
    return received(client)


def test_end_answers_what_is_inside_and_resets_nothing(caplog: pytest.LogCaptureFixture) -> None:
    gate, replies = Gate(), list[Reply]()
    service = Service(detection(gate, ()), LIMITS, "none")
    with running(service) as (server, port):
        inside = [
            threading.Thread(target=lambda: replies.append(ask(port, "/detect", jpeg(8, 8))))
            for _ in range(3)
        ]
        for thread in inside:
            thread.start()
        with connected(port) as fresh, connected(port) as begun, connected(port) as kept:
            begun.sendall(HEAD)
            answered(kept)
            wait_until(lambda: service.inside == 3)
            server.should_exit = True
            assert (closed(fresh), closed(begun), closed(kept)) == (b"", b"", b"")
            kept.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")  # too late
            assert closed(kept) == b""
            gate.open.set()
            for thread in inside:
                thread.join()
    assert [reply.status for reply in replies] == [200] * 3
    assert {reply.headers["connection"] for reply in replies} == {"close"}
    assert not caplog.records


def test_end_does_not_wait_for_a_slow_sender(caplog: pytest.LogCaptureFixture) -> None:
    service = Service(detection(Gate(), ()), replace(LIMITS, seconds=600), "none")
    with running(service) as (server, port), connected(port) as client:
        client.sendall(LARGE)
        wait_until(lambda: service.inside == 1)
        server.should_exit = True
        with suppress(AssertionError):
            trickle(client, b"x")
        wait_until(lambda: service.inside == 0)
    assert [record for record in caplog.records if record.exc_info] == []


def test_signal_under_load_resets_nothing(site: Site, tmp_path: Path) -> None:
    words = (str(tiny.write(tmp_path)), str(tiny.eager_weights(tmp_path)))
    wrong, answered = list[object](), list[int]()
    with started(*words, "--runtime", "torch", "--threads", "1") as (process, port):

        def client() -> None:
            """Ask on one connection for as long as the server keeps it, and then once more."""
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
            try:
                while True:
                    connection.request("POST", "/detect", site.picture)
                    answer = connection.getresponse()
                    answer.read()
                    answered.append(answer.status)
                    if answer.will_close:
                        return
            except Exception as error:
                wrong.append(error)

        threads = [threading.Thread(target=client) for _ in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answered) > 50)
        process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert process.stdout
        assert process.stdout.read() == "stopped\n"
        assert process.wait(20) == 0
    assert not wrong
    assert set(answered) == {200}

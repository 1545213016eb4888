"""The server: a real one on the loopback, asked by HTTP and by a browser."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ghostyolo import cli
from ghostyolo.boxes import iou
from ghostyolo.drawing import class_colour, css_colour
from ghostyolo.errors import OptionError
from ghostyolo.model.detections import Detections
from ghostyolo.model.model import Model
from ghostyolo.network import loads
from ghostyolo.serve import server
from support import ROOT, browser, pictures, tiny

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("python_multipart")

from ghostyolo.serve.app import Service
from ghostyolo.serve.batcher import Batcher
from ghostyolo.serve.tasks import DetectOptions, classification, detection
from support.serving import (
    LIMITS,
    NAMES,
    OPTIONS,
    Gate,
    Reply,
    Site,
    ask,
    form,
    jpeg,
    png_that_states,
    same,
    serving,
    started,
    wait_until,
)


def test_body_and_form_find_what_the_model_finds(site: Site) -> None:
    part = 'name="picture"; filename="x.jpg"'
    for reply in (site.ask(body=site.picture), site.ask(**form([(part, site.picture)]))):
        assert reply.status == 200
        assert (reply.content["width"], reply.content["height"]) == (128, 96)
        assert same(reply.content, site.expected)
        assert {row["name"] for row in reply.content["detections"]} <= set(NAMES)
        assert reply.content["ms"]["total"] >= reply.content["ms"]["detect"] > 0


def test_options_are_those_of_the_request(site: Site) -> None:
    scores = sorted(site.expected.scores)
    between = float(scores[0] + scores[-1]) / 2
    fields = [('name="thresh"', str(between).encode()), ('name="p"; filename="x"', site.picture)]
    for reply in (
        site.ask(f"/detect?thresh={between}", site.picture),
        site.ask(**form(fields)),
    ):
        kept = [row["score"] for row in reply.content["detections"]]
        assert kept
        assert min(kept) >= between
        assert len(kept) < len(scores)
    apart = site.ask("/detect?nms=0.01", site.picture).content["detections"]
    assert 0 < len(apart) < len(scores)


MISTAKES: dict[str, tuple[int, str, dict[str, Any]]] = {
    "nothing": (400, "/detect", {"body": b""}),
    "text": (415, "/detect", {"body": b"hello"}),
    "json": (415, "/detect", {"body": b"{}", "headers": {"Content-Type": "application/json"}}),
    "damaged": (400, "/detect", {"body": jpeg(96, 128)[:300]}),
    "no size": (400, "/detect", {"body": b"\xff\xd8\xff"}),
    "no pixels": (400, "/detect", {"body": png_that_states(0, 7)}),
    "header alone": (400, "/detect", {"body": png_that_states(7, 7)}),
    "many bytes": (413, "/detect", {"body": b"\xff\xd8\xff" + bytes(300_000)}),
    "many chunks": (413, "/detect", {"body": (bytes(10_000) for _ in range(30))}),
    "many pixels": (413, "/detect", {"body": png_that_states(60_000, 60_000)}),
    "thresh": (422, "/detect?thresh=many", {"body": jpeg(8, 8)}),
    "low thresh": (422, "/detect?thresh=0.001", {"body": jpeg(8, 8)}),
    "not a number": (422, "/detect?nms=nan", {"body": jpeg(8, 8)}),
    "unknown": (422, "/detect?tresh=0.3", {"body": jpeg(8, 8)}),
    "twice": (422, "/detect?nms=0.3&nms=0.4", {"body": jpeg(8, 8)}),
    "empty form": (400, "/detect", form([])),
    "form of a field": (400, "/detect", form([('name="picture"', b"x")])),
    "nameless": (400, "/detect", form([('filename="x"', jpeg(8, 8))])),
    "two files": (400, "/detect", form([('name="a"; filename="x"', b"x")] * 2)),
    "long field": (400, "/detect", form([('name="thresh"', bytes(5000))])),
    "large form": (413, "/detect", form([('name="a"; filename="x"', bytes(300_000))])),
    "no boundary": (
        400,
        "/detect",
        {"body": b"--x", "headers": {"Content-Type": "multipart/form-data"}},
    ),
    "no form": (
        400,
        "/detect",
        {"body": b"abc", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
    ),
    "elsewhere": (404, "/detekt", {"body": jpeg(8, 8)}),
    "GET": (405, "/detect", {"method": "GET"}),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_json(site: Site, name: str) -> None:
    status, path, request = MISTAKES[name]
    reply = site.ask(path, **request)
    assert reply.status == status, reply.content
    assert set(reply.content) == {"schema", "error", "hint"}
    assert reply.content["error"]
    assert site.service.inside == 0


def test_slow_client_is_let_go(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(
            b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 408")


def test_client_that_leaves_frees_its_place(site: Site) -> None:
    with socket.create_connection(("127.0.0.1", site.port)) as client:
        client.sendall(
            b"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc"
        )
        wait_until(lambda: site.service.inside == 1)
    wait_until(lambda: site.service.inside == 0)


def test_health_and_page(site: Site) -> None:
    health = site.ask("/health", method="GET")
    assert (health.status, health.content["ready"], health.content["queue"]) == (200, True, 0)
    assert health.content["defaults"] == {"thresh": 0.25, "nms": 0.45}
    drawing = site.ask("/drawing", method="GET").content
    assert sorted(drawing) == ["colours", "places", "schema"]
    assert drawing["colours"][1][0] == css_colour(class_colour(1))
    page = site.ask("/", method="GET")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert b"http" not in page.content.replace(b"http-equiv", b"")


def test_full_server_says_when_to_come_back_and_serves_those_inside() -> None:
    gate = Gate()
    with serving(Service(detection(gate, ()), LIMITS, "none")) as port:
        replies = list[Reply]()
        clients = [
            threading.Thread(target=lambda: replies.append(ask(port, "/detect", jpeg(8, 8))))
            for _ in range(LIMITS.requests)
        ]
        for client in clients:
            client.start()
        wait_until(lambda: ask(port, "/health", method="GET").content["queue"] == LIMITS.requests)
        refused = ask(port, "/detect", jpeg(8, 8))
        gate.open.set()
        for client in clients:
            client.join()
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    assert [reply.status for reply in replies] == [200] * LIMITS.requests


def test_waiting_pictures_make_one_batch_each_with_its_own_answer() -> None:
    gate = Gate()
    batcher = Batcher(gate, 3)
    other = DetectOptions(0.5, 0.45)
    pictures = [np.full((2, 2, 3), value, np.uint8) for value in range(7)]
    first = batcher.submit(pictures[0], OPTIONS)
    wait_until(lambda: gate.sizes == [1])
    options = [OPTIONS, OPTIONS, other, OPTIONS, OPTIONS, other]
    rest = [batcher.submit(*job) for job in zip(pictures[1:], options, strict=True)]
    gate.open.set()
    batcher.close()
    assert gate.sizes == [1, 3, 2, 1]  # 0; 1, 2 and 4; 3 and 6; 5
    found = [future.result().result.classes[0] for future in (first, *rest)]
    assert found == list(range(7))
    assert not batcher.ready
    with pytest.raises(RuntimeError, match="closed"):
        batcher.submit(pictures[0], OPTIONS)


def test_failure_is_the_answer_to_its_own_requests() -> None:
    def detect(images: Sequence[np.ndarray], options: DetectOptions) -> list[Detections]:
        if options.thresh == 1:
            raise ValueError("secret")
        return [Detections.empty() for _ in images]

    with serving(Service(detection(detect, ()), LIMITS, "none")) as port:
        failed = ask(port, "/detect?thresh=1", jpeg(8, 8))
        health = ask(port, "/health", method="GET")
    assert failed.status == 500
    assert "secret" not in json.dumps(failed.content)
    assert health.content["ready"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_command_serves_until_a_signal_and_ends_well(
    site: Site, tmp_path: Path, number: signal.Signals
) -> None:
    cfg, weights = tiny.write(tmp_path), tiny.eager_weights(tmp_path)
    (tmp_path / "tiny.names").write_text("\n".join(NAMES))
    words = (str(cfg), str(weights), "--runtime", "torch", "--threads", "1")
    with started(*words) as (process, port):
        reply = ask(port, "/detect", site.picture)
        assert same(reply.content, site.expected)
        assert reply.content["detections"][0]["name"] in NAMES
        process.send_signal(number)
        assert process.stdout
        assert process.stdout.read() == "stopped\n"
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.cfg", "x.weights"], "x.cfg: "),
        (["x.onnx"], "x.onnx: no such file"),
        (["x.cfg", "x.weights", "--host", "192.0.2.1"], "cannot serve at 192.0.2.1:0"),
    ],
)
def test_command_tells_what_is_wrong(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["serve", *words, "--port", "0"]) == 1
    assert message in capsys.readouterr().err


def test_missing_library_is_named_with_its_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert cli.main(["serve", "x.cfg", "x.weights"]) == 1
    error = capsys.readouterr().err
    assert error == "ghostyolo: uvicorn is not installed; pip install 'ghostyolo[serve]'\n"


def test_port_that_is_taken_is_an_error() -> None:
    with (
        server.bind("127.0.0.1", 0) as bound,
        pytest.raises(OptionError, match="address already in use"),
    ):
        server.bind("127.0.0.1", bound.getsockname()[1])


def test_page_shows_what_was_found_and_why_not(site: Site, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(site.picture)
    (tmp_path / "bad.jpg").write_bytes(site.picture[:300])
    webp = cv2.imencode(".webp", cv2.imdecode(np.frombuffer(site.picture, np.uint8), 1))[1]
    (tmp_path / "x.webp").write_bytes(webp.tobytes())
    with browser.page(390, 800) as page:
        wrong, asked = list[str](), list[str]()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"http://127.0.0.1:{site.port}/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "file"
        page.set_input_files("#file", tmp_path / "x.jpg")
        page.wait_for_selector("tbody tr")
        assert page.locator("tbody tr").count() == len(site.expected)
        assert inside(page, page.locator(".boxes div").first, site.expected.boxes[0], (96, 128))
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        colour = page.locator(".boxes span").first.evaluate(
            "e => getComputedStyle(e).backgroundColor"
        )
        assert colour == f"rgb{class_colour(int(site.expected.classes[0]))}"
        page.wait_for_selector(".boxes span[style]")
        assert whole(page)
        page.set_viewport_size({"width": 800, "height": 800})
        assert whole(page)
        page.focus("#thresh")
        page.keyboard.press("End")
        wait_until(lambda: page.locator("tbody tr").count() < len(site.expected))
        page.set_input_files("#file", tmp_path / "bad.jpg")
        page.wait_for_selector("#status.bad")
        assert "not a picture, or truncated" in page.inner_text("#status")
        assert page.locator(".stage").is_hidden()
        page.set_input_files("#file", tmp_path / "x.webp")  # which the browser makes a PNG
        page.wait_for_selector(".stage:visible")
    assert not wrong
    assert all(
        url.startswith((f"http://127.0.0.1:{site.port}/", "blob:", "data:")) for url in asked
    )


DROP = """files => {
    const data = new DataTransfer();
    for (const [name, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name));
    document.body.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
}"""


def test_page_shows_all_pictures_that_are_dropped(site: Site) -> None:
    with browser.page(1000, 900) as page:
        wrong = list[str]()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"http://127.0.0.1:{site.port}/")
        page.wait_for_selector("#about:not(:empty)")
        dropped = [["one.jpg", site.picture], ["bad <b>.jpg", b"x"], ["two.png", site.picture]]
        page.evaluate(DROP, [[name, [*data]] for name, data in dropped])
        page.wait_for_selector("text=3 pictures, 1 of them cannot be used")
        assert page.locator("h2").all_inner_texts() == [name for name, _ in dropped]
        assert page.locator(".stage:visible").count() == 2
        assert page.locator("tbody tr:visible").count() == 2 * len(site.expected)
        assert page.locator(".summary").nth(1).inner_text().startswith("This is not a picture")
        page.focus("#thresh")
        page.keyboard.press("End")
        wait_until(lambda: page.locator("tbody tr:visible").count() < len(site.expected))
        page.evaluate(DROP, [["three.jpg", [*site.picture]]])
        wait_until(lambda: page.locator(".result").count() == 1)
        page.wait_for_selector("text=pixels")
    assert not wrong


def classifying(folder: Path) -> tuple[Model, Path, Path]:
    torch.manual_seed(0)
    model = Model(loads(pictures.CFG)).eval()
    cfg, weights = folder / "net.cfg", folder / "net.weights"
    cfg.write_text(pictures.CFG)
    model.save_weights(weights)
    return model, cfg, weights


def test_classifier_answers_with_its_classes(site: Site, tmp_path: Path) -> None:
    model, _, _ = classifying(tmp_path)
    (tmp_path / "x.jpg").write_bytes(site.picture)
    want = model.classify(tmp_path / "x.jpg")
    order = np.argsort(-want)
    task = classification(lambda images, options: model.classifier()(images), ("a", "b", "c"))
    with serving(Service(task, LIMITS, "torch")) as port:
        reply = ask(port, "/classify", site.picture)
        assert [row["class"] for row in reply.content["classes"]] == order.tolist()
        assert [row["name"] for row in reply.content["classes"]] == ["abc"[cls] for cls in order]
        probabilities = [row["probability"] for row in reply.content["classes"]]
        assert np.allclose(probabilities, want[order], atol=1e-5)
        assert len(ask(port, "/classify?top=1", site.picture).content["classes"]) == 1
        for query in ("top=0", "top=1.5", "top=many", "thresh=0.5"):
            assert ask(port, f"/classify?{query}", site.picture).status == 422
        elsewhere = ask(port, "/detect", site.picture)
        assert (elsewhere.status, elsewhere.content["hint"]) == (404, "POST a picture to /classify")
        assert ask(port, "/health", method="GET").content["task"] == "classify"
        with browser.page(390, 800) as page:
            held: list[Any] = []
            page.route("**/health", lambda route: held.append(route))
            page.goto(f"http://127.0.0.1:{port}/")
            while not held:
                page.wait_for_timeout(20)
            page.set_input_files("#file", tmp_path / "x.jpg")
            page.wait_for_timeout(300)  # the page does not know yet that it classifies
            held[0].continue_()
            page.wait_for_selector("tbody tr")
            assert page.locator("tbody tr").count() == 3
            assert page.locator(".boxes div").count() == 0
            assert page.locator(".option:visible").count() == 0
            assert "Classify a picture" in page.inner_text("h1")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_command_serves_a_classifier_and_its_exported_file(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    model, cfg, weights = classifying(tmp_path)
    (tmp_path / "x.jpg").write_bytes(site.picture)
    want = np.sort(model.classify(tmp_path / "x.jpg"))[::-1]
    onnx = tmp_path / "net.onnx"
    assert cli.main(["export", str(cfg), str(weights), str(onnx)]) == 0
    for words in ((cfg, weights, "--runtime", "torch"), (onnx, "--runtime", "onnxruntime")):
        with started(*map(str, words), "--threads", "1") as (_, port):
            rows = ask(port, "/classify", site.picture).content["classes"]
            assert np.allclose([row["probability"] for row in rows], want, atol=1e-4)


def whole(page: Any) -> bool:
    """Return whether the labels that are shown lie on the picture and beside each other."""
    area, *labels = page.evaluate(
        """[...document.querySelectorAll(".stage img, .boxes span:not([hidden])")].map(e => {
            const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })"""
    )
    rows = np.array(labels)
    on = (rows[:, :2] >= area[:2] - np.full(2, 0.1)) & (rows[:, 2:] <= area[2:] + np.full(2, 0.1))
    overlaps = iou(rows, rows) > 1e-3
    return bool(on.all() and overlaps.sum() == len(rows) > 1)


def inside(page: Any, mark: Any, box: np.ndarray, size: tuple[int, int]) -> bool:
    """Return whether a mark lies on the picture where the box lies in it."""
    shown, found = page.locator(".stage img").bounding_box(), mark.bounding_box()
    scale = shown["width"] / size[1]
    x1, y1, x2, y2 = box * scale + np.array([shown["x"], shown["y"]] * 2)
    corners = (found["x"], found["y"], found["x"] + found["width"], found["y"] + found["height"])
    return np.allclose(corners, (x1, y1, x2, y2), atol=1.5)


def test_load_with_garbage_and_attacks_is_served_and_refused(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import load_serve

    service = Service(site.service.task, replace(LIMITS, requests=32, seconds=30, head=10), "torch")
    with serving(service) as port:
        found = load_serve.load(port, [site.picture], 8, 3, hostile=2)
        assert load_serve.forgets(port)
    assert not found.wrong
    assert found.served > 10
    assert sum(found.refused.values()) > 0

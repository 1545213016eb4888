"""Pages of reports: read, and shown in a real browser."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src='http://evil/x.png'>",
    "$x_{1}$ & _y",
    "{{ 7 * 7 }}",
    "a very long name that does not end before it has filled more than one whole line of a page",
    "数字",
)
VOID = {"meta", "link", "br", "img", "hr", "input"}
LOADING = {"src", "href", "xlink:href", "srcset", "data", "poster", "action", "background"}
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars", "--window-size=1400,900", "--dump-dom",
)  # fmt: skip
WIDTHS = (390, 1200, 1280)
GROUNDS = {"light": "rgb(246, 247, 249)", "dark": "rgb(18, 22, 28)"}
# Written into the page for the browser test: what sticks out, beside what may scroll in itself.
MEASURE = """<script>addEventListener("load", () => {
  const all = [...document.body.querySelectorAll("*")], box = e => e.getBoundingClientRect();
  const start = e => e.outerHTML.slice(0, 80);
  const wide = all.filter(e => box(e).right > innerWidth + 1 && !e.closest(".scroll, svg, pre"));
  const flat = all.filter(e => e.matches("svg, section, dd, .bar") &&
    !(box(e).width * box(e).height));
  parent.document.getElementById(innerWidth + " " + name).textContent = JSON.stringify({
    scroll: document.documentElement.scrollWidth, wide: wide.map(start), flat: flat.map(start),
    hidden: innerWidth > 1000 && all.some(e => e.matches("#scores .scroll") &&
      e.scrollWidth > e.clientWidth),
    drawings: document.querySelectorAll("svg").length,
    ground: getComputedStyle(document.body).backgroundColor});
})</script></body>"""


class Page(HTMLParser):
    """Reads a page, checks that its elements nest, and keeps what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def sections(self) -> list[str]:
        return [str(attrs["id"]) for tag, attrs in self.tags if tag == "section"]


def check_loads_nothing(text: str) -> None:
    """Assert that a page needs no other file, and runs no script."""
    page = Page(text)
    assert not {"script", "link", "iframe", "object", "embed"} & {t for t, _ in page.tags}
    for tag, attrs in page.tags:
        for name in LOADING & set(attrs):
            value = attrs[name] or ""
            assert value.startswith(("#", "data:image/jpeg;base64,")), f"{tag} {name}={value[:40]}"
        assert not any(name.startswith("on") for name in attrs)
    assert "@import" not in text
    targets = re.findall(r"url\((.*?)\)", text)
    assert all(target.startswith("#") for target in targets)
    policies = [attrs for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs]
    assert "default-src 'none'" in str(policies[0]["content"])


def check_references(text: str) -> None:
    """Assert that each reference within a page leads to one element."""
    page = Page(text)
    ids = [str(attrs["id"]) for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    wanted = {
        str(attrs[name])[1:]
        for _, attrs in page.tags
        for name in LOADING & set(attrs)
        if str(attrs[name]).startswith("#")
    }
    assert wanted | set(re.findall(r"url\(#(.*?)\)", text)) <= set(ids)


def check_in_browser(text: str, folder: Path, drawings: int) -> None:
    """Assert that nothing sticks out of a page on a phone and a desktop, light and dark.

    The page is shown in frames, since a browser's own window has a least width above a phone's.

    A page in a frame is as light or dark as the frame.
    """
    if BROWSER is None:
        pytest.skip("no chromium is installed to show the page in")
    measured = re.sub(r"<meta http-equiv.*?>", "", text).replace("</body>", MEASURE)
    sides = [(width, scheme) for width in WIDTHS for scheme in GROUNDS]
    frames = "".join(
        f'<pre id="{width} {scheme}"></pre>'
        f'<iframe name="{scheme}" srcdoc="{html.escape(measured)}" '
        f'style="border: 0; width: {width}px; height: 900px; color-scheme: {scheme}"></iframe>'
        for width, scheme in sides
    )
    page = folder / "frames.html"
    page.write_text(frames, encoding="utf-8")
    words = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", page.as_uri()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    for width, scheme in sides:
        found = re.search(rf'<pre id="{width} {scheme}">(.+?)</pre>', done.stdout)
        assert found, done.stderr[-500:]
        seen = {"scroll": width, "wide": [], "flat": [], "hidden": False, "drawings": drawings}
        seen["ground"] = GROUNDS[scheme]
        assert json.loads(html.unescape(found[1])) == seen

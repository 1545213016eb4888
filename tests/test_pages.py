"""What README, CONTRIBUTING and docs name in their text exists: options, commands, other pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ghostyolo import cli
from ghostyolo.data.paths import SUFFIXES
from ghostyolo.prediction.sources import VIDEOS
from support import ROOT
from support.examples import PAGES

FOREIGN = {"--no-compile", "--shm-size"}  # of pip and docker


def prose(path: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub("```.*?```", "", path.read_text(), flags=re.DOTALL)


def anchors(path: Path) -> set[str]:
    """Return the anchors that the headings of a page have on GitHub."""
    titles = re.findall("^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_options_and_commands_in_the_text_exist(page: str) -> None:
    parsers = [cli.parser(name)[0] for name in cli.ABOUTS]
    known = {option for parser in parsers for option in parser._option_string_actions} | FOREIGN
    spans = re.findall("`([^`]+)`", prose(ROOT / page))
    for span in spans:
        tools = [(ROOT / tool).read_text() for tool in re.findall(r"\btools/\w+\.py", span)]
        options = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", span))
        assert all(f'"{option}"' in "".join(tools) for option in options - known), span
    code = "\n".join(spans)
    assert set(re.findall(r"^ghostyolo ([a-z][\w-]*)", code, re.MULTILINE)) <= set(cli.ABOUTS)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", (ROOT / page).read_text())
    for path, anchor in links:
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_page_of_detection_lists_the_endings_that_are_read() -> None:
    listed = set(re.findall(r"`(\.\w+)`", prose(ROOT / "docs/detect.md").partition("## Where")[0]))
    assert listed == SUFFIXES | VIDEOS

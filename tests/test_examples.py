"""Every example of README, CONTRIBUTING, docs and public docstrings does what it says."""

from __future__ import annotations

import doctest
import re
import shutil
import textwrap
from pathlib import Path

import pytest

import ghostyolo
from ghostyolo import cli
from support import ROOT, examples
from support.examples import LANGUAGES, PAGES, PROGRAMS, Block

BLOCKS = {page: examples.blocks(page, (ROOT / page).read_text()) for page in PAGES}
MOST_NOT_RUN = 8
NOT_RUN = {"sample-data": "paints 520 pictures, which takes half a minute"}


@pytest.fixture(scope="session")
def stand_ins(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("examples")
    examples.stand_ins(folder)
    return folder


@pytest.fixture
def scratch(stand_ins: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files that the examples name, as working directory."""
    folder = tmp_path / "scratch"
    shutil.copytree(stand_ins, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("page", PAGES)
def test_examples_of(page: str, scratch: Path) -> None:
    follow([block for block in BLOCKS[page] if block.language in LANGUAGES])


def follow(blocks: list[Block]) -> None:
    with examples.Reader() as reader:
        for block in blocks:
            reader.follow(block)
    if reader.failures:
        pytest.fail("\n\n".join(reader.failures), pytrace=False)


@pytest.mark.parametrize("name", ["", *cli.ABOUTS])
def test_examples_in_the_help_of(name: str, scratch: Path) -> None:
    if name in NOT_RUN:
        pytest.skip(NOT_RUN[name])
    text = "".join(f"ghostyolo {words}\n" for words in cli.EXAMPLES)
    if name:
        text = textwrap.dedent(cli.parser(name)[0].format_help().rpartition("examples:\n")[2])
    follow([Block(f"examples in ghostyolo {name} --help", 0, "sh", text, "", "")])


def test_no_example_hides() -> None:
    """In a block without a language, which is not run."""
    assert not [
        f"{block.page}:{block.line} is an example; write ```sh or ```python"
        for page in PAGES
        for block in BLOCKS[page]
        if block.language not in LANGUAGES and (block.text.split() or [""])[0] in PROGRAMS
    ]


def test_few_examples_are_not_run() -> None:
    marked = [block for page in PAGES for block in BLOCKS[page] if block.reason]
    assert len(marked) <= MOST_NOT_RUN
    for block in marked:
        place = f"{block.page}:{block.line}"
        assert block.language in LANGUAGES, f"{place}: nothing runs this block anyway"
        assert block.part in block.text, f"{place}: no command contains '{block.part}'"


def test_every_mark_is_before_a_block() -> None:
    for page in PAGES:
        marks = re.findall("^ *<!-- not run", (ROOT / page).read_text(), re.MULTILINE)
        assert len(marks) == sum(bool(block.reason) for block in BLOCKS[page]), page


@pytest.mark.parametrize("name", ghostyolo.__all__)
def test_public_name_has_an_example(name: str, scratch: Path) -> None:
    """In its docstring, which shows what the example prints."""
    public = getattr(ghostyolo, name)
    assert ">>> " in public.__doc__
    printed: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in doctest.DocTestFinder().find(public, name, globs={"ghostyolo": ghostyolo}):
        runner.run(test, out=printed.append)
    if printed:
        pytest.fail("\n".join(printed), pytrace=False)

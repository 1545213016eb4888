"""The wheel and the sdist, built once: their files and their metadata."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from email import message_from_string
from email.message import Message
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest

import ghostyolo
from support import ROOT

BUILD = "import setuptools.build_meta as m; m.build_sdist('dist'); m.build_wheel('dist')"
FOLDERS = ("cfg", "docs", "ghostyolo", "tests", "tools")
FILES = {
    "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in", "README.md", "constraints.txt",
    "pyproject.toml", "setup.cfg", "setup.py",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build in a copy, because setuptools leaves files beside the sources."""
    copy = tmp_path_factory.mktemp("package")
    for name in FOLDERS:
        ignored = shutil.ignore_patterns("__pycache__", ".*_cache", "*.part")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in FILES:
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-c", BUILD]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "deprecat" not in done.stderr.lower()
    return copy


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Iterator[ZipFile]:
    with ZipFile(next(folder.glob("dist/*.whl"))) as opened:
        yield opened


@pytest.fixture(scope="module")
def metadata(wheel: ZipFile) -> Message:
    name = next(name for name in wheel.namelist() if name.endswith("/METADATA"))
    return message_from_string(wheel.read(name).decode())


def files(*folders: Path) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_wheel_holds_the_package_and_the_cfgs(wheel: ZipFile) -> None:
    names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    cfgs = {f"ghostyolo/{name}" for name in files(ROOT / "cfg")}
    assert "ghostyolo/cfg/ghostnet-1.0-coco.cfg" in cfgs
    assert names == files(ROOT / "ghostyolo") | cfgs
    assert "ghostyolo/py.typed" in names


def test_sdist_holds_everything(folder: Path) -> None:
    with tarfile.open(next(folder.glob("dist/*.tar.gz"))) as opened:
        members = [PurePosixPath(member.name) for member in opened.getmembers() if member.isfile()]
    names = {path.relative_to(path.parts[0]).as_posix() for path in members}
    made = {"PKG-INFO", *(name for name in names if name.startswith("ghostyolo.egg-info/"))}
    assert names - made == files(*(ROOT / name for name in FOLDERS)) | FILES


def test_metadata(metadata: Message) -> None:
    assert (metadata["Name"], metadata["Version"]) == ("ghostyolo", ghostyolo.__version__)
    assert (metadata["License-Expression"], metadata["License"]) == ("MIT", None)
    pages = dict(text.split(", ") for text in metadata.get_all("Project-URL"))
    assert {"Homepage", "Documentation", "Changelog", "Issues"} == set(pages)
    assert all(page.startswith(pages["Homepage"]) for page in pages.values())
    assert metadata["Requires-Python"] == ">=3.10"
    assert not [text for text in metadata.get_all("Classifier") if text.startswith("License")]


def test_readme_works_outside_the_repository(metadata: Message) -> None:
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = metadata.get_payload()
    targets = re.findall(r"\]\(([^)]*)\)|(?:src|href)=\"([^\"]*)\"", text)
    links = ["".join(target) for target in targets]
    assert len(links) > 5
    assert not [link for link in links if not link.startswith(("https://", "#"))]
    home = "https://github.com/ghostyolo/ghostyolo/"
    for link in links:
        if link.startswith(home):
            path = link.removeprefix(home).split("/", 2)[2].partition("#")[0]
            assert (ROOT / path).exists(), link


def test_install_page_names_all_but_opencv(metadata: Message) -> None:
    """For those who install without dependencies, beside another OpenCV."""
    required = [text for text in metadata.get_all("Requires-Dist") if "extra ==" not in text]
    names = {re.split(r"[<>=]", text)[0] for text in required} - {"opencv-python"}
    page = (ROOT / "docs/install.md").read_text()
    assert f"pip install {' '.join(sorted(names))}\n" in page
    extras = set(re.findall(r"^\| `'\.\[(\w+)\]'`", page, re.MULTILINE))
    assert extras == {*metadata.get_all("Provides-Extra")} - {"docs", "test"}


def test_changelog_begins_with_what_is_to_come() -> None:
    titles = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert titles[:2] == ["Unreleased", ghostyolo.__version__]

"""The house: what imports what, what costs no torch, how long things are, what everything has."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ghostyolo
from ghostyolo.layers import KINDS

PACKAGE = Path(ghostyolo.__file__).parent
ROOT = PACKAGE.parent
FILES = sorted(PACKAGE.rglob("*.py"))
# A part of the package imports parts of a lower rank, and those beside it that are named here.
RANKS = {
    "errors": 0, "words": 0, "ops": 0, "schedule": 0, "ema": 0,
    "syntax": 1, "files": 1, "boxes": 1, "overlap": 1, "distributed": 1, "precision": 1,
    "allocator": 1,
    "layers": 2,
    "netoptions": 3, "network": 3,
    "weights": 4, "data": 4, "loss": 4, "info": 4, "passes": 4, "zoo": 4, "draw": 4, "lint": 4,
    "anchors": 4, "curves": 4, "detections": 4, "model": 4, "ghosts": 4, "convert": 4,
    "cost": 4, "machine": 4, "ghostify": 4, "metadata": 4, "endings": 4, "classifier": 4,
    "live": 4,
    "export": 5, "report": 5, "evaluate": 5, "predict": 5, "limits": 5, "state": 5, "train": 5,
    "sources": 5, "results": 5, "video": 5,
    "recipe": 5, "trainconfig": 5, "update": 5, "guard": 5, "accuracy": 5, "tasks": 5,
    "runtime": 5, "parity": 5, "serve": 5, "bench": 5,
    "sheet": 5, "ghostsheet": 5, "console": 6, "tensorboard": 6, "gencfg": 6, "cli": 6,
    "__main__": 7, "__init__": 7,
}  # fmt: skip
BESIDE = {
    "anchors": {"data", "passes"},
    "network": {"netoptions"},
    "curves": {"data"},
    "classifier": {"data", "detections", "endings"},
    "detections": {"data", "endings"},
    "model": {"classifier", "data", "detections", "live", "weights"},
    "convert": {"model", "weights", "zoo"},
    "export": {"runtime"},
    "lint": {"passes"},
    "passes": {"endings", "zoo"},
    "limits": {"recipe"},
    "tasks": {"accuracy", "evaluate", "limits", "recipe"},
    "trainconfig": {"recipe", "tasks"},
    "cost": {"ghostify"},
    "machine": {"cost"},
    "ghostify": {"data", "live", "model"},
    "ghosts": {"ghostify"},
    "update": {"recipe", "state", "tasks"},
    "guard": {"state", "trainconfig", "update"},
    "train": {"evaluate", "guard", "limits", "report", "state", "trainconfig", "update"},
    "report": {"accuracy", "evaluate"},
    "runtime": {"export"},
    "parity": {"runtime"},
    "bench": {"runtime"},
    "predict": {"sources"},
    "results": {"predict"},
    "video": {"predict", "sources"},
    "serve": {"predict", "runtime"},
    "cli": {"console", "gencfg", "tensorboard"},
    "console": {"tensorboard"},
}
TORCHLESS = (
    "", ".network", ".layers", ".gencfg", ".info", ".passes", ".zoo.recipes", ".cli", ".ghostify",
    ".cost", ".cli.ghostify",
)  # fmt: skip
LONGEST_FUNCTION, LONGEST_FILE = 80, 350  # lines

files = pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))


def part_of(path: Path) -> str:
    """Return the part of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Yield every import of ours with the part that it names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "ghostyolo":
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ghostyolo."):
            yield node, str(node.module).split(".")[1]


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_part_has_a_rank() -> None:
    assert {part_of(path) for path in FILES} <= set(RANKS)


@files
def test_imports_point_down(path: Path) -> None:
    own = part_of(path)
    for node, part in imports(ast.parse(path.read_text())):
        below = RANKS[part] < RANKS[own]
        assert below or part == own or part in BESIDE.get(own, ()), f"line {node.lineno}: {part}"


@files
def test_imports_stand_at_the_top(path: Path) -> None:
    """But for commands, which import what they need, and for torch's part in a layer."""
    tree = ast.parse(path.read_text())
    for function in functions(tree):
        for node, part in imports(function):
            allowed = part_of(path) == "cli" or (part_of(path), part) == ("layers", "ops")
            assert allowed, f"line {node.lineno}: {part}"


@pytest.mark.parametrize("name", TORCHLESS)
def test_import_is_light(name: str) -> None:
    script = f"import sys, ghostyolo{name}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert {"torch", "numpy", "cv2", "yaml", "tqdm"}.isdisjoint(done.stdout.split())


@pytest.mark.parametrize("words", [["ghostyolo.gencfg"], ["ghostyolo", "info", "{cfg}"]])
def test_command_is_light(words: list[str]) -> None:
    cfg = ROOT / "cfg/ghostnet-0.5-voc.cfg"
    script = f"""if True:
        import runpy, sys
        sys.argv = [{words[0]!r}] + {[word.format(cfg=cfg) for word in words[1:]]}
        try:
            runpy.run_module({words[0]!r}, run_name="__main__")
        except SystemExit as stop:
            assert not stop.code, stop.code
        assert not {{"torch", "numpy", "cv2"}} & set(sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


def test_public_names_resolve() -> None:
    assert sorted(ghostyolo.__all__) == list(ghostyolo.__all__)
    for name in ghostyolo.__all__:
        assert getattr(ghostyolo, name).__name__ == name
        assert name in dir(ghostyolo)
    with pytest.raises(AttributeError, match="no attribute 'Modle'"):
        ghostyolo.Modle  # noqa: B018


@files
def test_lengths(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE
    for function in functions(ast.parse(text)):
        assert (function.end_lineno or 0) - function.lineno < LONGEST_FUNCTION, function.name


def test_median_function_is_short() -> None:
    lengths = sorted(
        (function.end_lineno or 0) - function.lineno + 1
        for path in FILES
        for function in functions(ast.parse(path.read_text()))
    )
    assert lengths[len(lengths) // 2] <= 13
    assert lengths[len(lengths) * 9 // 10] <= 35


@files
def test_functions_say_what_they_return(path: Path) -> None:
    for function in functions(ast.parse(path.read_text())):
        assert function.returns is not None, f"line {function.lineno}: {function.name}"


@files
def test_public_things_have_docstrings(path: Path) -> None:
    """A method that a base class describes needs no words of its own."""
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or path.name == "__init__.py"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
            assert ast.get_docstring(node), f"line {node.lineno}: {node.name}"


def test_no_file_is_named_after_nothing() -> None:
    assert not {"utils.py", "helpers.py", "common.py", "misc.py"} & {path.name for path in FILES}


@files
def test_only_commands_print(path: Path) -> None:
    if part_of(path) in ("cli", "gencfg"):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"line {node.lineno}"


def test_kind_is_one_file() -> None:
    """And bears its name; files of several kinds' common parts have none."""
    for kind in set(KINDS.values()):
        assert kind.__module__ == f"ghostyolo.layers.{kind.names[0].lower()}"

"""The house: what imports what, what costs no torch, how long things are, what everything has.

Each rule is one test that lists all who break it.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import ghostyolo
from ghostyolo.layers import KINDS
from support import ROOT

PACKAGE = Path(ghostyolo.__file__).parent
TREES = {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}
# The rooms from low to high: what stands here imports only what stands before it.
ORDER = (
    "errors", "files", "boxes", "drawing", "distributed",
    "syntax", "ops", "layers", "network", "zoo", "lint",
    "data", "augment", "sample_data",
    "model", "convert", "loss", "exporters", "runtime", "inference",
    "evaluation", "audit", "report", "training", "prediction", "jobs",
    "parity", "ghostify", "serve", "bench",
    "gencfg", "cli", "__init__", "__main__",
)  # fmt: skip
MOST_TOP_LEVEL = 8  # modules
TORCHLESS = (
    "", ".distributed", ".network", ".layers", ".gencfg", ".network.info", ".network.cost",
    ".network.passes", ".zoo.networks", ".lint", ".cli", ".ghostify", ".cli.ghostify",
)  # fmt: skip
MOST_CODE = 27_000  # lines of the package that are no blanks, comments or docstrings
MEDIAN_FUNCTION, NINETIETH_FUNCTION, LONGEST_FUNCTION, LONGEST_FILE = 8, 20, 60, 330  # lines
PRINTERS = {"cli/__init__.py", "cli/progress_bar.py", "cli/shared.py", "gencfg.py"}
NAMELESS = {"utils.py", "helpers.py", "common.py", "misc.py"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def room_of(path: Path) -> str:
    """Return the folder, or the module at the top level, that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def place(path: Path, node: ast.AST) -> str:
    """Return a file and line as pytest and editors write them."""
    return f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"


def imports(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield the rooms that a tree imports from, also those that `import_module` is given."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "ghostyolo":
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ghostyolo."):
            yield node, str(node.module).split(".")[1]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("ghostyolo.")]
            yield from ((node, name.split(".")[1]) for name in names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "optional"):
            text = ast.unparse(node.args[0])
            if found := re.match(r"f?['\"]ghostyolo\.(\w+)", text):
                yield node, found[1]


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def every_function() -> Iterator[tuple[Path, Function]]:
    return ((path, function) for path, tree in TREES.items() for function in functions(tree))


def code_lines(path: Path) -> set[int]:
    """Return the lines of a file that are no blanks, comments or docstrings."""
    documented = (ast.Module, ast.ClassDef, *Function.__args__)
    docstrings = {
        line
        for node in ast.walk(TREES[path])
        if isinstance(node, documented) and ast.get_docstring(node) is not None
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    silent = {
        tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT,
        tokenize.ENDMARKER,
    }  # fmt: skip
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    return {
        line
        for token in tokens
        if token.type not in silent
        for line in range(token.start[0], token.end[0] + 1)
    } - docstrings


def test_every_room_is_in_the_order() -> None:
    assert {room_of(path) for path in TREES} == set(ORDER)


def test_the_top_level_is_small() -> None:
    assert len([path for path in TREES if path.parent == PACKAGE]) <= MOST_TOP_LEVEL


def test_no_folder_bears_the_name_of_a_public_function() -> None:
    """Importing such a folder would put the module in the function's place."""
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert folders.isdisjoint(ghostyolo.__all__)


def test_imports_point_down() -> None:
    rank = {room: number for number, room in enumerate(ORDER)}
    assert not [
        f"{place(path, node)} imports {room}"
        for path, tree in TREES.items()
        for node, room in imports(tree)
        if rank[room] > rank[room_of(path)]
    ]


def test_imports_stand_at_the_top() -> None:
    """But for commands, which import what they need, and for torch's part in a layer."""
    assert not [
        place(path, node)
        for path, function in every_function()
        for node, room in imports(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and room_of(path) != "cli"
        and (room_of(path), room) != ("layers", "ops")
    ]


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


def test_lengths() -> None:
    lengths = {
        f"{place(path, function)} {function.name}": function.end_lineno - function.lineno + 1
        for path, function in every_function()
        if function.end_lineno
    }
    ranked = sorted(lengths.values())
    assert ranked[len(ranked) // 2] <= MEDIAN_FUNCTION
    assert ranked[len(ranked) * 9 // 10] <= NINETIETH_FUNCTION
    assert not {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION}
    files = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in TREES}
    assert not {name: n for name, n in files.items() if n > LONGEST_FILE}


def test_there_is_not_too_much_code() -> None:
    assert sum(len(code_lines(path)) for path in TREES) <= MOST_CODE


def test_functions_say_what_they_return() -> None:
    assert not [place(*each) for each in every_function() if each[1].returns is None]


def test_public_things_have_docstrings() -> None:
    """A method that a base class describes needs no words of its own."""
    public = [
        (path, node)
        for path, tree in TREES.items()
        for node in tree.body
        if isinstance(node, Function | ast.ClassDef) and node.name[0] != "_"
    ]
    assert not [place(path, tree) for path, tree in TREES.items() if not ast.get_docstring(tree)]
    assert not [place(path, node) for path, node in public if not ast.get_docstring(node)]


def test_no_file_is_named_after_nothing() -> None:
    assert not NAMELESS & {path.name for path in TREES}


def test_only_commands_print() -> None:
    """They do so through `shared.say`, which escapes what would command the terminal."""
    assert not [
        place(path, node)
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
        if str(path.relative_to(PACKAGE)) not in PRINTERS
    ]


def test_kind_is_one_file() -> None:
    """And bears its name; files of several kinds' common parts have none."""
    for kind in set(KINDS.values()):
        assert kind.__module__ == f"ghostyolo.layers.{kind.names[0].lower()}"

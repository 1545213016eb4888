"""Every mistake is found at its line, with a rule that is explained and a mend that works."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import ghostyolo
from ghostyolo import lint
from ghostyolo.cli import main
from ghostyolo.errors import Edit
from ghostyolo.layers import LayerError
from ghostyolo.lint.edits import apply
from ghostyolo.model.model import Model
from ghostyolo.network import load
from support import published
from support.cases import CASES, ERRORS, GENERATED

SEEDED = sorted((CASES / "lint").glob("*.cfg"))
ELSEWHERE = {
    "unreadable",
    "weights-length",
    "weights-not-finite",
}  # rules about files, which no cfg can seed
PACKAGE = Path(ghostyolo.__file__).parent
FIXED = {
    "byte-order-mark", "invisible-character", "duplicate-key", "trailing-comment", "key-typo",
    "section-text", "word-comment", "unknown-section", "batch-multiple", "head-filters",
    "default-activation",
}  # fmt: skip
NOT_FIXED = {
    "batch_below_subdivisions", "several", "head", "region", "detection",
    "head_filters_before_shortcut", "unknown_section_foreign",
}  # fmt: skip

CONVOLUTION = """[net]
width=32
height=32
channels=3

[convolutional]
filters=8
size=3
pad=1
activation=relu

"""

seeded = pytest.mark.parametrize("path", SEEDED, ids=lambda path: path.stem)
every = pytest.mark.parametrize("path", SEEDED + ERRORS, ids=lambda path: path.stem)
errors = pytest.mark.parametrize("path", ERRORS, ids=lambda path: path.stem)


def notes(path: Path, word: str) -> list[tuple[int, str]]:
    """Return the line number and text of each `# word: N text` of a case."""
    found = re.findall(rf"^# {word}: (\d+) (.*)$", path.read_text(), re.MULTILINE)
    return [(int(number), text) for number, text in found]


def followed(path: Path) -> str:
    """Return a case's text with its `# follow:` lines done."""
    lines = path.read_text().split("\n")
    for number, text in notes(path, "follow"):
        lines[number - 1] = "" if text == "-" else "\n".join(text.split(" / "))
    return "\n".join(lines)


def places(text: str) -> list[tuple[int, str]]:
    """Return the line and rule of each finding."""
    return [(item.span.line if item.span else 0, item.rule) for item in lint.check(text)]


@seeded
def test_seeded_mistake_is_found(path: Path) -> None:
    assert sorted(places(path.read_text())) == sorted(notes(path, "expect"))


@errors
def test_error_is_found_once(path: Path) -> None:
    """What the reader raises is what the linter reports, and nothing follows from it."""
    expected = path.read_text().splitlines()[0].removeprefix("# expect: ")
    found = [item for item in lint.check_file(path) if item.severity == "error"]
    assert [str(item) for item in found] == [f"{path}:{expected}"]


@every
def test_mend_works_when_followed(path: Path) -> None:
    wrong = {rule for _, rule in notes(path, "expect")}
    if path in ERRORS:
        wrong = {item.rule for item in lint.check_file(path) if item.severity == "error"}
    assert notes(path, "follow"), "say what following the hint means: # follow: LINE TEXT"
    after = lint.check(followed(path))
    assert not [item for item in after if item.severity == "error"]
    assert not {item.rule for item in after} & wrong - {"opencv-section", "hank-section"}


@every
def test_finding_says_what_to_do(path: Path) -> None:
    for finding in lint.check_file(path):
        assert finding.severity in lint.SEVERITIES
        assert finding.span is not None
        assert finding.message
        assert finding.hint


def test_every_rule_is_explained_and_seeded() -> None:
    """What the code names, what the registry explains and what the cases show are one set."""
    explained = set(lint.registry())
    shown = {item.rule for path in SEEDED + ERRORS for item in lint.check_file(path)}
    assert shown | ELSEWHERE == explained
    assert set(_named_rules()) == explained
    for rule in lint.registry().values():
        assert rule.text and rule.wrong and rule.right, rule.name


def _named_rules() -> list[str]:
    """Return every rule that a call names: as `rule=`, of a LayerError, of a source's finding."""
    named = [LayerError("").rule]
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                named += [word.value.value for word in node.keywords if _is_rule(word)]
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                place = {"LayerError": 2, "warn": 0, "error": 0, "note": 0, "Diagnostic": 5}.get(
                    name
                )
                if place is not None and len(node.args) > place:
                    named += _texts(node.args[place], lint_only=name != "LayerError", path=path)
            elif isinstance(node, ast.Assign) and "rule" in ast.unparse(node.targets[0]):
                named += [
                    item.value
                    for item in ast.walk(node.value)
                    if isinstance(item, ast.Constant) and _looks_like_rule(item.value)
                ]
    return named


def _is_rule(word: ast.keyword) -> bool:
    return word.arg == "rule" and isinstance(word.value, ast.Constant) and bool(word.value.value)


def _texts(node: ast.expr, *, lint_only: bool, path: Path) -> list[str]:
    if (lint_only and path.parent.name != "lint") or not isinstance(node, ast.Constant):
        return []
    return [node.value]


def _looks_like_rule(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[a-z]+(-[a-z]+)+", value) is not None


@pytest.mark.parametrize("name", ["yolo4", "shift_channels", "Shift_Channels", "route2", "mam"])
def test_section_with_another_meaning_is_not_corrected(name: str) -> None:
    text = f"[net]\nwidth=8\nheight=8\nchannels=3\n\n[avgpool]\n\n[{name}]\n"
    (found,) = [item for item in lint.check(text) if item.severity == "error"]
    assert found.rule == "unknown-section"
    assert lint.fix(text) == (text, [])


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("silu", "write activation=swish, the same function"),
        ("h_swish", "no Darknet has this function"),
        ("Leaky_ReLU", "write activation=leaky, the same function"),
    ],
)
def test_activation_of_another_program_is_translated_or_refused(word: str, hint: str) -> None:
    text = CONVOLUTION.replace("relu", word)
    (found,) = [item for item in lint.check(text) if item.severity == "error"]
    assert (found.rule, found.hint) == ("unknown-word", hint)


def test_fix_never_adds_errors() -> None:
    """The first head's classes may be the wrong ones: other filters would break the second."""
    conv = "[convolutional]\nfilters={}\nsize=1\nactivation=linear\n"
    yolo = "[yolo]\nmask={}\nanchors=8,8,20,20\nnum=2\nclasses={}\n"
    text = CONVOLUTION + "".join(
        (
            conv.format(8),
            yolo.format(0, 4),
            "[route]\nlayers=0\n",
            conv.format(8),
            yolo.format(1, 3),
        )
    )
    before = [item for item in lint.check(text) if item.severity == "error"]
    fixed, _ = lint.fix(text)
    after = [item for item in lint.check(fixed) if item.severity == "error"]
    assert len(after) <= len(before)


@every
def test_fix_mends_and_is_idempotent(path: Path) -> None:
    text = path.read_text()
    fixed, changes = lint.fix(text)
    assert (fixed != text) == bool(changes)
    assert lint.fix(fixed) == (fixed, [])
    left = {rule for _, rule in places(fixed)} & FIXED
    assert not left or path.stem in NOT_FIXED, left
    assert not [item for item in lint.check(fixed) if item.edits]


def test_fix_keeps_every_other_byte(tmp_path: Path) -> None:
    before = (
        b"[net]\r\n\twidth = 64 # w\xefde\r\nheight=64\r\nchannels=3\r\n\r\n; caf\xe9\r\n"
        b"[convolutional]\r\n  filter =  8\r\nsize=3\r\n   \r\n[avgpool]"
    )
    path = tmp_path / "x.cfg"
    path.write_bytes(before)
    assert main(["lint", "--fix", str(path)]) == 0
    assert path.read_bytes() == (
        b"[net]\r\n\t# w\xefde\r\n\twidth = 64\r\nheight=64\r\nchannels=3\r\n\r\n; caf\xe9\r\n"
        b"[convolutional]\r\n  filters =  8\r\nsize=3\r\nactivation=logistic\r\n   \r\n[avgpool]"
    )
    assert not list(tmp_path.glob("*.part"))


def test_edit_at_the_end_of_a_file_without_a_line_end() -> None:
    text = "[net]\r\n[convolutional]"
    after, changes = apply(text, [Edit(2, "activation=logistic", below=True)])
    assert after == "[net]\r\n[convolutional]\r\nactivation=logistic"
    assert [str(change) for change in changes] == ["line 2: added 'activation=logistic' below"]


def test_head_filters_are_left_where_others_read_them() -> None:
    """Another reader of the convolution, or its groups, forbid to change it."""
    text = (CASES / "lint/head_filters.cfg").read_text()
    assert "filters=18" in lint.fix(text)[0]
    assert lint.fix(text + "\n[route]\nlayers=1\n")[1] == []
    assert lint.fix(text.replace("filters=255", "filters=256\ngroups=8"))[1] == []


def test_negative_anchors_of_two_heads_are_read() -> None:
    heads = "".join(
        f"[convolutional]\nstride={stride}\nfilters=6\nactivation=linear\n[yolo]\nclasses=1\n"
        f"num=2\nmask={mask}\nanchors=-10,13,20,30\n"
        for stride, mask in ((1, 1), (2, 0))
    )
    found = lint.check(f"[net]\nwidth=32\nheight=32\nchannels=3\n{heads}", "x.cfg")
    assert "anchor-stride" in {item.rule for item in found}


def test_reading_goes_on_behind_errors() -> None:
    """Findings that an assumed shape would invent are not reported; those it cannot are."""
    found = [rule for _, rule in places((CASES / "lint/several.cfg").read_text())]
    assert found == ["key-typo", "unknown-word", "dangling-reference", "head-filters"]


def test_published_cfgs_have_no_errors() -> None:
    paths = published.CFGS.all("cfg/*.cfg")
    assert len(paths) >= 45
    found = [item for path in paths for item in lint.check_file(path)]
    assert [str(item) for item in found if item.severity == "error"] == []
    assert {item.rule for item in found if item.severity == "warning"} == {
        "no-effect", "trailing-comment", "unknown-key", "anchors-count", "mosaic", "mask-range",
        "shortcut-channels", "classifier-key", "mask-overlap", "mask-gap", "last-head",
        "duplicate-key", "input-multiple", "batch-multiple",
    }  # fmt: skip


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_generated_cfgs_are_clean(path: Path) -> None:
    assert lint.check_file(path) == []


def test_command_takes_several_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad, none = GENERATED[0], CASES / "errors/key.cfg", tmp_path / "none.cfg"
    assert main(["lint", str(good)]) == 0
    assert main(["lint", str(none), str(good), str(bad)]) == 1
    out = capsys.readouterr().out
    assert f"{none}: error: cannot read it: No such file or directory;" in out
    assert f"{bad}:8: error: [convolutional] unknown key 'filter'; did you mean 'filters'?" in out
    assert "2 errors, 0 warnings, 0 notes in 3 files" in out


def test_command_strict_counts_warnings() -> None:
    path = str(CASES / "lint/no_effect.cfg")
    assert main(["lint", path]) == 0
    assert main(["lint", "--strict", path]) == 1


def test_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    path = str(CASES / "errors/head.cfg")
    assert main(["lint", "--json", path]) == 1
    finding = json.loads(capsys.readouterr().out)["findings"][-1]
    assert (finding["path"], finding["line"], finding["rule"]) == (path, 11, "head-filters")
    assert finding["fixable"]


def test_command_explains(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", "--explain", "mask-gap"]) == 0
    assert "wrong:\n    mask=3,4,5" in capsys.readouterr().out
    assert main(["lint", "--rules"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(lint.registry())
    for words in (["--explain", "mask-gab"], [], ["a.cfg", "b.cfg", "--weights", "c"]):
        with pytest.raises(SystemExit) as stop:
            main(["lint", *words])
        assert stop.value.code == 2
    assert "did you mean mask-gap?" in capsys.readouterr().err


def test_command_checks_weights(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg, path = CASES / "kinds/yolo.cfg", tmp_path / "x.weights"
    Model(load(cfg)).save_weights(path)
    assert main(["lint", str(cfg), "--weights", str(path)]) == 0
    (tmp_path / "model.cfg").write_bytes(cfg.read_bytes())
    assert main(["lint", str(cfg), "--weights", str(tmp_path)]) == 1
    assert "no weights yet" in capsys.readouterr().out
    shutil.copy(path, tmp_path / "best.weights")
    assert main(["lint", str(tmp_path), "--weights", str(tmp_path)]) == 0
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + np.float32(np.nan).tobytes())
    assert main(["lint", str(cfg), "--weights", str(path)]) == 1
    assert "1 of" in (out := capsys.readouterr().out) and "(weights-not-finite)" in out
    path.write_bytes(whole[:-400])
    assert main(["lint", str(cfg), "--weights", str(path)]) == 1
    out = capsys.readouterr().out
    assert "it ends in layer" in out
    assert "(weights-length)" in out

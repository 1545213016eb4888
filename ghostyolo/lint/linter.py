"""Check cfgs and fix them.

Each finding has a rule, which `registry` explains. Findings come from the parser and from the
checks of this folder.
"""

from __future__ import annotations

from pathlib import Path

from ghostyolo.errors import CfgError, Diagnostic, Findings, WeightsError
from ghostyolo.files import replace
from ghostyolo.lint import heads, portability, sizes, structure, training
from ghostyolo.lint.edits import Change, apply
from ghostyolo.lint.parsed_cfg import read
from ghostyolo.network import load, weights_file
from ghostyolo.syntax import sections

SEVERITIES = ("error", "warning", "note")
_CHECKS = (*heads.CHECKS, *structure.CHECKS, *training.CHECKS, *portability.CHECKS)
_ROUNDS = 20
_SHAPE_OFFSET = 97  # a prime, so that strides and groups do not divide the shifted shape


def check_file(path: str | Path, weights: str | Path | None = None) -> list[Diagnostic]:
    """Return the findings in a file, in the order of its lines.

    A file that cannot be read gives one finding that says so. weights: a `.weights` file, whose
    length is checked if the cfg has no errors.
    """
    try:
        found = check(read_text(path), str(path))
    except CfgError as error:
        return [error.diagnostic]
    if weights and not any(finding.severity == "error" for finding in found):
        try:
            weights_file.inspect(weights, load(path, findings=Findings(quiet=True)))
        except WeightsError as error:
            found.append(error.diagnostic._replace(rule="weights-length"))
    return found


def fix_file(path: str | Path) -> list[Change]:
    """Fix a file as `fix` does; return the changes, none if the file cannot be read."""
    try:
        old = read_text(path)
    except CfgError:
        return []
    new, changes = fix(old, str(path))
    if new != old:
        replace(path, [new.encode("utf-8", "surrogateescape")])
    return changes


def read_text(path: str | Path) -> str:
    """Return the text of a cfg, unchanged if it is written again. Raises `CfgError`."""
    return sections.read_text(path, "surrogateescape")


def check(text: str, path: str = "<cfg>") -> list[Diagnostic]:
    """Return the findings in the text of a cfg, in the order of its lines.

    After an error the parser continues with a placeholder for the layer, whose shape is a guess.
    A finding that depends on this guess may be false. The text is therefore parsed again with
    another guess, and only the findings of both times are returned.
    """
    text = text.encode("utf-8", "surrogateescape").decode(
        "utf-8", "replace"
    )  # so that it can be printed
    found = _collect(text, path, 0)
    if any(finding.severity == "error" for finding in found):
        again = set(_collect(text, path, _SHAPE_OFFSET))
        found = [finding for finding in found if finding in again]
    found = sizes.explain(text, path, found)
    return sorted(dict.fromkeys(found), key=lambda item: item.span.line if item.span else 0)


def _collect(text: str, path: str, shape_offset: int) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    cfg = read(text, path, Findings(found.append, shape_offset=shape_offset))
    found = [
        heads.add_filters_edit(cfg, item) if item.rule == "head-filters" else item for item in found
    ]
    for check_rule in _CHECKS:
        found.extend(check_rule(cfg))
    return found


def fix(text: str, path: str = "<cfg>") -> tuple[str, list[Change]]:
    """Return the text with every certain fix applied, and the changes.

    A fix may reveal another mistake, so this repeats until there is nothing left to fix.
    """
    changes: list[Change] = []
    for _ in range(_ROUNDS):
        edits = [edit for finding in check(text, path) for edit in finding.edits]
        text, done = apply(text, edits)
        changes += done
        if not done:
            break
    return text, changes

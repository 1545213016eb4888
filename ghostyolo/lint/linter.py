"""Check cfgs and fix them.

A finding has a rule, which `registry` explains. The findings of the parser and those of the checks
here are one list.
"""

from __future__ import annotations

from pathlib import Path

from ghostyolo.errors import CfgError, Diagnostic, Findings, Span, WeightsError
from ghostyolo.files import replace
from ghostyolo.lint import heads, portability, sizes, structure, training
from ghostyolo.lint.edits import Change, apply
from ghostyolo.lint.parsed_cfg import read
from ghostyolo.network import load, weights_file

SEVERITIES = ("error", "warning", "note")
_CHECKS = (*heads.CHECKS, *structure.CHECKS, *training.CHECKS, *portability.CHECKS)
_ROUNDS = 20
_DOUBT = 97  # a prime: what has to divide an assumed shape does not


def check_file(path: str | Path, weights: str | Path | None = None) -> list[Diagnostic]:
    """Return the findings in a file, in the order of its lines; if it cannot be read, that.

    weights: a file whose length is checked too, unless the cfg has errors.
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
    """Fix a file as `fix` does and return what was changed, nothing if it cannot be read."""
    try:
        old = read_text(path)
    except CfgError:
        return []
    new, changes = fix(old, str(path))
    if new != old:
        replace(path, [new.encode("utf-8", "surrogateescape")])
    return changes


def read_text(path: str | Path) -> str:
    """Return the text of a cfg with its line ends as they are. Raises `CfgError`."""
    try:
        return Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        message, hint = f"cannot read it: {error.strerror}", "give the path of a cfg file"
        raise CfgError(message, span=Span(str(path)), hint=hint, rule="unreadable") from None


def check(text: str, path: str = "<cfg>") -> list[Diagnostic]:
    """Return the findings in the text of a cfg, in the order of its lines.

    After an error the parser assumes a shape. A finding that depends on the assumed shape may be
    false, so the text is parsed again with another one, and the findings of both are returned.
    """
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # to be printed
    found = _collect(text, path, 0)
    if any(finding.severity == "error" for finding in found):
        again = set(_collect(text, path, _DOUBT))
        found = [finding for finding in found if finding in again]
    found = sizes.explain(text, path, found)
    return sorted(dict.fromkeys(found), key=lambda item: item.span.line if item.span else 0)


def _collect(text: str, path: str, doubt: int) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    cfg = read(text, path, Findings(found.append, doubt=doubt))
    found = [
        heads.add_filters_edit(cfg, item) if item.rule == "head-filters" else item for item in found
    ]
    for check_rule in _CHECKS:
        found.extend(check_rule(cfg))
    return found


def fix(text: str, path: str = "<cfg>") -> tuple[str, list[Change]]:
    """Return the text with every fix that is certain, and what was changed.

    A fix may reveal another mistake, so this repeats until nothing is left to do.
    """
    changes: list[Change] = []
    for _ in range(_ROUNDS):
        edits = [edit for finding in check(text, path) for edit in finding.edits]
        text, done = apply(text, edits)
        changes += done
        if not done:
            break
    return text, changes

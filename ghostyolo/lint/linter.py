"""Find what is wrong or odd in a cfg, say what to do, and do it where that is sure.

A finding has a rule; `registry` tells what that is about. The reader's own findings and those of
the rules here are one list.
"""

from __future__ import annotations

from pathlib import Path

from ghostyolo.errors import CfgError, Diagnostic, Findings, Span
from ghostyolo.lint import heads, portability, sizes, structure, training
from ghostyolo.lint.fix import Change, apply
from ghostyolo.lint.rules import registry
from ghostyolo.lint.source import read

__all__ = [
    "SEVERITIES",
    "Change",
    "check",
    "check_file",
    "fix",
    "read_text",
    "registry",
]

SEVERITIES = ("error", "warning", "note")
_CHECKS = (*heads.RULES, *structure.RULES, *training.RULES, *portability.RULES)
_ROUNDS = 20
_DOUBT = 97  # a prime: what has to divide an assumed shape does not


def check_file(path: str | Path) -> list[Diagnostic]:
    """Return the findings in a file, in its order; one that cannot be read is a finding."""
    try:
        return check(read_text(path), str(path))
    except CfgError as error:
        return [error.diagnostic]


def read_text(path: str | Path) -> str:
    """Return the text of a cfg, its line ends as they are. Raises `CfgError`."""
    try:
        return Path(path).read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        message, hint = f"cannot read it: {error.strerror}", "give the path of a cfg file"
        raise CfgError(message, span=Span(str(path)), hint=hint, rule="unreadable") from None


def check(text: str, path: str = "<cfg>") -> list[Diagnostic]:
    """Return the findings in a cfg's text, in its order.

    Behind an error a shape is assumed. What is found only for that shape is not known to be wrong,
    so the text is read again with another one, and what both readings find is returned.
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
    source = read(text, path, Findings(found.append, doubt=doubt))
    found = [
        heads.mend_filters(source, item) if item.rule == "head-filters" else item for item in found
    ]
    for rule in _CHECKS:
        found.extend(rule(source))
    return found


def fix(text: str, path: str = "<cfg>") -> tuple[str, list[Change]]:
    """Return the text with everything mended that is sure, and what was changed.

    One mend may show another, so this repeats until nothing is left to do.
    """
    changes: list[Change] = []
    for _ in range(_ROUNDS):
        edits = [edit for finding in check(text, path) for edit in finding.edits]
        text, done = apply(text, edits)
        changes += done
        if not done:
            break
    return text, changes

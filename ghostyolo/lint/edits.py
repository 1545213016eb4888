"""Edit lines of a cfg; all other bytes of the file stay unchanged."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ghostyolo.errors import Edit

_BLANKS = " \t\r\n"  # those that Darknet leaves out
_NO_BLANKS = str.maketrans("", "", _BLANKS)
_LOST = "\ufffd"  # stands for bytes that are not UTF-8
_PARTS = re.compile(r"(\s*)(.*?)(\s*=\s*)(.*?)(\s*)", re.DOTALL | re.ASCII)


class Change(NamedTuple):
    """A changed line: its number before the change, its old text and its new text."""

    line: int
    old: str
    new: str

    def __str__(self) -> str:
        if not self.old:
            return f"line {self.line}: added '{self.new}' below"
        if not self.new:
            return f"line {self.line}: deleted '{self.old}'"
        return f"line {self.line}: '{self.old}' is now '{self.new}'"


def apply(text: str, edits: Iterable[Edit]) -> tuple[str, list[Change]]:
    """Return the edited text and the changes; if two edits are for one line, the first is applied.

    A comment at the end of a replaced line moves to a line of its own above.
    """
    lines = text.split("\n")
    chosen: dict[int, Edit] = {}
    for edit in edits:
        if _LOST not in edit.text and 0 < edit.line <= len(lines):
            chosen.setdefault(edit.line, edit)
    changes: list[Change] = []
    for number, edit in sorted(chosen.items(), reverse=True):
        old = lines[number - 1]
        new = _below(lines, number, edit.text) if edit.below else _replaced(old, edit.text)
        if new != [old]:
            lines[number - 1 : number] = new
            shown = [line.strip() for line in new if edit.below is False or line is not new[0]]
            changes.append(Change(number, "" if edit.below else old.strip(), " / ".join(shown)))
    return "\n".join(lines), changes[::-1]


def _below(lines: list[str], number: int, text: str) -> list[str]:
    """Return a line and a new one below it with the same indentation and line end."""
    old = lines[number - 1]
    indent = old[: len(old) - len(old.lstrip(_BLANKS))]
    end = "\r" if old.endswith("\r") else ""
    last = number == len(lines)  # the file does not end in a line end
    if last and not end and len(lines) > 1 and lines[-2].endswith("\r"):
        return [f"{old}\r", indent + text]
    return [old, indent + text + end]


def _replaced(old: str, text: str) -> list[str]:
    """Return the lines that replace a line: the comment at its end, if any, and the new text."""
    if not text:
        return []
    body, comment = _split(old, text)
    indent = old[: len(old) - len(old.lstrip(_BLANKS))]
    end = "\r" if old.endswith("\r") else ""
    above = [indent + comment.strip() + end] if comment.strip() else []
    return above + [
        _styled(body.rstrip(_BLANKS), text, indent) + (old[len(old.rstrip(_BLANKS)) :] or "")
    ]


def _split(old: str, text: str) -> tuple[str, str]:
    """Split a line into text and trailing comment, unless the new text has the comment mark."""
    marks = "#;" if text.startswith("[") else "#"
    starts = [old.find(mark) for mark in marks if mark in old and mark not in text]
    start = min(starts, default=-1)
    return (old[:start], old[start:]) if start > 0 and old[:start].strip() else (old, "")


def _styled(old: str, text: str, indent: str) -> str:
    """Return the new text with the blanks of the old text."""
    parts, (key, equals, value) = _PARTS.fullmatch(old), text.partition("=")
    if not parts or not equals or text != _bare(text):
        return indent + text
    key = parts[2] if _bare(parts[2]) == key else key
    value = parts[4] if _bare(parts[4]) == value else value
    return parts[1] + key + parts[3] + value


def _bare(text: str) -> str:
    return text.translate(_NO_BLANKS)

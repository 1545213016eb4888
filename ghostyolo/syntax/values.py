"""Convert the values of options: text to number or word as Darknet does it, and back to text.

With `Findings.compat` a mistake gets the value that Darknet reads, otherwise it is an error.
"""

from __future__ import annotations

import re
from dataclasses import Field
from math import isinf
from typing import Any

from ghostyolo.errors import Edit, Edits, Findings
from ghostyolo.syntax.sections import Option, trailing_comment
from ghostyolo.syntax.suggestions import foreign_word, nearest

Value = Any  # int | float | str | tuple of numbers, as the field's annotation says
LARGEST = (1 << 31) - 1  # the largest C int
_INT = r"[+-]?[0-9]+"
_FLOAT = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf"
_MOST_DIGITS = 10  # of a number of 32 bits
_MOST_SHOWN = 40  # characters of a value in a message


def read(item: Field[Any], option: Option, findings: Findings) -> Value:
    """Return an option's value with the type of its field; None if a mistake was reported."""
    return _Reader(item, option, findings).value()


def write(value: Value) -> str:
    """Return the text of a value, from which `read` returns the same value."""
    if isinstance(value, tuple):
        return ",".join(write(item) for item in value)
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def unknown_word(name: str, default: str) -> str | None:
    """Return the word that Darknet uses in place of an unknown one, None if Darknet stops.

    Source: AlexeyAB/darknet src/activations.c get_activation, src/parser.c parse_yolo (iou_loss),
    parse_shortcut (weights_type).
    """
    others = {"activation": "relu", "iou_loss": "iou", "weights_type": None}
    return others.get(name, default)


class _Reader:
    """One option, its field, and the object that receives its mistakes."""

    def __init__(self, item: Field[Any], option: Option, findings: Findings) -> None:
        self.item, self.option, self.findings = item, option, findings
        self.text = option.value or ""

    def value(self) -> Value:
        kind, maximum = str(self.item.type), self.item.metadata["maximum"]
        if kind == "str":
            return self._word()
        number = self._integer if "int" in kind else self._decimal
        if kind.startswith("tuple"):
            listed, mark, comment = self.text.partition("#")
            if "," in comment:  # Darknet reads what follows it as another number
                listed = self.text
            elif mark:
                trailing_comment(self.option, mark + comment, self.findings)
            parts = [number(part) for part in listed.split(",")]
            return None if None in parts else tuple(parts)
        value = number(self.text)
        if value is not None and kind == "int" and value > maximum:
            return self._too_large(f"above {maximum}")
        return value

    def _word(self) -> str | None:
        choices = self.item.metadata["choices"]
        if not choices or self.text in choices:
            return self.text
        word, name = self.text.split("#")[0], self.item.name
        near = nearest(word, choices)
        hint = f"did you mean '{near}'?" if near else f"use one of {', '.join(choices)}"
        hint = foreign_word(name, word) or hint
        rule = "unknown-word"
        edits: Edits = ()
        if word in choices:
            hint = f"move the comment to a line of its own; Darknet does not read '{word}' here"
            rule, edits = "word-comment", (Edit(self.option.span.line, f"{name}={word}"),)
        message, taken = f"unknown {name} '{self.text}'", unknown_word(name, str(self.item.default))
        if taken is None:
            self.findings.error(self.option.place, message, hint, rule, edits)
        else:
            darknet = f"reads it as '{taken}'"
            self.findings.quirk(self.option.place, message, hint, darknet, rule, edits)
        return taken

    def _integer(self, text: str) -> int | None:
        match = re.match(_INT, text)
        if (
            match and len(match[0].lstrip("+-0")) > _MOST_DIGITS
        ):  # int() refuses thousands of digits
            return self._too_large("not a number of 32 bits")
        value = int(match[0]) if match else 0
        if not -LARGEST - 1 <= value <= LARGEST:
            return self._too_large("not a number of 32 bits")
        return self._checked(text, match, value, "a whole number")

    def _decimal(self, text: str) -> float | None:
        match = re.match(_FLOAT, text)
        value = float(match[0]) if match else 0.0
        if isinf(value) and "inf" not in text:
            return self._too_large("beyond the largest number")
        return self._checked(text, match, value, "a number")

    def _checked(self, text: str, match: re.Match[str] | None, value: Any, wanted: str) -> Any:
        """Return the number that `match` read, None if other text than a comment follows it."""
        rest = text[match.end() :] if match else text
        if match and rest.startswith("#") and not str(self.item.type).startswith("tuple"):
            trailing_comment(self.option, rest, self.findings)
        elif rest or not match:
            message = f"{self.option.key}={self.text}: '{text}' is not {wanted}"
            hint = self._corrected(text, write(value)) if value or not text else f"write {wanted}"
            darknet = f"reads {write(value)}"
            self.findings.quirk(self.option.place, message, hint, darknet, rule="not-a-number")
            return value if self.findings.compat else None
        return value

    def _corrected(self, part: str, value: str) -> str:
        """Return a hint with the option's text, in which `value` replaces a part, or none does."""
        parts = [value if item == part and part else item for item in self.text.split(",")]
        return f"write {self.option.key}={','.join(item for item in parts if item)}"

    def _too_large(self, what: str) -> Any:
        shown = self.text if len(self.text) < _MOST_SHOWN else f"{self.text[:_MOST_SHOWN]}..."
        message = f"{self.option.key}={shown} is {what}"
        self.findings.error(self.option.place, message, "correct the number", rule="magnitude")
        return None

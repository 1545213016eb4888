"""The registry of rules, read from rules.txt."""

from __future__ import annotations

import functools
import textwrap
from pathlib import Path
from typing import NamedTuple

_WIDTH = 88


class Rule(NamedTuple):
    """The explanation of a rule: a paragraph, and examples of wrong and right lines."""

    name: str
    text: str
    wrong: tuple[str, ...]
    right: tuple[str, ...]

    @property
    def summary(self) -> str:
        """Return the first sentence."""
        return self.text.partition(". ")[0].rstrip(".")

    def __str__(self) -> str:
        parts = [self.name, "", textwrap.fill(self.text, _WIDTH), "", "wrong:"]
        parts += [f"    {line}" for line in self.wrong]
        return "\n".join([*parts, "", "right:", *(f"    {line}" for line in self.right)])


@functools.cache
def registry() -> dict[str, Rule]:
    """Return the rules by name.

    In the file a rule begins with its name after `=`. Lines after `<` are wrong, lines after `>`
    are right, the others are its paragraph.
    """
    found = {}
    for block in Path(__file__).with_name("rules.txt").read_text("utf-8").split("\n= ")[1:]:
        name, *lines = block.splitlines()
        text = " ".join(line for line in lines if line and line[0] not in "<>")
        wrong, right = (tuple(x[2:] for x in lines if x.startswith(mark)) for mark in "<>")
        found[name] = Rule(name, text, wrong, right)
    return found

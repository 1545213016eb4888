"""The parser of a command: options in groups, help of 79 columns, hints for misspelt words."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from typing import Any, NoReturn

from ghostyolo.errors import printable
from ghostyolo.syntax.suggestions import nearest

OPTIONS = argparse.Action(["options"], "", nargs=0)  # stands for the options in a usage line


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Format help for a fixed width: to ask the terminal for its width would slow every start."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=25, width=79)

    def add_usage(self, usage: Any, actions: Any, groups: Any, prefix: Any = None) -> None:
        """Add a usage line with the positional and the required arguments."""
        shown = [action for action in actions if action.required or not action.option_strings]
        super().add_usage(usage, [OPTIONS, *shown], [], prefix)

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return action.dest.rpartition("_")[2].upper()


class Parser(argparse.ArgumentParser):
    """The parser of a command, whose arguments all belong to a group.

    options: declares the arguments; may set `description` and `epilog`, and for a second usage line
    `or_usage`: other names of positional arguments, "" for those to leave out. examples: the words
    after `prog`.
    """

    def __init__(
        self,
        prog: str,
        options: Callable[[Parser], None],
        examples: Iterable[str],
        description: str = "",
    ) -> None:
        super().__init__(prog, None, description, formatter_class=Formatter, add_help=False)
        self.groups: dict[str, argparse._ArgumentGroup] = {}
        self.or_usage: Mapping[str, str] = {}
        options(self)
        if self.or_usage:
            self.usage = f"{self._usage_line({})}\n   or: {self._usage_line(self.or_usage)}"
        self.group("help").add_argument("-h", "--help", action="help", help="show this help")
        self.epilog = f"{self.epilog.strip()}\n\n" if self.epilog else ""
        lines = (f"  {prog} {words}".rstrip() for words in examples)
        self.epilog += "\n".join(["examples:", *lines])

    def _usage_line(self, names: Mapping[str, str]) -> str:
        """Return a usage line with some arguments named otherwise, or left out if named ""."""
        actions = [copy(each) for each in self._actions if names.get(each.dest) != ""]
        for action in actions:
            action.metavar = names.get(action.dest, action.metavar)
        formatter = self._get_formatter()
        formatter.add_usage(None, actions, [], "")
        return formatter.format_help().strip()

    def group(self, title: str) -> argparse._ArgumentGroup:
        """Return the group with a title; the first call makes it."""
        if title not in self.groups:
            self.groups[title] = self.add_argument_group(title)
        return self.groups[title]

    def error(self, message: str) -> NoReturn:
        """Print the usage and the message, with suggestions for unknown options; exit with 2."""
        words = message.partition("unrecognized arguments: ")[2]
        known = [flag for flag in self._option_string_actions if flag.startswith("--")]
        wrong = [word.partition("=")[0] for word in words.split() if word.startswith("--")]
        suggestions = "".join(did_you_mean(word, known) for word in wrong)
        super().error(printable(message + suggestions))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a suggestion for a misspelt word, to put behind a message, "" if none is near."""
    near = nearest(word, known)
    return f"; did you mean {near}?" if near else ""

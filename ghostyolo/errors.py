"""What ghostyolo says when something is wrong: a place, a message, a hint.

GhostyoloError          what a user can cause; str() is the line that the command line prints
├── CfgError            a cfg: unknown words, references that dangle, shapes that do not fit
├── WeightsError        a .weights file or a checkpoint that does not fit its network
├── DataError           a data set, a picture or a label that cannot be used
└── OptionError         a command-line option or an argument of the library
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Span(NamedTuple):
    """A line of a file, counted from 1; line 0 is the file as a whole."""

    path: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


class Edit(NamedTuple):
    """A line of a cfg to be replaced by `text`, or deleted without one, or to get it `below`."""

    line: int
    text: str
    below: bool = False


class Diagnostic(NamedTuple):
    """One finding: where it stands, what disagrees, and what to do about it."""

    severity: str  # "error", "warning" or, where only other readers mind, "note"
    span: Span | None
    section: str  # the kind named in brackets, "" when the finding is not about a section
    message: str
    hint: str = ""
    rule: str = ""  # a key of ghostyolo.lint.RULES
    edits: tuple[Edit, ...] = ()  # what mends it, where that is sure

    def __str__(self) -> str:
        place = f"{self.span}: " if self.span else ""
        section = f"[{self.section}] " if self.section else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}{section}{self.message}{hint}"


class GhostyoloError(Exception):
    """Base of every error that the user's input causes.

    span: the file and line at fault, when there is one. hint: an action, in the imperative.
    """

    def __init__(
        self,
        message: str,
        *,
        span: Span | None = None,
        section: str = "",
        hint: str = "",
        rule: str = "",
        edits: tuple[Edit, ...] = (),
    ) -> None:
        self.diagnostic = Diagnostic("error", span, section, message, hint, rule, edits)
        super().__init__(str(self.diagnostic))


class CfgError(GhostyoloError):
    """A cfg that cannot mean what it says."""


class WeightsError(GhostyoloError):
    """Stored weights that do not fit the network."""


class DataError(GhostyoloError):
    """A data set, label or picture that cannot be used."""


class OptionError(GhostyoloError):
    """A value given on the command line or to a function of the library that cannot be honoured."""


class Findings:
    """Where findings about a cfg go, and how strictly Darknet's leniencies are taken.

    sink: called with every Diagnostic; without one the first error raises `CfgError` and warnings
    are logged. With one, reading goes on after an error: the layer at fault is taken to have the
    shape of the one above. strict: a warning counts as an error. compat: where Darknet reads a
    mistake in some way of its own, do the same and warn. quiet: say nothing of warnings. doubt:
    what is added to each side of a shape that had to be assumed; what changes with it is not known.
    """

    def __init__(
        self,
        sink: Callable[[Diagnostic], None] | None = None,
        *,
        strict: bool = False,
        compat: bool = False,
        quiet: bool = False,
        doubt: int = 0,
    ) -> None:
        self.sink, self.strict, self.compat = sink, strict, compat
        self.quiet, self.doubt = quiet, doubt
        self.errors = 0

    def error(
        self,
        span: Span | None,
        section: str,
        message: str,
        hint: str = "",
        *,
        rule: str = "",
        edits: tuple[Edit, ...] = (),
    ) -> None:
        """Report a mistake; raise `CfgError` unless findings are collected."""
        self.collect(
            CfgError(message, span=span, section=section, hint=hint, rule=rule, edits=edits)
        )

    def collect(self, error: CfgError) -> None:
        """Report an error that was raised; raise it again unless findings are collected."""
        if self.sink is None:
            raise error
        self.errors += 1
        self.sink(error.diagnostic)

    def warn(
        self,
        span: Span | None,
        section: str,
        message: str,
        hint: str = "",
        *,
        rule: str = "",
        edits: tuple[Edit, ...] = (),
    ) -> None:
        """Report something that is legal and probably not meant."""
        if self.strict:
            self.error(span, section, message, hint, rule=rule, edits=edits)
            return
        finding = Diagnostic("warning", span, section, message, hint, rule, edits)
        if self.sink is None and not self.quiet:
            import logging  # writing a cfg is not to wait for it

            logging.getLogger("ghostyolo").warning("%s", finding)
        elif self.sink:
            self.sink(finding)

    def oddity(
        self,
        span: Span | None,
        section: str,
        message: str,
        hint: str,
        darknet: str,
        *,
        rule: str = "",
        edits: tuple[Edit, ...] = (),
    ) -> None:
        """Report a mistake that Darknet reads in its own way: an error, or in compat a warning."""
        if self.compat:
            self.warn(span, section, message, f"Darknet {darknet}", rule=rule, edits=edits)
        else:
            self.error(span, section, message, hint, rule=rule, edits=edits)

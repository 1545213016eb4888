"""Errors and findings: each has a place, a message and a hint.

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
    """A change of one line of a cfg.

    The line is replaced by `text`, deleted if that is empty, or kept with `text` below it.
    """

    line: int
    text: str
    below: bool = False


class Diagnostic(NamedTuple):
    """One finding: where it is, which values disagree, and what to do about it."""

    severity: str  # "error", "warning" or, if it concerns other programs alone, "note"
    span: Span | None
    section: str  # the kind named in brackets, "" when the finding is not about a section
    message: str
    hint: str = ""
    rule: str = ""  # a key of `ghostyolo.lint.registry()`
    edits: tuple[Edit, ...] = ()  # what fixes it, where the fix is certain

    def __str__(self) -> str:
        place = f"{self.span}: " if self.span else ""
        section = f"[{self.section}] " if self.section else ""
        hint = f"; {self.hint}" if self.hint else ""
        return f"{place}{section}{self.message}{hint}"

    def as_dict(self) -> dict[str, object]:
        """Return what a program needs of it, for JSON."""
        return {
            "path": self.span.path if self.span else "",
            "line": self.span.line if self.span else 0,
            "severity": self.severity,
            "rule": self.rule,
            "section": self.section,
            "message": self.message,
            "hint": self.hint,
            "fixable": bool(self.edits),
        }


class GhostyoloError(Exception):
    """Base class of every error that the user's input causes.

    span: the file and line of the mistake, if there is one. hint: an action, in the imperative.
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
    """A cfg with a mistake."""


class WeightsError(GhostyoloError):
    """Stored weights that do not fit the network."""


class DataError(GhostyoloError):
    """A data set, label or picture that cannot be used."""


class OptionError(GhostyoloError):
    """A value given on the command line or to a function of the library that cannot be honoured."""


class Findings:
    """Where findings about a cfg go, and how strictly what Darknet tolerates is taken.

    sink: called with every Diagnostic; without one the first error raises `CfgError` and warnings
    are logged. With one, parsing goes on after an error: the layer with the mistake is assumed to
    have the shape of the one above. strict: a warning counts as an error. compat: where Darknet
    reads a mistake in a way of its own, do the same and warn. quiet: do not log warnings. doubt:
    added to each side of an assumed shape, so that a second reading tells which findings depend on
    it.
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
        """Report something that is legal and probably a mistake."""
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
        """Report a mistake that Darknet reads in its own way: an error, with compat a warning."""
        if self.compat:
            self.warn(span, section, message, f"Darknet {darknet}", rule=rule, edits=edits)
        else:
            self.error(span, section, message, hint, rule=rule, edits=edits)

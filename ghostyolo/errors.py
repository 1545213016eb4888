"""Errors and findings: each has a place, a message and a hint.

GhostyoloError          a mistake in the user's input; str() is the line that a command prints
├── CfgError            a cfg: unknown words, references to no layer, shapes that do not match
├── WeightsError        a .weights file or a checkpoint that does not fit its network
├── DataError           a data set, a picture or a label that cannot be used
└── OptionError         a command-line option or an argument of the library
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

# The packages that hold modules of another name.
PACKAGES = {
    "cv2": "opencv-python, or opencv-python-headless if there is no display",
    "yaml": "pyyaml",
    "huggingface_hub": "'ghostyolo[pretrained]'",
}
UNPRINTABLE = re.compile(
    "[\0-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb]"
)


def printable(text: str, keep: str = "") -> str:
    r"""Return a text whose characters that would command a terminal are escaped, such as \x1b.

    They are control characters, line breaks, marks that change the order of letters or take no
    room, and bytes of file names that are not UTF-8. keep: characters that are left as they are.
    Source: the general categories Cc, Cf, Cs, Zl and Zp of Unicode; U+200C and U+200D are left,
    since words and emoji are written with them.
    """
    return UNPRINTABLE.sub(lambda c: c[0] if c[0] in keep else ascii(c[0])[1:-1], text)


def counted(number: int, word: str, ending: str = "s") -> str:
    """Return a number and a noun, such as "1 class" or "2,000 classes". ending: of the plural."""
    return f"{number:,} {word}{ending * (number != 1)}"


def in_bytes(number: int) -> str:
    """Return a number of bytes as text, such as "12 MB" or "1.5 GB"."""
    if number < 1e6:
        return f"{number / 1e3:.0f} kB"
    return f"{number / 1e9:.1f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


class Span(NamedTuple):
    """A line of a file, counted from 1; line 0 is the file as a whole."""

    path: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.path}:{self.line}" if self.line else self.path


class Place(NamedTuple):
    """A line of a cfg, and the name of the section that the line belongs to, "" for none."""

    span: Span
    section: str


class Edit(NamedTuple):
    """A change of one line of a cfg.

    `text` replaces the line; an empty `text` deletes it. below: keep the line and insert `text`
    below it.
    """

    line: int
    text: str
    below: bool = False


Edits = tuple[Edit, ...]


class Diagnostic(NamedTuple):
    """One finding: its line, the values that disagree, and how to correct them."""

    severity: str  # "error", "warning", or "note" if only other programs are affected
    span: Span | None
    section: str  # the section's name without brackets, "" for a finding outside of sections
    message: str
    hint: str = ""
    rule: str = ""  # a key of `ghostyolo.lint.registry()`
    edits: Edits = ()  # the changes that fix it, where the fix is certain

    def __str__(self) -> str:
        place = f"{self.span}: " if self.span else ""
        section = f"[{self.section}] " if self.section else ""
        hint = f"; {self.hint}" if self.hint else ""
        return printable(f"{place}{section}{self.message}{hint}")

    def as_dict(self) -> dict[str, object]:
        """Return the finding as a JSON object, with its place, message, hint and rule."""
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

    >>> try:
    ...     ghostyolo.read_image("missing.jpg")
    ... except ghostyolo.GhostyoloError as error:
    ...     print(error)
    missing.jpg: cannot read the picture: no such file or directory; check the path
    """

    def __init__(
        self,
        message: str,
        *,
        span: Span | None = None,
        section: str = "",
        hint: str = "",
        rule: str = "",
        edits: Edits = (),
    ) -> None:
        self.diagnostic = Diagnostic("error", span, section, message, hint, rule, edits)
        super().__init__(str(self.diagnostic))


class CfgError(GhostyoloError):
    """A cfg with a mistake.

    >>> ghostyolo.loads("[net]\\nwidth=32\\nheight=32\\nchannels=3\\n[convolutionl]")
    Traceback (most recent call last):
    ghostyolo.errors.CfgError: <cfg>:5: [convolutionl] unknown section;
    did you mean [convolutional]?
    """


class WeightsError(GhostyoloError):
    """Stored weights that do not fit the network.

    >>> ghostyolo.Model("my.cfg", "yolov4-tiny.weights")
    Traceback (most recent call last):
    ghostyolo.errors.WeightsError: yolov4-tiny.weights: holds 4962 floats,
    the cfg needs 2446: 2516 too many; use the cfg that these weights were trained with
    """


class DataError(GhostyoloError):
    """A data set, label or picture that cannot be used.

    >>> try:
    ...     ghostyolo.open_dataset("DATA", "tets")
    ... except ghostyolo.DataError as error:
    ...     print(error)
    DATA/ImageSets/Main: there is no split 'tets'; use one of: test, train, val (--split)
    """


class OptionError(GhostyoloError):
    """An option of a command, or an argument of a function, with a value that cannot be used.

    >>> ghostyolo.train("my.cfg", "DATA", epochs=0)
    Traceback (most recent call last):
    ghostyolo.errors.OptionError: epochs=0; give a whole number of 1 or more
    """


def missing_package(error: ImportError) -> OptionError:
    """Return what to tell the user about a package that is missing or cannot be loaded.

    Raises the error itself if it is about a module of ghostyolo.
    """
    name, trace = (error.name or "").partition(".")[0], error.__traceback__
    while not name and trace is not None:  # OpenCV does not tell, when a system library is missing
        if trace.tb_frame.f_globals["__name__"] in PACKAGES:
            name = trace.tb_frame.f_globals["__name__"]
        trace = trace.tb_next
    if name in ("", "ghostyolo"):
        raise error
    package = PACKAGES.get(name, name.replace("_", "-"))
    return OptionError(f"cannot import {name}: {error}", hint=f"pip install {package}")


class Findings:
    """Receive the findings about a cfg, and decide how strictly its mistakes are treated.

    callback: called with every Diagnostic. Without a callback the first error raises `CfgError`,
    and warnings are logged. With a callback parsing continues after an error: the layer with the
    mistake becomes a placeholder that has the shape of the layer above.
    strict: treat warnings as errors. compat: where Darknet accepts a mistake and interprets it in
    its own way, do the same and warn. quiet: do not log warnings. shape_offset: added to each side
    of a placeholder's shape; findings that change with it depend on the placeholder.
    """

    def __init__(
        self,
        callback: Callable[[Diagnostic], None] | None = None,
        *,
        strict: bool = False,
        compat: bool = False,
        quiet: bool = False,
        shape_offset: int = 0,
    ) -> None:
        self.callback, self.strict, self.compat = callback, strict, compat
        self.quiet, self.shape_offset = quiet, shape_offset
        self.errors = 0

    @classmethod
    def ignored(cls) -> Findings:
        """Return an object that ignores all findings, for a text that was checked before."""
        return cls(lambda _: None)

    def error(self, place: Place, message: str, hint: str, rule: str, edits: Edits = ()) -> None:
        """Report a mistake; raise `CfgError` unless there is a callback."""
        span, section = place
        self.collect(
            CfgError(message, span=span, section=section, hint=hint, rule=rule, edits=edits)
        )

    def collect(self, error: CfgError) -> None:
        """Report an error that was raised; raise it again unless there is a callback."""
        if self.callback is None:
            raise error
        self.errors += 1
        self.callback(error.diagnostic)

    def warn(self, place: Place, message: str, hint: str, rule: str, edits: Edits = ()) -> None:
        """Report something that is valid and probably a mistake."""
        finding = Diagnostic("warning", *place, message, hint, rule, edits)
        if self.strict:
            self.error(place, message, hint, rule, edits)
        elif self.callback:
            self.callback(finding)
        elif not self.quiet:
            import logging  # takes time that writing a cfg does not need

            logging.getLogger("ghostyolo").warning("%s", finding)

    def quirk(
        self, place: Place, message: str, hint: str, darknet: str, rule: str, edits: Edits = ()
    ) -> None:
        """Report a mistake that Darknet accepts; `darknet` says how Darknet interprets it.

        It is an error, and with `compat` a warning.
        """
        if self.compat:
            self.warn(place, message, f"Darknet {darknet}", rule, edits)
        else:
            self.error(place, message, hint, rule, edits)

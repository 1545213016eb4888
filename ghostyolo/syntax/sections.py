"""Split the text of a cfg into sections and options; which sections are layers is not known here.

Source: AlexeyAB/darknet src/parser.c read_cfg, src/option_list.c read_option, src/utils.c strip.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ghostyolo import files
from ghostyolo.errors import CfgError, Edit, Edits, Findings, Place, Span

if TYPE_CHECKING:
    from pathlib import Path

# The shape that `dumps` writes after a layer's comment. It follows from the layer and is not read.
_SHAPE_COMMENT = r"\s*->\s*\d+x\d+x\d+\s*$"
_INVISIBLE = re.compile("[\u00a0\u1680\u2000-\u200f\u2028-\u202f\u205f\u2060\u3000\ufeff]")
MOST_BYTES = 16 << 20  # of a cfg
_BLANKS = str.maketrans("", "", " \t\r\n")
_BYTE_ORDER_MARK = "\ufeff"
_BYTE_ORDER_MARK_FOUND = (
    "an invisible byte-order mark precedes the first character",
    "save the file as UTF-8 without it",
    "reads it as part of the first line",
)


@dataclass(frozen=True)
class Option:
    """One line `key=value` without blanks; value is None if the line has no `=`."""

    key: str
    value: str | None
    place: Place

    @property
    def span(self) -> Span:
        """Return the file and line."""
        return self.place.span


@dataclass(frozen=True)
class Section:
    """One `[name]`, its options in the order of the file, and the comment lines above it."""

    name: str
    options: tuple[Option, ...]
    span: Span
    comment: str = ""

    @property
    def place(self) -> Place:
        """Return the line of the section's name."""
        return Place(self.span, self.name)

    def error(
        self, message: str, hint: str, rule: str, span: Span | None = None, edits: Edits = ()
    ) -> CfgError:
        """Return an error in this section. span: the line of one of its options, if it has it."""
        span = span or self.span
        return CfgError(message, span=span, section=self.name, hint=hint, rule=rule, edits=edits)


def read_text(path: str | Path, errors: str = "replace") -> str:
    """Return the text of a cfg file with its line ends as they are. Raises `CfgError`.

    errors: how bytes that are not UTF-8 are decoded, as in `open`.
    """
    span = Span(str(path))
    try:
        content = files.read(path, MOST_BYTES)
    except OSError as error:
        message, hint = (
            f"cannot read it: {error.strerror}",
            "give a cfg file or the folder of a run",
        )
        raise CfgError(message, span=span, hint=hint, rule="unreadable") from None
    what, hint = files.foreign(content)
    if what and what != "a cfg":
        raise CfgError(f"is {what}, not a cfg", span=span, hint=hint, rule="unreadable")
    if b"\0" in content:
        hint = "give the path of a cfg; weights stand after it"
        raise CfgError("is not text", span=span, hint=hint, rule="unreadable")
    return content.decode("utf-8", errors)


def parse(text: str, path: str, findings: Findings) -> list[Section]:
    """Split a cfg into sections as Darknet does.

    All blanks of a line are removed, also those inside values. A line that begins with `#` or `;`
    is a comment; a `#` later in a line does not begin one. Raises `CfgError` (through `findings`)
    for an option before the first section and for text after a section's bracket.
    """
    sections: list[Section] = []
    header: tuple[str, Span, str] | None = None
    options: list[Option] = []
    comments: list[str] = []

    def close() -> None:
        if header is not None:
            sections.append(Section(header[0], tuple(options), header[1], header[2]))

    for number, raw in enumerate(text.split("\n"), start=1):
        line, span = raw.translate(_BLANKS), Span(path, number)
        if number == 1 and line.startswith(_BYTE_ORDER_MARK):
            edits = (Edit(1, raw.replace(_BYTE_ORDER_MARK, "", 1).strip()),)
            findings.quirk(
                Place(span, ""), *_BYTE_ORDER_MARK_FOUND, rule="byte-order-mark", edits=edits
            )
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            continue
        line = _visible(line, raw, Place(span, header[0] if header else ""), findings)
        if line[0] in "#;":
            comments.append(raw.strip()[1:].strip())
        elif line[0] == "[":
            close()
            header = (_section_name(line, span, findings), span, _comment(comments))
            options, comments = [], []
        elif header is None:
            message = f"{line[:40]!r} precedes the first section"
            findings.error(Place(span, ""), message, "begin with [net]", rule="orphan-option")
        else:
            key, equals, value = line.partition("=")
            options.append(Option(key, value if equals else None, Place(span, header[0])))
            comments = []
    close()
    return sections


def _visible(line: str, raw: str, place: Place, findings: Findings) -> str:
    """Report an invisible character in a line that is no comment; return the line without it."""
    found = _INVISIBLE.search(line)
    if not found or line[0] in "#;":
        return line
    message = f"an invisible character, U+{ord(found[0]):04X}, stands in the line"
    edits = (Edit(place.span.line, _INVISIBLE.sub("", raw).strip()),)
    hint, darknet = "delete it, or write a plain blank", "reads it as part of the word"
    findings.quirk(place, message, hint, darknet, rule="invisible-character", edits=edits)
    return line if findings.compat else _INVISIBLE.sub("", line) or "#"


def used_options(section: Section, findings: Findings) -> Iterator[Option]:
    """Yield the options that Darknet uses: the first of each key that has a value."""
    seen: dict[str, Option] = {}
    for option in section.options:
        first = seen.setdefault(option.key, option)
        if first is not option:
            message = f"duplicate key '{option.key}', the one in line {first.span.line} counts"
            edits = (Edit(option.span.line, ""),)
            findings.warn(
                option.place, message, "delete one of the two", rule="duplicate-key", edits=edits
            )
        elif not option.value:
            message = f"key '{option.key}' has no value"
            hint, darknet = f"write {option.key}=value or delete the line", "ignores the key"
            findings.quirk(option.place, message, hint, darknet, rule="no-value")
            if option.value == "":  # Darknet discards `key=`, so that a later duplicate counts
                del seen[option.key]
        else:
            yield option


def _section_name(line: str, span: Span, findings: Findings) -> str:
    name, _, rest = line[1:].partition("]")
    if rest or not line.endswith("]"):
        hint = "write nothing but the section's name on its line, as [convolutional]"
        message = f"unexpected text in the section line '{line}'"
        edits = (Edit(span.line, f"[{name}]"),) if rest[:1] in ("#", ";") else ()
        findings.error(Place(span, name), message, hint, rule="section-text", edits=edits)
    return name


def trailing_comment(option: Option, comment: str, findings: Findings) -> None:
    """Warn of a comment after a value, which Darknet does not read."""
    message = f"'{comment}' after the value of '{option.key}' is not read"
    hint = "write comments on lines of their own"
    edits = (Edit(option.span.line, f"{option.key}={(option.value or '').partition('#')[0]}"),)
    findings.warn(option.place, message, hint, rule="trailing-comment", edits=edits)


def _comment(lines: list[str]) -> str:
    return "\n".join(re.sub(_SHAPE_COMMENT, "", line) for line in lines).strip("\n")

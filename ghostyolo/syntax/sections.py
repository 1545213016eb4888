"""Split the text of a cfg into sections and options. Layers are not known here.

Source: AlexeyAB/darknet src/parser.c read_cfg, src/option_list.c read_option, src/utils.c strip.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ghostyolo.errors import CfgError, Edit, Findings, Span

# The shape behind a node's comment in cfgs written here; it is derived, so never read back.
_SHAPE_NOTE = r"\s*->\s*\d+x\d+x\d+\s*$"
_BLANKS = str.maketrans("", "", " \t\r\n")
_BYTE_ORDER_MARK = "\ufeff"
_MARKED = (
    "an invisible byte-order mark stands before the first character",
    "save the file as UTF-8 without it",
    "takes it for part of the first line",
)


@dataclass(frozen=True)
class Option:
    """One line `key=value`, without its blanks; value is None where the line has no `=`."""

    key: str
    value: str | None
    span: Span


@dataclass(frozen=True)
class Section:
    """One `[name]` with its options in the order of the file, and the comment above it."""

    name: str
    options: tuple[Option, ...]
    span: Span
    comment: str = ""

    def error(
        self,
        message: str,
        hint: str,
        rule: str,
        span: Span | None = None,
        edits: tuple[Edit, ...] = (),
    ) -> CfgError:
        """Return an error in this section; span: the line of one of its options."""
        span = span or self.span
        return CfgError(message, span=span, section=self.name, hint=hint, rule=rule, edits=edits)


def parse(text: str, path: str, findings: Findings) -> list[Section]:
    """Split a cfg into sections as Darknet does.

    Every blank is removed from a line, inside values too. Lines that begin with `#` or `;` are
    comments; a `#` further right is not. Raises `CfgError` (through `findings`) for an option
    before the first section and for text behind a section's bracket.
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
            findings.oddity(span, "", *_MARKED, rule="byte-order-mark", edits=edits)
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            continue
        if line[0] in "#;":
            comments.append(raw.strip()[1:].strip())
        elif line[0] == "[":
            close()
            header = (_section_name(line, span, findings), span, _comment(comments))
            options, comments = [], []
        elif header is None:
            message = f"{line[:40]!r} stands before the first section"
            findings.error(span, "", message, "begin with [net]", rule="orphan-option")
        else:
            key, equals, value = line.partition("=")
            options.append(Option(key, value if equals else None, span))
            comments = []
    close()
    return sections


def distinct(section: Section, findings: Findings) -> Iterator[Option]:
    """Yield the options that Darknet uses: the first of each key that has a value."""
    seen: dict[str, Option] = {}
    for option in section.options:
        first = seen.setdefault(option.key, option)
        if first is not option:
            message = f"duplicate key '{option.key}', the one in line {first.span.line} counts"
            hint, edits = "delete one of the two", (Edit(option.span.line, ""),)
            findings.warn(
                option.span, section.name, message, hint, rule="duplicate-key", edits=edits
            )
        elif not option.value:
            findings.oddity(
                option.span,
                section.name,
                f"key '{option.key}' has no value",
                f"write {option.key}=value or delete the line",
                "takes the key as absent",
                rule="no-value",
            )
            if option.value == "":  # Darknet drops `key=` at once, so a later duplicate counts
                del seen[option.key]
        else:
            yield option


def _section_name(line: str, span: Span, findings: Findings) -> str:
    name, _, rest = line[1:].partition("]")
    if rest or not line.endswith("]"):
        hint = "write the section alone on its line, as [convolutional]"
        message = f"unexpected text in the section line '{line}'"
        edits = (Edit(span.line, f"[{name}]"),) if rest[:1] in ("#", ";") else ()
        findings.error(span, name, message, hint, rule="section-text", edits=edits)
    return name


def trailing_comment(option: Option, comment: str, section: str, findings: Findings) -> None:
    """Warn of a comment behind a value, which Darknet does not read."""
    message = f"'{comment}' behind the value of '{option.key}' is not read"
    hint = "comments stand on lines of their own"
    edits = (Edit(option.span.line, f"{option.key}={(option.value or '').partition('#')[0]}"),)
    findings.warn(option.span, section, message, hint, rule="trailing-comment", edits=edits)


def _comment(lines: list[str]) -> str:
    return "\n".join(re.sub(_SHAPE_NOTE, "", line) for line in lines).strip("\n")

"""Options of a section as the fields of a dataclass: text to value, value to text.

A field's name is the key, its annotation the type (int, float, str, tuple[int, ...] or
tuple[float, ...]), its default Darknet's.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, ClassVar, TypeVar

from ghostyolo.errors import Findings, Span
from ghostyolo.syntax import Option, Section

Value = Any  # int | float | str | tuple of numbers, as the field's annotation says
_INT = re.compile(r"[+-]?\d+")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf")
# Keys of recurrent sections, which have no class here. Source: AlexeyAB/darknet src/parser.c.
_OTHER_KEYS = frozenset({"hidden", "output_filters", "logistic", "shortcut", "bottleneck"})
OptionsType = TypeVar("OptionsType", bound="Options")


def key(
    default: Value = None,
    *,
    choices: Iterable[str] = (),
    always: bool = False,
    derive: Callable[[Any], Value] | None = None,
) -> Any:
    """Declare a cfg key.

    choices: the words it may be. always: write it even at its default, as other readers insist on
    it. derive: the default where it depends on other keys, a function of the options.
    """
    metadata = {"choices": tuple(choices), "always": always, "derive": derive}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The typed options of one kind of section."""

    names: ClassVar[tuple[str, ...]] = ()  # the section's name, then its aliases
    refs: ClassVar[dict[str, str]] = {}  # keys that name other layers: "data" or "side"

    def __post_init__(self) -> None:
        for item in fields(self):
            derive = item.metadata.get("derive")
            if derive and getattr(self, item.name) is None:
                object.__setattr__(self, item.name, derive(self))

    @classmethod
    def keys(cls) -> dict[str, Field[Any]]:
        """Return the fields by key."""
        return _keys(cls)  # type: ignore[arg-type]  # mypy takes a class for its instances

    @classmethod
    def parse(cls: type[OptionsType], section: Section, findings: Findings) -> OptionsType:
        """Read a section's options; the first of two equal keys wins, as in Darknet."""
        values: dict[str, Value] = {}
        known = cls.keys()
        for option in distinct(section, findings):
            if option.key in known:
                item = known[option.key]
                values[option.key] = _read(item, option, section.name, findings)
            elif option.key not in cls.refs:
                _unknown_key(cls, option, section.name, findings)
        return cls(**{name: value for name, value in values.items() if value is not None})

    def changed(self: OptionsType, **values: Value) -> OptionsType:
        """Return the options with some values changed; what was derived from others follows."""
        for name, item in self.keys().items():
            derive = item.metadata.get("derive")
            if derive and name not in values and getattr(self, name) == derive(self):
                values[name] = None
        return replace(self, **values)

    def set(self: OptionsType, texts: Iterable[tuple[str, str]], span: Span) -> OptionsType:
        """Return the options with keys set from text, as a cfg would. Raises `CfgError`."""
        findings = Findings(strict=True)
        values = {}
        for name, text in texts:
            option = Option(name, "".join(text.split()), span)
            if name not in self.keys():
                near = nearest(name, self.keys())
                hint = f"did you mean '{near}'?" if near else "see the cfg for its keys"
                findings.error(span, self.names[0], f"unknown key '{name}'", hint)
            values[name] = _read(self.keys()[name], option, self.names[0], findings)
        return self.changed(**values)

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield the options as text: those that differ from their default or are always written."""
        for item in self.keys().values():
            value, derive = getattr(self, item.name), item.metadata.get("derive")
            default = derive(self) if derive else item.default
            if value != default or (item.metadata.get("always") and value != ()):
                yield item.name, write(value)


@functools.cache
def _keys(cls: Any) -> dict[str, Field[Any]]:
    """A kind's own keys first, those that it shares with every kind last."""
    inherited = {item.name for base in cls.__mro__[1:-1] for item in fields(base)}
    own = [item for item in fields(cls) if item.name not in inherited]
    return {item.name: item for item in own + [f for f in fields(cls) if f.name in inherited]}


def distinct(section: Section, findings: Findings) -> Iterator[Option]:
    """Yield the options that count: the first of each key, with a value."""
    seen: dict[str, Option] = {}
    for option in section.options:
        first = seen.setdefault(option.key, option)
        if first is not option:
            message = f"duplicate key '{option.key}', the one in line {first.span.line} counts"
            findings.warn(option.span, section.name, message, "delete one of the two")
        elif not option.value:
            hint = f"write {option.key}=value or delete the line"
            findings.oddity(
                option.span,
                section.name,
                f"key '{option.key}' has no value",
                hint,
                "takes the key as absent",
            )
            if option.value == "":  # Darknet drops `key=` at once, so a later duplicate counts
                del seen[option.key]
        else:
            yield option


def write(value: Value) -> str:
    """Return a value as cfg text that reads back to the same value."""
    if isinstance(value, tuple):
        return ",".join(write(item) for item in value)
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return str(value)


def _read(item: Field[Any], option: Option, section: str, findings: Findings) -> Value:
    """Read one option's value; None where a mistake was reported."""
    text = option.value or ""
    if item.type == "str":
        return _word(item, option, section, findings)
    number = _integer if "int" in str(item.type) else _decimal
    if not str(item.type).startswith("tuple"):
        return number(option, text, section, findings)
    stop = text.find("#")
    if stop >= 0:
        _trailing(option, text[stop:], section, findings)
        text = text[:stop]
    parts = [number(option, part, section, findings) for part in text.split(",")]
    return None if None in parts else tuple(parts)


def _word(item: Field[Any], option: Option, section: str, findings: Findings) -> str | None:
    text, choices = option.value or "", item.metadata.get("choices", ())
    if not choices or text in choices:
        return text
    word = text.split("#")[0]
    near = word if word in choices else nearest(text, choices)
    hint = f"did you mean '{near}'?" if near else f"use one of {', '.join(choices)}"
    if word in choices:
        hint = f"move the comment to a line of its own; Darknet does not read '{word}' here"
    fallback = unknown_word(item.name, str(item.default))
    findings.oddity(
        option.span,
        section,
        f"unknown {item.name} '{text}'",
        hint,
        f"reads it as '{fallback}'",
    )
    return fallback


def unknown_word(name: str, default: str) -> str:
    """Return what Darknet takes an unknown word for.

    Source: AlexeyAB/darknet src/activations.c get_activation, src/parser.c parse_yolo (iou_loss).
    """
    return {"activation": "relu", "iou_loss": "iou"}.get(name, default)


def _integer(option: Option, text: str, section: str, findings: Findings) -> int | None:
    match = _INT.match(text)
    if match and _trailing_is_comment(option, text[match.end() :], section, findings):
        return int(match[0])
    value = int(match[0]) if match else 0
    return _not_a_number(option, text, "a whole number", value, section, findings)


def _decimal(option: Option, text: str, section: str, findings: Findings) -> float | None:
    match = _FLOAT.match(text)
    if match and _trailing_is_comment(option, text[match.end() :], section, findings):
        return float(match[0])
    value = float(match[0]) if match else 0.0
    return _not_a_number(option, text, "a number", value, section, findings)


def _not_a_number(
    option: Option, text: str, wanted: str, darknet: Any, section: str, findings: Findings
) -> Any:
    findings.oddity(
        option.span,
        section,
        f"{option.key}={option.value}: '{text}' is not {wanted}",
        f"write {option.key}={write(darknet)}" if darknet else f"write {wanted}",
        f"reads {write(darknet)}",
    )
    return darknet if findings.compat else None


def _trailing_is_comment(option: Option, rest: str, section: str, findings: Findings) -> bool:
    if rest.startswith("#"):
        _trailing(option, rest, section, findings)
    return not rest or rest.startswith("#")


def _trailing(option: Option, rest: str, section: str, findings: Findings) -> None:
    hint = "comments stand on lines of their own"
    findings.warn(
        option.span, section, f"'{rest}' behind the value of '{option.key}' is not read", hint
    )


def _unknown_key(cls: type[Options], option: Option, section: str, findings: Findings) -> None:
    near = nearest(option.key, [*cls.keys(), *cls.refs], distance=2)
    message = f"unknown key '{option.key}'"
    if near and option.key not in _keys_anywhere():
        findings.oddity(
            option.span, section, message, f"did you mean '{near}'?", "does not read the line"
        )
    else:
        findings.warn(
            option.span, section, message, "Darknet does not read it here; delete the line"
        )


@functools.cache
def _keys_anywhere() -> frozenset[str]:
    """Every key that some section of Darknet reads."""
    known, kinds = set(_OTHER_KEYS), list(Options.__subclasses__())
    while kinds:
        kind = kinds.pop()
        known.update(kind.keys(), kind.refs)
        kinds.extend(kind.__subclasses__())
    return frozenset(known)


def nearest(word: str, choices: Iterable[str], distance: int | None = None) -> str | None:
    """Return the choice with the fewest edits from word, or None beyond `distance` (a third)."""
    limit = max(1, len(word) // 3) if distance is None else distance
    ranked = sorted((edits(word, choice), choice) for choice in choices)
    return ranked[0][1] if ranked and ranked[0][0] <= limit else None


def edits(a: str, b: str) -> int:
    """Return the number of insertions, deletions, changes and swaps of neighbours from a to b.

    Source: optimal string alignment distance, Damerau 1964.
    """
    if abs(len(a) - len(b)) > 3:
        return abs(len(a) - len(b))
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, before_above = row, before
        row = [i]
        for j, y in enumerate(b, start=1):
            cost = min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before_above[j - 2] + 1)
            row.append(cost)
        before = above
    return row[-1]

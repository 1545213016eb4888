"""Options of a section as the fields of a dataclass: text to value, value to text.

A field's name is the key, its annotation the type (int, float, str, tuple[int, ...] or
tuple[float, ...]), its default Darknet's.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field, FrozenInstanceError, dataclass, field, fields, replace
from math import isinf
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from ghostyolo.errors import Edit, Findings, Span
from ghostyolo.syntax.sections import Option, Section
from ghostyolo.syntax.suggestions import nearest

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[Any], Any]:
        """Tell type checkers what a decorator does; they alone need telling."""
        return lambda decorator: decorator


Value = Any  # int | float | str | tuple of numbers, as the field's annotation says
_INT = r"[+-]?[0-9]+"
_FLOAT = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?inf"
_LARGEST = (1 << 31) - 1  # of a C int
_DIGITS, _SHOWN = 10, 40  # of that; of a value in a message
# Keys of recurrent sections, which have no class here, and of older Darknets.
# Source: AlexeyAB/darknet src/parser.c, cfg/writing.cfg.
_OTHER_KEYS = frozenset({
    "hidden", "logistic", "shortcut", "bottleneck", "peephole", "history_size", "state_constrain",
    "lstm_activation", "time_normalizer", "seen",
})  # fmt: skip
OptionsType = TypeVar("OptionsType", bound="Options")
Class = TypeVar("Class")


def key(
    default: Value = None,
    *,
    choices: Iterable[str] = (),
    always: bool = False,
    derive: Callable[[Any], Value] | None = None,
    most: int = _LARGEST,
    training: Literal["", "detectors", "any"] = "",
) -> Any:
    """Declare a cfg key.

    choices: the words it may be. always: write it even at its default, as other readers insist on
    it. derive: the default where it depends on other keys, a function of the options. most: the
    largest whole number it may be, where memory follows from it. training: which training honours
    every value: any, that of detectors alone, or none, which refuses all but the default.
    """
    metadata = {
        "choices": tuple(choices), "always": always, "derive": derive, "most": most,
        "training": training,
    }  # fmt: skip
    return field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def options(cls: type[Class]) -> type[Class]:
    """Make a kind's annotated keys its fields, as in a frozen dataclass, keyword only.

    What `dataclass` would write and compile for each kind, a third of the time it takes to start,
    stands once in `Options`.
    """
    made: Any = dataclass(kw_only=True, init=False, repr=False, eq=False)(cls)
    inherited = {item.name for base in made.__mro__[1:-1] for item in fields(base)}
    own_first = sorted(fields(made), key=lambda item: item.name in inherited)
    made._keys = {item.name: item for item in own_first}
    made._defaults = {item.name: item.default for item in own_first}
    derive = {item.name: item.metadata.get("derive") for item in own_first}
    made._derived = {name: function for name, function in derive.items() if function}
    return made


@options
class Options:
    """The typed options of one kind of section."""

    names: ClassVar[tuple[str, ...]] = ()  # the section's name, then its aliases
    # Keys that name other layers, and why: for their output ("data"), to compute with their weights
    # ("weights"), or for something that inference does not need ("side").
    refs: ClassVar[dict[str, str]] = {}

    _keys: ClassVar[dict[str, Field[Any]]]
    _defaults: ClassVar[dict[str, Value]]  # None where it depends on other keys
    _derived: ClassVar[dict[str, Callable[[Any], Value]]]

    def __init__(self, **values: Value) -> None:
        if unknown := values.keys() - self._defaults.keys():
            raise TypeError(f"{type(self).__name__} has no key {', '.join(sorted(unknown))}")
        own = self.__dict__
        own.update(self._defaults)
        own.update(values)
        for name, derive in self._derived.items():
            if own[name] is None:
                own[name] = derive(self)

    def __setattr__(self, name: str, value: Value) -> None:
        raise FrozenInstanceError(f"cannot assign to '{name}'; see `changed`")

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        own = vars(self).items()
        given = (f"{key}={value!r}" for key, value in own if value != self._defaults[key])
        return f"{type(self).__name__}({', '.join(given)})"

    @classmethod
    def keys(cls) -> dict[str, Field[Any]]:
        """Return the fields by key."""
        return cls._keys

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
                _unknown_key(cls, option, section, findings)
        return cls(**{name: value for name, value in values.items() if value is not None})

    def changed(self: OptionsType, **values: Value) -> OptionsType:
        """Return the options with some values changed; what was derived from others follows."""
        for name, derive in self._derived.items():
            if name not in values and getattr(self, name) == derive(self):
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

    def default(self, name: str) -> Value:
        """Return a key's default, which may depend on other keys."""
        return self._derived[name](self) if name in self._derived else self._defaults[name]

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield the options as text: those that differ from their default or are always written."""
        for name, item in self.keys().items():
            value = getattr(self, name)
            if value != self.default(name) or (item.metadata.get("always") and value != ()):
                yield name, write(value)


def distinct(section: Section, findings: Findings) -> Iterator[Option]:
    """Yield the options that count: the first of each key, with a value."""
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
        value, most = number(option, text, section, findings), item.metadata["most"]
        if value is not None and item.type == "int" and value > most:
            return _too_large(option, f"above {most}", section, findings)
        return value
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
    rule = "unknown-word"
    edits: tuple[Edit, ...] = ()
    if word in choices:
        hint = f"move the comment to a line of its own; Darknet does not read '{word}' here"
        rule, edits = "word-comment", (Edit(option.span.line, f"{option.key}={word}"),)
    message, fallback = f"unknown {item.name} '{text}'", unknown_word(item.name, str(item.default))
    if fallback is None:
        findings.error(option.span, section, message, hint, rule=rule, edits=edits)
        return None
    findings.oddity(
        option.span,
        section,
        message,
        hint,
        f"reads it as '{fallback}'",
        rule=rule,
        edits=edits,
    )
    return fallback


def unknown_word(name: str, default: str) -> str | None:
    """Return what Darknet takes an unknown word for, None where it stops.

    Source: AlexeyAB/darknet src/activations.c get_activation, src/parser.c parse_yolo (iou_loss),
    parse_shortcut (weights_type).
    """
    others = {"activation": "relu", "iou_loss": "iou", "weights_type": None}
    return others.get(name, default)


def _integer(option: Option, text: str, section: str, findings: Findings) -> int | None:
    match = re.match(_INT, text)
    if match and len(match[0].lstrip("+-0")) > _DIGITS:  # int() refuses thousands of digits
        return _too_large(option, "not a number of 32 bits", section, findings)
    value = int(match[0]) if match else 0
    if not -_LARGEST - 1 <= value <= _LARGEST:
        return _too_large(option, "not a number of 32 bits", section, findings)
    if match and _trailing_is_comment(option, text[match.end() :], section, findings):
        return value
    return _not_a_number(option, text, "a whole number", value, section, findings)


def _decimal(option: Option, text: str, section: str, findings: Findings) -> float | None:
    match = re.match(_FLOAT, text)
    value = float(match[0]) if match else 0.0
    if isinf(value) and "inf" not in text:
        return _too_large(option, "beyond the largest number", section, findings)
    if match and _trailing_is_comment(option, text[match.end() :], section, findings):
        return value
    return _not_a_number(option, text, "a number", value, section, findings)


def _too_large(option: Option, what: str, section: str, findings: Findings) -> Any:
    text = option.value or ""
    shown = text if len(text) < _SHOWN else f"{text[:_SHOWN]}..."
    message, hint = f"{option.key}={shown} is {what}", "correct the number"
    findings.error(option.span, section, message, hint, rule="magnitude")
    return None


def _not_a_number(
    option: Option, text: str, wanted: str, darknet: Any, section: str, findings: Findings
) -> Any:
    findings.oddity(
        option.span,
        section,
        f"{option.key}={option.value}: '{text}' is not {wanted}",
        f"write {option.key}={write(darknet)}" if darknet else f"write {wanted}",
        f"reads {write(darknet)}",
        rule="not-a-number",
    )
    return darknet if findings.compat else None


def _trailing_is_comment(option: Option, rest: str, section: str, findings: Findings) -> bool:
    if rest.startswith("#"):
        _trailing(option, rest, section, findings)
    return not rest or rest.startswith("#")


def _trailing(option: Option, rest: str, section: str, findings: Findings) -> None:
    message = f"'{rest}' behind the value of '{option.key}' is not read"
    hint = "comments stand on lines of their own"
    edits = (Edit(option.span.line, f"{option.key}={(option.value or '').partition('#')[0]}"),)
    findings.warn(option.span, section, message, hint, rule="trailing-comment", edits=edits)


def _unknown_key(cls: type[Options], option: Option, section: Section, findings: Findings) -> None:
    near = nearest(option.key, [*cls.keys(), *cls.refs], distance=2)
    message = f"unknown key '{option.key}'"
    if near and option.key not in _keys_anywhere():
        taken = any(other.key == near for other in section.options)
        findings.oddity(
            option.span,
            section.name,
            message,
            f"did you mean '{near}'?",
            "does not read the line",
            rule="key-typo",
            edits=() if taken else (Edit(option.span.line, f"{near}={option.value}"),),
        )
    else:
        hint = "Darknet does not read it here; delete the line"
        findings.warn(option.span, section.name, message, hint, rule="unknown-key")


@functools.cache
def _keys_anywhere() -> frozenset[str]:
    """Every key that some section of Darknet reads."""
    known, kinds = set(_OTHER_KEYS), list(Options.__subclasses__())
    while kinds:
        kind = kinds.pop()
        known.update(kind.keys(), kind.refs)
        kinds.extend(kind.__subclasses__())
    return frozenset(known)

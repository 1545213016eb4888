"""Options of a section as the fields of a dataclass: text to value, value to text.

A field's name is the key, its annotation the type (int, float, str, tuple[int, ...] or
tuple[float, ...]), its default Darknet's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import Field, FrozenInstanceError, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

from ghostyolo.errors import Edit, Findings, Place, Span
from ghostyolo.syntax import values
from ghostyolo.syntax.sections import Option, Section, used_options
from ghostyolo.syntax.suggestions import nearest, slip
from ghostyolo.syntax.values import LARGEST, Value

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**_: Any) -> Callable[[Any], Any]:
        """Return a decorator that does nothing: only type checkers use it."""
        return lambda decorator: decorator


# Keys of recurrent sections, which have no class here, and of older versions of Darknet.
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
    maximum: int = LARGEST,
    training: Literal["", "detectors", "any"] = "",
) -> Any:
    """Declare a cfg key.

    choices: the allowed words. always: write the key even if it has its default, because other
    programs require it. derive: a function of the options that returns the default, where it
    depends on other keys. maximum: the largest integer allowed, for a key that decides how much
    memory is allocated. training: which training supports every value of the key: "any",
    "detectors", or "" for none, which refuses all values but the default.
    """
    metadata = {
        "choices": tuple(choices), "always": always, "derive": derive, "maximum": maximum,
        "training": training,
    }  # fmt: skip
    return field(default=default, metadata=metadata)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def options(cls: type[Class]) -> type[Class]:
    """Make the annotated keys of a class its fields, like those of a frozen keyword-only dataclass.

    `dataclass` would generate and compile methods for each class, which takes a third of the
    start-up time of gencfg (22 ms); here all classes inherit the methods of `Options`.
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
    # Keys that refer to other layers, with what is used of these: their output ("data"), their
    # weights ("weights"), or something that only training needs ("side").
    refs: ClassVar[dict[str, str]] = {}

    _keys: ClassVar[dict[str, Field[Any]]]
    _defaults: ClassVar[dict[str, Value]]  # None for a default that depends on other keys
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
        """Read a section's options; of two lines with one key the first counts, as in Darknet."""
        found: dict[str, Value] = {}
        known = cls.keys()
        for option in used_options(section, findings):
            if option.key in known:
                item = known[option.key]
                found[option.key] = values.read(item, option, findings)
            elif option.key not in cls.refs:
                _unknown_key(cls, option, section, findings)
        return cls(**{name: value for name, value in found.items() if value is not None})

    def changed(self: OptionsType, **values: Value) -> OptionsType:
        """Return the options with some values changed, and with derived defaults derived again."""
        for name, derive in self._derived.items():
            if name not in values and getattr(self, name) == derive(self):
                values[name] = None
        return replace(self, **values)

    def set(self: OptionsType, texts: Iterable[tuple[str, str]], span: Span) -> OptionsType:
        """Return the options with keys set from text, which is read like a cfg's.

        Raises `CfgError` for an unknown key and for a value that the key cannot have.
        """
        findings = Findings(strict=True)
        given = {}
        for name, text in texts:
            option = Option(name, "".join(text.split()), Place(span, self.names[0]))
            if name not in self.keys():
                near = nearest(name, self.keys())
                hint = f"did you mean '{near}'?" if near else "see the cfg for its keys"
                findings.error(option.place, f"unknown key '{name}'", hint, rule="unknown-key")
            given[name] = values.read(self.keys()[name], option, findings)
        return self.changed(**given)

    def default(self, name: str) -> Value:
        """Return a key's default, which may depend on other keys."""
        return self._derived[name](self) if name in self._derived else self._defaults[name]

    def items(self) -> Iterator[tuple[str, str]]:
        """Yield key and text of the options that are always written or differ from the default."""
        for name, item in self.keys().items():
            value = getattr(self, name)
            if value != self.default(name) or (item.metadata.get("always") and value != ()):
                yield name, values.write(value)


def _unknown_key(cls: type[Options], option: Option, section: Section, findings: Findings) -> None:
    known = [*cls.keys(), *cls.refs]
    near = nearest(option.key, known, distance=2)
    message = f"unknown key '{option.key}'"
    if near and option.key not in _keys_anywhere():
        taken = any(other.key == near for other in section.options)
        certain = not taken and slip(option.key, known) == near
        edits = (Edit(option.span.line, f"{near}={option.value}"),) if certain else ()
        hint, darknet = f"did you mean '{near}'?", "does not read the line"
        findings.quirk(option.place, message, hint, darknet, rule="key-typo", edits=edits)
    else:
        hint = "Darknet does not read it here; delete the line"
        findings.warn(option.place, message, hint, rule="unknown-key")


@functools.cache
def _keys_anywhere() -> frozenset[str]:
    """Return every key that some section of Darknet reads."""
    known, kinds = set(_OTHER_KEYS), list(Options.__subclasses__())
    while kinds:
        kind = kinds.pop()
        known.update(kind.keys(), kind.refs)
        kinds.extend(kind.__subclasses__())
    return frozenset(known)

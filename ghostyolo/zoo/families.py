"""All families, by their names in the generator. A new module gets a line here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ghostyolo.zoo import ghostnet, mobilenet, mobilenetv3, resnet, shufflenet, squeezenet, vgg
from ghostyolo.zoo.base import Family, check_choice, refuse

FAMILIES: dict[str, Family] = {
    **ghostnet.FAMILIES,
    **squeezenet.FAMILIES,
    **mobilenet.FAMILIES,
    **mobilenetv3.FAMILIES,
    **shufflenet.FAMILIES,
    **resnet.FAMILIES,
    **vgg.FAMILIES,
}


def make_family(name: str, **options: Any) -> Family:
    """Return a family with some of its options changed; None leaves the default.

    Raises `OptionError` for an unknown name, and for options that the family does not have.
    """
    check_choice("family", name, tuple(FAMILIES))
    family = FAMILIES[name]
    given = {option: value for option, value in options.items() if value is not None}
    for option, value in given.items():
        if option not in family.options():
            refuse(option, value, f"family {name}")
    return replace(family, **given)

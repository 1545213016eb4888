"""All families, by their names in the generator. A new module gets a line here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ghostyolo.network import Network
from ghostyolo.zoo import (
    ghostnet,
    mobilenet,
    mobilenetv3,
    networks,
    resnet,
    shufflenet,
    squeezenet,
    vgg,
)
from ghostyolo.zoo.base import Family, check_choice, refuse

OF_TASK = ("classes", "size", "neck", "neck_width", "heads", "anchors")  # options of a network

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


def make_network(task: str, family: str, *, comment: str = "", **options: Any) -> Network:
    """Build the network of a task, see `networks.build`, on a family of `FAMILIES`.

    options: those of the network, `OF_TASK`, and of the family; None leaves the default. Raises
    `OptionError` for an option that neither has.
    """
    own = {name: options.pop(name) for name in OF_TASK if name in options}
    return networks.build(task, make_family(family, **options), comment=comment, **own)

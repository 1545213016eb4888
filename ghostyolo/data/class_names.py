"""Class names: read them from files, and check them against data sets and networks."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ghostyolo.data.dataset import Dataset
from ghostyolo.data.paths import read_text
from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.network import Network
from ghostyolo.network.outputs import class_counts

MOST_BYTES = 16 << 20  # of a file of names
MOST_LISTED = 8  # names in a message
TRAINED = "give the cfg that was trained on these, such as the run's model.cfg"

logger = logging.getLogger(__name__)
T = TypeVar("T")


class NoNamesError(DataError):
    """A data set that does not name its classes."""


def read_named(
    read: Callable[..., T],
    data: str | Path,
    split: str,
    names: str | Path | Sequence[str] | None,
    trained: tuple[Sequence[str], str | Path],
) -> T:
    """Return `read(data, split, names)`, with other names if neither caller nor data set has any.

    trained: the class names of a network, and where they are from, which is logged.
    """
    try:
        return read(data, split, names)
    except NoNamesError:
        if names or not trained[0]:
            raise
    logger.warning("%s: names no classes, so those of %s are taken", data, trained[1])
    return read(data, split, trained[0])


def read_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read class names, one per line, class 0 first. Raises DataError at a blank line between.

    Logs a warning for a file that is not UTF-8.
    """
    names = [line.strip() for line in read_text(path, MOST_BYTES).splitlines()]
    while names and not names[-1]:
        names.pop()
    if not names or "" in names:
        line = names.index("") + 1 if names else 0
        raise DataError("no class name here", span=Span(str(path), line), hint="one name a line")
    return tuple(names)


def encodable(name: str) -> str:
    """Return a name without halves of characters, which JSON and YAML may have, and no text."""
    return name.encode("utf-8", "replace").decode()


def given_names(names: str | Path | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return class names given as a sequence or as a file, None if none are given.

    Raises DataError as `read_names` does.
    """
    if isinstance(names, str | Path):
        return read_names(names)
    return tuple(names) if names else None


def checked_names(network: Network, names: str | Path | Sequence[str]) -> tuple[str, ...]:
    """Return class names given as a sequence or as a file.

    Raises OptionError unless there is one for each of the network's classes, DataError as
    `read_names` does.
    """
    found = given_names(names) or ()
    span = Span(str(names)) if isinstance(names, str | Path) else None
    for node, classes in class_counts(network):
        if classes != len(found):
            where = node.span.path if node.span else "the network"
            message = f"{len(found)} names, {where} has classes={classes}"
            raise OptionError(message, span=span, hint="give one name for each class")
    return found


def class_index(names: Sequence[str]) -> dict[str, int]:
    """Return the index of each class by its name. Raises DataError if two classes share a name."""
    index = {name: i for i, name in enumerate(names)}
    if len(index) < len(names):
        twice = next(name for name, n in Counter(names).items() if n > 1)
        raise DataError(f"two classes are named '{twice}'", hint="give every class its own name")
    return index


def unknown_class(found: str, names: Sequence[str], span: Span) -> DataError:
    """Return the error for a label whose class is not among the names."""
    known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
    hint = f"use one of: {known}; or give all names with --names"
    return DataError(f"unknown class {found} ({len(names)} classes)", span=span, hint=hint)


def class_names(
    network: Network,
    names_file: str | Path | None = None,
    own: tuple[str, ...] = (),
    *,
    beside: str | Path,
    warn: bool = False,
) -> tuple[str, ...]:
    """Return the class names in `names_file`, else `own`, else those beside the weights, else ().

    own: the names in an exported file. beside: the path of the weights or of the exported file.
    warn: whether to log a warning if no names are found.

    Raises DataError if `names_file` cannot be read, OptionError if it does not have one name for
    each of the network's classes.
    """
    if names_file:
        return checked_names(network, names_file)
    names = own or names_beside(network, beside)
    if not names and warn:
        logger.warning("no class names; give them with --names FILE")
    return names


def names_beside(network: Network, weights: str | Path) -> tuple[str, ...]:
    """Return the names in the only .names file beside the weights that fits the network, or ()."""
    classes = {count for _, count in class_counts(network)}
    files = [read_names(path) for path in sorted(Path(weights).parent.glob("*.names"))]
    fitting = [names for names in files if {len(names)} == classes]
    return fitting[0] if len(fitting) == 1 else ()


def check_classes(network: Network, dataset: Dataset, hint: str = TRAINED) -> None:
    """Raise OptionError unless the network has as many classes as the data set."""
    for node, classes in class_counts(network):
        if classes != len(dataset.names):
            more = ", ..." if len(dataset.names) > MOST_LISTED else ""
            names = ", ".join(dataset.names[:MOST_LISTED]) + more
            message = f"classes={classes}, {dataset.path} has {len(dataset.names)} ({names})"
            raise OptionError(message, span=node.span, section=node.layer.kind, hint=hint)


def check_class_order(trained: Sequence[str], dataset: Dataset, source: str | Path) -> None:
    """Raise OptionError if the names that a network was trained with are in another order.

    source: where those names are from, for the message.
    """
    if tuple(trained) != dataset.names and sorted(trained) == sorted(dataset.names):
        other = next(i for i, name in enumerate(trained) if name != dataset.names[i])
        message = f"class {other} is '{dataset.names[other]}', '{trained[other]}' for {source}"
        hint = "list the classes in that order: in the data set's own list, or with --names FILE"
        raise OptionError(message, span=Span(str(dataset.path)), hint=hint)

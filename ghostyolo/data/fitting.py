"""A network for a data set: its classes, batch, decay and length, and anchors for its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ghostyolo.data.anchors import refit
from ghostyolo.data.class_names import MOST_LISTED
from ghostyolo.data.classification import open_classification
from ghostyolo.data.dataset import Dataset
from ghostyolo.data.hold_out import remaining
from ghostyolo.data.layouts import open_dataset
from ghostyolo.data.tiled import tiled, to_train
from ghostyolo.data.tiles import Tiles
from ghostyolo.errors import DataError, OptionError, Span, counted, printable
from ghostyolo.layers.yolo import Yolo
from ghostyolo.network import Network
from ghostyolo.network.passes import rebuild
from ghostyolo.zoo.base import refuse
from ghostyolo.zoo.families import make_network
from ghostyolo.zoo.net_rules import net_settings
from ghostyolo.zoo.networks import SIZE

OPENERS = {"detect": open_dataset, "classify": open_classification}  # by task


def network_for(
    data: str | Path,
    split: str = "train",
    names: str | Path | Sequence[str] | None = None,
    *,
    task: str = "detect",
    family: str = "ghostnet",
    classes: int | None = None,
    comment: str = "",
    tile: str = "",
    overlap: float | None = None,
    allow_outside: bool = False,
    no_cache: bool = False,
    **options: Any,
) -> Network:
    """Build the network that `gencfg --data` writes: for the pictures that a run trains on.

    Classes, anchors, batch, decay and length follow from the data; the comment of the network says
    what each follows from. For a classifier only the classes do.

    data, split, names, allow_outside, no_cache: see `open_dataset`; a part of `split` that is held
    out for validation does not count. task: "detect" or "classify". classes: refused unless it is
    that of the data set. comment: the first lines of the cfg. tile, overlap: "HxW" or "auto" for
    training on tiles, see `Tiles`. options: those of `gencfg`, such as
    `size=(320, 320)` (h, w), `width=0.5`, `anchors=(10, 13, ...)`, which are then kept.

    Raises `OptionError`, and `DataError` for data that cannot be used or has too few boxes.

    >>> network = ghostyolo.network_for("DATA", width=0.5, size=(320, 320))
    >>> network.options.batch, network.options.max_batches
    (4, 6000)
    >>> print(network.comment.splitlines()[4])
    decay=0.002: 6,000 updates; 0.0005 is for more than 20,000.
    """
    if task not in OPENERS:
        refuse("data", data, f"task {task}")
    dataset = _training_set(
        task, data, split, names, allow_outside=allow_outside, no_cache=no_cache
    )
    if classes not in (None, len(dataset.names)):
        message = f"--classes {classes}, but it has {_classes(dataset)}"
        hint = "leave --classes out, or give --names FILE"
        raise OptionError(message, span=Span(str(data)), hint=hint)
    options["classes"] = len(dataset.names)
    if tiles := Tiles.read(tile, overlap):
        if task != "detect":
            refuse("tile", tile, f"task {task}")
        dataset = to_train(tiled(dataset, tiles, options.get("size") or SIZE))
    network = make_network(task, family, comment=comment, **options)
    reasons = [_described(dataset), _names_line(names)]
    if task == "detect":
        network, more = _fitted(network, dataset, bool(options.get("anchors")))
        reasons += more
    network.comment = "\n".join([*network.comment.splitlines(), *map(printable, reasons)])
    return network


def with_room(network: Network, dataset: Dataset) -> tuple[Network, str]:
    """Return the network whose `[yolo]` have room for all boxes of a picture, and why.

    Their `max` is raised to the boxes of the fullest picture; "" if they have the room.
    """
    most = int(dataset.columns.trained.max(initial=0))
    small = {n.index for n in network if isinstance(n.layer, Yolo) and n.layer.max < most}
    if not small:
        return network, ""
    result = rebuild(network, lambda n: n.layer.changed(max=most) if n.index in small else n.layer)
    return result, f"max={most}: the most boxes of a picture, in each [yolo]"


def _training_set(
    task: str,
    data: str | Path,
    split: str,
    names: str | Path | Sequence[str] | None,
    **options: bool,
) -> Dataset:
    """Return the pictures that a run trains on: those of the split that are not held out.

    A val that is missing or cannot be used does not matter here; training tells of it.
    """
    read = OPENERS[task]
    train = read(data, split, names, **options)
    train.log_defects()
    try:
        return remaining(train, read(data, "val", names or train.names, **options))
    except DataError:
        return train


def _described(dataset: Dataset) -> str:
    """Return what is in the data set, as a line of a comment."""
    boxes, pictures = int((~dataset.columns.ignore).sum()), len(dataset)
    what = "picture" if dataset.samples[0].window is None else "tile"
    counts = f"{counted(pictures, what)}, {counted(boxes, 'box', 'es')}"
    return f"For {dataset.path}, split {dataset.split}: {counts}, {_classes(dataset)}."


def _classes(dataset: Dataset) -> str:
    """Return the number of classes and the first names."""
    names = dataset.names
    more = ", ..." if len(names) > MOST_LISTED else ""
    return f"{counted(len(names), 'class', 'es')} ({', '.join(names[:MOST_LISTED])}{more})"


def _names_line(names: str | Path | Sequence[str] | None) -> str:
    """Return where `train` gets the names of the classes, which a cfg does not hold."""
    if not names:
        return "names: train reads them from the data set."
    given = f"--names {names}" if isinstance(names, str | Path) else "the same names"
    return f"names: give {given} to train too."


def _fitted(network: Network, dataset: Dataset, keep_anchors: bool) -> tuple[Network, list[str]]:
    """Return a detector with `[net]` and anchors for a data set, and the reason of each."""
    settings = net_settings(len(dataset.names), len(dataset))
    for setting in settings:
        network.options = network.options.changed(**setting.values)
    network, room = with_room(network, dataset)
    reasons = [f"{setting}: {setting.why}." for setting in settings] + [f"{room}."] * bool(room)
    if keep_anchors:
        return network, reasons
    try:
        found = refit(network, dataset)
    except DataError as error:
        hint = "label more pictures, or give --anchors"
        raise DataError(error.diagnostic.message, span=error.diagnostic.span, hint=hint) from None
    h, w = network.options.size
    reasons.append(f"anchors: clustered at {h}x{w} (HxW); {found.gain('those of COCO')}.")
    return found.network, reasons

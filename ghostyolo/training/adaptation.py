"""Adapt a network to a data set: its heads, the `[net]` that gencfg writes, and its anchors.

The network becomes the one that `gencfg --data` writes for the pictures of the run. Adapting it
again changes nothing, so a run can be resumed with the same options.
"""

from __future__ import annotations

import logging
from typing import Any

from ghostyolo.convert.pretrained import TIMM
from ghostyolo.data import Dataset
from ghostyolo.data.anchors import refit, with_anchors
from ghostyolo.data.fitting import with_room
from ghostyolo.errors import DataError, Span
from ghostyolo.layers.yolo import Yolo
from ghostyolo.network import Network, passes
from ghostyolo.network.outputs import class_counts, detection_heads
from ghostyolo.network.weights_file import cutoff_of
from ghostyolo.syntax.values import write
from ghostyolo.training.options import TrainOptions
from ghostyolo.zoo.net_rules import Setting, net_for, net_settings
from ghostyolo.zoo.networks import backbone_layers

logger = logging.getLogger(__name__)


def adapted(network: Network, dataset: Dataset, options: TrainOptions) -> Network:
    """Return the network with the classes of a data set, and a detector fitted to it.

    What gencfg sets in `[net]` by its data is set anew where the cfg has what gencfg writes for its
    number of classes and no option gives another value. Anchors are clustered unless heads of the
    weights or a teacher were trained with those of the cfg, or there are too few boxes. A warning
    tells each change and each value that is kept.

    Raises `CfgError` if the classes or the anchors cannot be changed, see `network.passes.reclass`
    and `data.anchors.with_anchors`.
    """
    classes, counts = len(dataset.names), [count for _, count in class_counts(network)]
    result, same = network, all(count == classes for count in counts)
    if not same:
        result = passes.reclass(network, classes)
        _tell("classes=%d (%d): those of %s", classes, counts[0], dataset.path)
        _tell_of_weights(network, counts[0], str(options.weights or ""))
    if not any(isinstance(head, Yolo) for _, head in detection_heads(network)):
        return result
    changes = _net_changes(network, counts[0], dataset, options)
    result = passes.rebuild(result, options=network.options.changed(**changes))
    result, room = with_room(result, dataset)
    if room:
        _tell("%s", room)
    if whose := _trained_heads(options, same):
        _tell("keeps the anchors, with which heads of the %s were trained", whose)
        return result
    return _with_anchors(result, dataset, options)


def _tell(text: str, *values: object) -> None:
    logger.warning(f"--adapt: {text}", *values)


def _tell_of_weights(network: Network, classes: int, weights: str) -> None:
    """Tell how weights for the classes of the cfg are used, if a file with all layers is given."""
    layers = backbone_layers(network)
    if layers and weights.endswith(".weights"):
        told = "if %s has the heads for %d classes, take its first layers: "
        told += "ghostyolo convert CFG %s start.conv.%d, then --weights start.conv.%d"
        _tell(told, weights, classes, weights, layers, layers)


def _net_changes(
    network: Network, classes: int, dataset: Dataset, options: TrainOptions
) -> dict[str, Any]:
    """Return the keys of `[net]` to change, with their values. classes: those of the cfg."""
    net, changes = network.options, dict[str, Any]()
    same = {key for key, value in net_for(classes).items() if getattr(net, key) == value}
    from_gencfg = same.issuperset(("batch", "subdivisions", "decay"))
    given = _given(options)
    for setting in net_settings(len(dataset.names), len(dataset)):
        keys = setting.values
        now = {key: getattr(net, key) for key in keys}
        if now == keys or not given.isdisjoint(keys):
            continue
        if from_gencfg and same.issuperset(keys):
            _tell("%s: %s", _changed(setting, now), setting.why)
            changes |= keys
        else:
            kept = Setting(now, "")
            _tell("keeps the cfg's own %s; the data suggests %s (%s)", kept, setting, setting.why)
    return changes


def _given(options: TrainOptions) -> set[str]:
    """Return the keys of `[net]` that options give."""
    flags = {"max_batches": options.epochs, "batch": options.batch}
    return {key for key, value in flags.items() if value} | set(options.overrides)


def _changed(setting: Setting, now: dict[str, Any]) -> str:
    """Return the keys that change, each with its value and that of the cfg."""
    return " ".join(
        f"{key}={write(value)} ({write(now[key])})"
        for key, value in setting.values.items()
        if value != now[key]
    )


def _trained_heads(options: TrainOptions, same: bool) -> str:
    """Return whether a teacher or weights have heads for the network, in a word; "" if none have.

    same: whether the cfg had the classes of the data set before.
    """
    if options.teacher:
        return "teacher"
    weights = str(options.weights or "") if same else ""
    partial = not weights or weights.startswith(TIMM) or cutoff_of(weights) is not None
    return "" if partial else "weights"


def _with_anchors(network: Network, dataset: Dataset, options: TrainOptions) -> Network:
    """Return the network with anchors for the boxes of a data set, at the size of the run."""
    overrides = [(key, write(value)) for key, value in options.overrides.items()]
    net = network.options.set(overrides, Span("--set"))
    try:
        found = refit(passes.rebuild(network, options=net), dataset)
    except DataError as error:
        _tell("keeps the anchors: %s", error.diagnostic.message)
        return network
    result = with_anchors(network, found.after.anchors)
    if result != network:
        _tell("anchors clustered at %dx%d (HxW): %s", *net.size, found.gain("those of the cfg"))
    return result

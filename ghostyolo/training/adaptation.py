"""Adapt a network to the classes of a data set: its heads, and the `[net]` that gencfg writes."""

from __future__ import annotations

import logging
from typing import Any

from ghostyolo.data import Dataset
from ghostyolo.network import Network, passes
from ghostyolo.network.net_options import NetOptions
from ghostyolo.network.outputs import class_counts, classifier_output
from ghostyolo.syntax.values import write
from ghostyolo.training.options import TrainOptions
from ghostyolo.zoo.networks import net_for

GROUPS = (("batch", "subdivisions"), ("decay",), ("burn_in", "max_batches"))  # change together

logger = logging.getLogger(__name__)


def adapted(network: Network, dataset: Dataset, options: TrainOptions) -> Network:
    """Return the network with as many classes as the data set, unchanged if it has them.

    What gencfg sets in `[net]` by the number of classes is set for the new number, where the cfg
    has what gencfg writes for its own and no option gives another value. A warning names all
    changes. Raises `CfgError` if its classes cannot be changed, see `network.passes.reclass`.
    """
    classes, counts = len(dataset.names), [count for _, count in class_counts(network)]
    if all(count == classes for count in counts):
        return network
    result, net = passes.reclass(network, classes), network.options
    changes = {} if classifier_output(network) else _changes(net, counts[0], classes, options)
    told = [f"classes={classes} ({counts[0]})"]
    told += [f"{key}={write(value)} ({write(getattr(net, key))})" for key, value in changes.items()]
    why = ": what gencfg writes for so many classes" if changes else ""
    logger.warning("--adapt changes the cfg to %s%s", ", ".join(told), why)
    return passes.rebuild(result, options=net.changed(**changes))


def _changes(net: NetOptions, before: int, after: int, options: TrainOptions) -> dict[str, Any]:
    """Return the keys of `[net]` to change for another number of classes, with their values."""
    own, new = net_for(before), net_for(after)
    same = {key for key, value in own.items() if getattr(net, key) == value}
    if not same.issuperset(("batch", "subdivisions", "decay")):
        return {}
    given = {"max_batches"} if options.epochs else set()
    given |= ({"batch"} if options.batch else set()) | set(options.overrides)
    keys = [
        key
        for group in GROUPS
        if same.issuperset(group) and given.isdisjoint(group)
        for key in group
    ]
    return {key: new[key] for key in keys if new[key] != own[key]}

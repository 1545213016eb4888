"""Refuse cfgs with keys or layers that training does not implement."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from ghostyolo.errors import CfgError
from ghostyolo.layers import LayerError
from ghostyolo.layers.yolo import Yolo
from ghostyolo.model.classifier import classifier_output_of
from ghostyolo.model.detector import heads_of
from ghostyolo.network import Network
from ghostyolo.network.outputs import classifier_output, detection_heads
from ghostyolo.syntax.options import Options
from ghostyolo.training.augmentation import MIXTURES, mixture
from ghostyolo.training.freezing import frozen_layers
from ghostyolo.training.schedule import learning_rate


def check_detector(network: Network) -> None:
    """Raise `CfgError` for keys and layers that the training of a detector does not implement."""
    heads_of(network)
    if network.options.cutmix and not network.options.mosaic:
        raise _net_error("cutmix=1 without mosaic=1 is for classifiers", "net.cutmix=0")
    if network.options.mixup not in (0, 1) and not network.options.mosaic:
        message = f"mixup={network.options.mixup} is for classifiers"
        raise _net_error(message, "net.mixup=1, or --set net.mosaic=1")
    _check(network, "detectors")
    for node, head in detection_heads(network):
        if not isinstance(head, Yolo):
            raise node.error("there is no loss for this head", "train a network with [yolo] heads")


def check_classifier(network: Network) -> None:
    """Raise `CfgError` for keys and layers that training does not implement for a classifier."""
    classifier_output_of(network)
    options = network.options
    if not 0 <= mixture(network) < len(MIXTURES):
        raise _net_error(f"mixup={options.mixup}", "net.mixup=1, or 2 for cutmix")
    if not 0 <= options.label_smooth_eps < 1:
        message = f"label_smooth_eps={options.label_smooth_eps} is not in 0..1"
        raise _net_error(message, "net.label_smooth_eps=0.1")
    if not 0 < options.min_crop <= options.max_crop:
        message = f"min_crop={options.min_crop} max_crop={options.max_crop}"
        hint = "set the least and the largest length of the shorter side, in pixels"
        raise CfgError(message, section="net", hint=hint)
    _check(network, "classifiers")


def _net_error(message: str, setting: str) -> CfgError:
    """Return an error about a key of `[net]`. setting: an argument of --set that avoids it."""
    return CfgError(message, section="net", hint=f"run with --set {setting}")


def check_teacher(network: Network, teacher: Network) -> None:
    """Raise `CfgError` if the outputs of the teacher mean something else than the network's."""
    for own, other in zip_longest(_meanings(network), _meanings(teacher), fillvalue="nothing"):
        if own != other:
            message = f"the teacher's output is {other}, the network's {own}"
            hint = "give a teacher with the same heads, such as the network before ghostify"
            raise CfgError(message, hint=hint)


def _meanings(network: Network) -> Iterator[str]:
    """Yield a description of each output of a network."""
    if end := classifier_output(network):
        yield f"one of {end.classes} classes"
    for node, head in detection_heads(network):
        yield head.meaning(network.shape(node.inputs[0]))


def _check(network: Network, task: str) -> None:
    """Raise `CfgError` for layers and keys that training does not implement.

    task: "detectors" or "classifiers", as in the field `training` of a key.
    """
    for node in network:
        try:
            node.layer.check_training()
        except LayerError as error:
            raise node.error(error) from None
    if network.options.max_batches < 1:
        raise CfgError("max_batches=0", section="net", hint="set it, or give --epochs")
    try:
        learning_rate(network.options, network.options.max_batches, np.random.default_rng(0))
    except ValueError as error:
        raise CfgError(str(error), section="net") from None
    for key, value in _not_honoured(network.options, task):
        known = network.options.keys()[key].metadata["training"]
        hint = f"it is for {known}: " if known else ""
        hint += f"run with --set net.{key}={value}"
        message = f"{key}={getattr(network.options, key)} cannot be honoured in training"
        raise CfgError(message, section="net", hint=hint)
    for node in network:
        for key, value in _not_honoured(node.layer, task):
            message = f"{key}={getattr(node.layer, key)} cannot be honoured in training"
            hint = f"set {key}={value} for training"
            raise node.error(message, hint)
    _check_stops(network)
    _check_statistics(network)


def _not_honoured(options: Options, task: str) -> Iterator[tuple[str, Any]]:
    """Yield the keys whose value training does not implement, with the value that it does."""
    for key, item in options.keys().items():
        default = options.default(key)
        if item.metadata["training"] not in ("any", task) and getattr(options, key) != default:
            yield key, default


def _check_statistics(network: Network) -> None:
    """Raise `CfgError` if a batch norm gets a single number per channel, which has no variance."""
    if network.options.mini_batch > 1:
        return
    for node in network.nodes[frozen_layers(network) :]:
        names = [name for name, _ in node.layer.weights(*network.input_shapes(node))]
        if node.shape.size == node.shape.c and any(name.endswith("running_var") for name in names):
            message = "batch norm of 1x1 maps cannot be trained with one picture at a time"
            hint = "give --batch 2 or more, or fewer subdivisions"
            raise node.error(message, hint)


def _check_stops(network: Network) -> None:
    """Raise `CfgError` if `stopbackward` freezes all layers that have weights."""
    count = frozen_layers(network)
    rest = network.nodes[count:]
    if count and not any(node.layer.weights(*network.input_shapes(node)) for node in rest):
        message, hint = "stopbackward=1 leaves nothing to train", "set it in a layer further up"
        raise network[count - 1].error(message, hint)

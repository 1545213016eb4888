"""What a cfg may ask of training and does not get: it is refused, not overlooked."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import numpy as np

from ghostyolo.errors import CfgError, Span
from ghostyolo.layers import Layer
from ghostyolo.layers.anchor_head import Anchored
from ghostyolo.layers.cost import Cost
from ghostyolo.layers.softmax import Softmax
from ghostyolo.layers.yolo import Yolo
from ghostyolo.model.classifier import classifier_output_of
from ghostyolo.model.detector import heads_of
from ghostyolo.network import Network
from ghostyolo.network.outputs import classifier_output
from ghostyolo.syntax.options import Options
from ghostyolo.training.recipe import MIXTURES, mixture
from ghostyolo.training.schedule import learning_rate

# Keys that change training in a way that is not written here, with the value that is.
_NET_LIMITS = {
    "ema_alpha": 0.0, "dynamic_minibatch": 0, "weights_reject_freq": 0, "equidistant_point": 0,
    "badlabels_rejection_percentage": 0.0, "num_sigmas_reject_badlabels": 0.0, "contrastive": 0,
    "unsupervised": 0, "attention": 0, "adversarial_lr": 0.0, "track": 0, "time_steps": 1,
}  # fmt: skip
_LAYER_LIMITS = {
    "onlyforward": 0, "dont_update": 0, "burnin_update": 0, "train_only_bn": 0,
    "assisted_excitation": 0.0, "sway": 0, "rotate": 0, "stretch": 0,
    "stretch_sway": 0, "grad_centr": 0, "xnor": 0, "binary": 0, "cbn": 0, "dropblock": 0,
    "maxpool_zero_nonmax": 0, "map": "",
}  # fmt: skip
# What Darknet overlooks in the training of classifiers, and what its classifiers end with.
_PICTURE_LIMITS = {"letter_box": 0, "gaussian_noise": 0}
_END_LIMITS: dict[type[Layer], dict[str, Any]] = {
    Softmax: {"groups": 1, "tree": "", "spatial": 0, "noloss": 0},
    Cost: {"type": "sse", "scale": 1.0, "ratio": 0.0},
}


def check_detector(network: Network) -> None:
    """Raise `CfgError` for what the training of a detector cannot honour."""
    heads_of(network)
    if network.options.cutmix and not network.options.mosaic:
        message = "cutmix=1 without mosaic=1 is for classifiers"
        raise CfgError(message, section="net", hint="run with --set net.cutmix=0")
    if network.options.mixup not in (0, 1) and not network.options.mosaic:
        message = f"mixup={network.options.mixup} is for classifiers"
        hint = "run with --set net.mixup=1, or --set net.mosaic=1"
        raise CfgError(message, section="net", hint=hint)
    _check_counters(network)
    _check(network)


def _check_counters(network: Network) -> None:
    """Refuse `counters_per_class` that are not one for each class."""
    for node in network:
        if isinstance(node.layer, Anchored) and (counters := node.layer.counters_per_class):
            kind, classes = node.layer.kind, node.layer.classes
            if len(counters) != classes:
                message = f"counters_per_class has {len(counters)} numbers for {classes} classes"
                hint = "give the number of boxes of each class, or leave it out"
                raise CfgError(message, span=node.span, section=kind, hint=hint)


def check_classifier(network: Network) -> None:
    """Raise `CfgError` for what the training of a classifier cannot honour."""
    classifier_output_of(network)
    options = network.options
    if not 0 <= mixture(network) < len(MIXTURES):
        message, hint = f"mixup={options.mixup}", "run with --set net.mixup=1, or 2 for cutmix"
        raise CfgError(message, section="net", hint=hint)
    if not 0 <= options.label_smooth_eps < 1:
        message = f"label_smooth_eps={options.label_smooth_eps} is not in 0..1"
        raise CfgError(message, section="net", hint="run with --set net.label_smooth_eps=0.1")
    if not 0 < options.min_crop <= options.max_crop:
        message = f"min_crop={options.min_crop} max_crop={options.max_crop}"
        hint = "set the sizes, in pixels, that the shorter side is resized to, the least first"
        raise CfgError(message, section="net", hint=hint)
    _refuse(options, _PICTURE_LIMITS, None, "it is for detectors: run with --set net.{key}={value}")
    for node in network:
        for kind, limits in _END_LIMITS.items():
            if isinstance(node.layer, kind):
                _refuse(node.layer, limits, node.span, "set {key}={value} for training")
    _check(network)


def check_teacher(network: Network, teacher: Network) -> None:
    """Raise `CfgError` for a teacher whose answers are not of the kind that the network gives."""
    for own, other in zip_longest(_answers(network), _answers(teacher), fillvalue="nothing"):
        if own != other:
            message = f"the teacher answers {other}, the network {own}"
            hint = "teach by a network with the same heads, such as the one it was made from"
            raise CfgError(message, hint=hint)


def _answers(network: Network) -> Iterator[str]:
    """Tell of each result of a network what its numbers mean."""
    if end := classifier_output(network):
        yield f"one of {end.classes} classes"
    for node in network:
        if isinstance(node.layer, Yolo):
            head, (_, h, w) = node.layer, network.shape(node.inputs[0])
            kind = f"scale_x_y={head.scale_x_y:g} new_coords={head.new_coords}"
            anchors = " ".join(f"{side_w:g},{side_h:g}" for side_w, side_h in head.own_pairs)
            yield f"{h}x{w} cells of anchors {anchors}, {head.classes} classes, {kind}"


def _check(network: Network) -> None:
    """Raise `CfgError` for what no training can honour."""
    for node in network:
        if not node.layer.trained:
            message = "is computed in inference only"
            hint = "train a network with [yolo] heads or a [softmax]"
            raise CfgError(message, span=node.span, section=node.layer.kind, hint=hint)
    if network.options.max_batches < 1:
        raise CfgError("max_batches=0", section="net", hint="set it, or give --epochs")
    try:
        learning_rate(network.options, network.options.max_batches, np.random.default_rng(0))
    except ValueError as error:
        raise CfgError(str(error), section="net") from None
    _refuse(network.options, _NET_LIMITS, None, "run with --set net.{key}={value}")
    for node in network:
        clip = {} if node.layer.clipped else {"clip": 0.0}
        limits = {**_LAYER_LIMITS, **clip}
        _refuse(node.layer, limits, node.span, "set {key}={value} for training")
    _check_stops(network)
    _check_statistics(network)


def _check_statistics(network: Network) -> None:
    """Refuse batch norm where each channel has a single number in training: it has no variance."""
    frozen = max((node.index for node in network if node.layer.stopbackward), default=-1)
    if network.options.mini_batch > 1:
        return
    for node in list(network)[frozen + 1 :]:
        names = [name for name, _ in node.layer.weights(*network.input_shapes(node))]
        if node.shape.size == node.shape.c and any(name.endswith("running_var") for name in names):
            message = "batch norm of 1x1 maps cannot be trained with one picture at a time"
            hint = "give --batch 2 or more, or fewer subdivisions"
            raise CfgError(message, span=node.span, section=node.layer.kind, hint=hint)


def _check_stops(network: Network) -> None:
    """Refuse a `stopbackward` for a while, and one that leaves nothing to train."""
    stops = [node for node in network if node.layer.stopbackward]
    for node in stops:
        if node.layer.stopbackward != 1:
            message = f"stopbackward={node.layer.stopbackward} cannot be honoured in training"
            hint = "set stopbackward=1, which stops there for good, or 0"
            raise CfgError(message, span=node.span, section=node.layer.kind, hint=hint)
    if not stops:
        return
    last = stops[-1]
    rest = list(network)[last.index + 1 :]
    if not any(node.layer.weights(*network.input_shapes(node)) for node in rest):
        message, hint = "stopbackward=1 leaves nothing to train", "set it in a layer further up"
        raise CfgError(message, span=last.span, section=last.layer.kind, hint=hint)


def _refuse(options: Options, limits: dict[str, Any], span: Span | None, hint: str) -> None:
    known = options.keys()
    for key, value in limits.items():
        if key in known and getattr(options, key) != value:
            message = f"{key}={getattr(options, key)} cannot be honoured in training"
            section = options.kind if isinstance(options, Layer) else "net"
            text = hint.format(key=key, value=value)
            raise CfgError(message, span=span, section=section, hint=text)

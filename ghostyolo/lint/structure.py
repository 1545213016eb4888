"""Rules about layers, their inputs and their readers.

Source of what Darknet does: AlexeyAB/darknet src/parser.c, src/shortcut_layer.c,
src/activations.c, src/dropout_layer.c.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from ghostyolo.errors import Diagnostic
from ghostyolo.layers import Head, LayerError
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.dropout import Dropout
from ghostyolo.layers.maxpool import Maxpool
from ghostyolo.layers.route import Route
from ghostyolo.layers.shortcut import Shortcut
from ghostyolo.lint.parsed_cfg import ParsedCfg, layers, place
from ghostyolo.network import Node

_ZERO_ON_CPU = ("relu6",)


def channels(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check that all inputs of a sum have the same number of channels."""
    for node, _ in layers(cfg, Shortcut):
        depth, *others = (shape.c for shape in cfg.network.input_shapes(node))
        for other in others:
            if other != depth:
                message = f"adds {other} channels to {depth}"
                hint = f"Darknet adds the first {min(other, depth)}; give both the same filters"
                yield cfg.warn("shortcut-channels", node, "from", message, hint)


def antialiasing(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check references to a layer with antialiasing: Darknet takes its size before the stride."""
    found: Iterator[tuple[Node, Convolutional | Maxpool]]
    found = chain(layers(cfg, Convolutional), layers(cfg, Maxpool))
    for node, layer in found:
        if not layer.antialiasing or (layer.stride_x, layer.stride_y) == (1, 1):
            continue
        for reader in cfg.readers.get(node.index, []):
            if "data" in reader.layer.refs.values():
                key = next(iter(reader.layer.refs))
                where = place(node.span)
                message = f"reads a layer with antialiasing={layer.antialiasing} ({where})"
                hint = "Darknet takes its size before the stride; read another layer"
                yield cfg.warn("antialias-source", reader, key, message, hint)


def unused(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check that every output is read, and that no layer reads the boxes of a head."""
    if not cfg.complete:
        return
    for node in cfg.network:
        above = cfg.network[node.inputs[0]] if node.inputs[0] >= 0 else node
        if isinstance(above.layer, Head) and node.layer.takes_previous and node.layer.has_output:
            message = f"reads the boxes of [{above.layer.kind}] ({place(above.span)})"
            hint = "insert a [route] to a feature map"
            yield cfg.warn("after-head", node, "", message, hint)
        ends = node.index == len(cfg.network) - 1 or not node.layer.has_output
        if not (ends or isinstance(node.layer, Head) or cfg.readers.get(node.index)):
            hint = f"refer to it as layer {node.index}, or delete the section"
            yield cfg.warn("unused-output", node, "", "no layer reads its output", hint)


def dropout(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check for other readers of the layer above a dropout, which Darknet computes in place."""
    for node, _ in layers(cfg, Dropout):
        for reader in cfg.readers.get(node.inputs[0], []):
            if reader is not node:
                message = f"reads the layer above a [dropout] ({place(node.span)})"
                hint = f"Darknet drops these values, too; read layer {node.index} or an earlier one"
                key = next(iter(reader.layer.refs), "")
                yield cfg.warn("dropout-source", reader, key, message, hint)


def convolutions(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check for keys of a convolution that contradict each other."""
    for node, layer in layers(cfg, Convolutional):
        if layer.pad and layer.padding not in (0, layer.pad_px):
            message = f"padding={layer.padding} with pad={layer.pad}"
            hint = f"pad takes {layer.pad_px} pixels and padding is not read; delete one of them"
            yield cfg.warn("padding-ignored", node, "padding", message, hint)
        if layer.size % 2 == 0 and layer.pad:
            message = f"size={layer.size} with pad=1 pads {layer.pad_px} pixels on each side"
            hint = "the map grows by one pixel; use an odd size, or pad=0"
            yield cfg.warn("even-kernel", node, "size", message, hint)
        if layer.xnor and layer.groups > 1:
            message, hint = f"groups={layer.groups} with xnor=1", "xnor has one group; set groups=1"
            yield cfg.warn("xnor-groups", node, "groups", message, hint)


def routes(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check for groups of several inputs: each input is sliced, not their concatenation."""
    for node, layer in layers(cfg, Route):
        if layer.groups > 1 and len(node.inputs) > 1:
            message = f"groups={layer.groups} of {len(node.inputs)} layers"
            hint = "each input is sliced separately; to slice all, join them in a [route] above"
            yield cfg.warn("route-groups", node, "groups", message, hint)


def activations(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check for missing activations, and for activations that Darknet computes as zero."""
    for node in cfg.network:
        layer, name = node.layer, getattr(node.layer, "activation", "")
        item = layer.keys().get("activation")
        if item and item.default == "logistic" and not cfg.option(node, "activation"):
            hint = "write the activation that is meant; OpenCV's default is linear"
            edit = cfg.set(node, "activation", "logistic")
            message = "no activation, Darknet's default is logistic"
            yield cfg.warn("default-activation", node, "activation", message, hint, edit)
        if name in _ZERO_ON_CPU:
            message = f"activation={name} is zero everywhere in Darknet's CPU build"
            hint = "use relu, or run it on a GPU or here only"
            yield cfg.warn("zero-activation", node, "activation", message, hint)
        elif name in layer.zero_activations:
            message = f"activation={name} is zero everywhere in Darknet's [{layer.kind}]"
            hint = "use it in a [convolutional], or use another activation"
            yield cfg.warn("zero-activation", node, "activation", message, hint)


def inference(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check for layers that this program cannot compute."""
    for node in cfg.network:
        try:
            node.layer.check_inference(*cfg.network.input_shapes(node))
        except LayerError as error:
            yield cfg.error(error.rule, node, "", str(error), error.hint)


CHECKS = (inference, channels, antialiasing, unused, dropout, convolutions, routes, activations)

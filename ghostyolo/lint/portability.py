"""Rules about features that other programs reject or interpret differently.

Source: OpenCV 4.14 modules/dnn/src/darknet/darknet_io.cpp, run section by section and key by key
against ours; hank-ai/darknet src-lib/darknet_cfg.cpp CfgFile::read, create_network.
"""

from __future__ import annotations

from collections.abc import Iterator

from ghostyolo.errors import Diagnostic, Span
from ghostyolo.layers import Layer
from ghostyolo.layers.base import SILENT_DIFFERENCE
from ghostyolo.lint.parsed_cfg import ParsedCfg
from ghostyolo.network import Node
from ghostyolo.network.graph import Placeholder

_OPENCV_ACTIVATIONS = ("linear", "relu", "leaky", "swish", "mish", "logistic", "tanh")


def opencv(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Note sections and activations that OpenCV's importer rejects, once for each."""
    if cfg.section(None).name != "net":
        message = f"OpenCV's importer has no [{cfg.section(None).name}]"
        yield cfg.note("opencv-section", None, "", message, "write [net]")
    layers = list(reversed(_layers(cfg)))
    for name, node in {cfg.section(node).name: node for node in layers}.items():
        known = node.layer.opencv is not None
        if name != node.layer.kind or not known:
            hint = f"write [{node.layer.kind}]" if known else "export the network another way"
            message = f"OpenCV's importer has no [{name}]"
            yield cfg.note("opencv-section", node, "", message, hint)
    for name, node in {
        getattr(node.layer, "activation", "linear"): node for node in layers
    }.items():
        if name not in _OPENCV_ACTIVATIONS:
            message = f"OpenCV's importer has no activation={name}"
            hint = f"it has {', '.join(_OPENCV_ACTIVATIONS)}"
            yield cfg.note("opencv-activation", node, "activation", message, hint)


def opencv_keys(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Note keys that OpenCV's importer ignores or requires, once for each."""
    said: set[str] = set()
    for node in _layers(cfg):
        for key, message, hint in _ignored(cfg, node):
            if message not in said:
                said.add(message)
                yield cfg.note("opencv-key", node, key, message, hint)
        for key in node.layer.opencv.needs if node.layer.opencv else ():
            message = f"OpenCV's importer requires {key} in [{node.layer.kind}]"
            if message not in said and not cfg.option(node, key):
                said.add(message)
                yield cfg.note("opencv-missing", node, "", message, f"write {key}=")


def _ignored(cfg: ParsedCfg, node: Node) -> Iterator[tuple[str, str, str]]:
    """Yield key, message and hint for everything that OpenCV computes differently."""
    layer = node.layer
    for key in layer.opencv.ignores if layer.opencv else ():
        if key in dict(node.refs) or (cfg.option(node, key) and _has_effect(layer, key)):
            yield key, f"OpenCV's importer ignores or refuses {key}", SILENT_DIFFERENCE
    yield from layer.opencv_differences(*cfg.network.input_shapes(node))


def _has_effect(layer: Layer, key: str) -> bool:
    """Return whether the value of a key has an effect."""
    idle = getattr(layer, "stride", 1) if key.startswith("stride") else layer.keys()[key].default
    return bool(getattr(layer, key) != idle)


def hank(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Note sections and comments that hank-ai's fork of Darknet rejects."""
    for node in {node.layer.kind: node for node in reversed(_layers(cfg))}.values():
        if not node.layer.hank_ai:
            message = f"hank-ai's Darknet has no [{cfg.section(node).name}]"
            yield cfg.note("hank-section", node, "", message, "export the network another way")
    for number, line in enumerate(cfg.text.split("\n"), start=1):
        if line.lstrip().startswith(";"):
            span = Span(cfg.section(None).span.path, number)
            message, hint = "hank-ai's Darknet has no comments with ';'", "begin it with '#'"
            yield Diagnostic("note", span, "", message, hint, "hank-syntax")
            return


def _layers(cfg: ParsedCfg) -> list[Node]:
    return [node for node in cfg.network if not isinstance(node.layer, Placeholder)]


CHECKS = (opencv, opencv_keys, hank)

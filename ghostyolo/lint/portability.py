"""Notes on what other readers refuse or read otherwise.

Source: OpenCV 4.14 modules/dnn/src/darknet/darknet_io.cpp, run section by section and key by key
against ours; hank-ai/darknet src-lib/darknet_cfg.cpp CfgFile::read, create_network.
"""

from __future__ import annotations

from collections.abc import Iterator

from ghostyolo.errors import Diagnostic, Span
from ghostyolo.layers import Layer
from ghostyolo.layers.base import SILENT_DIFFERENCE
from ghostyolo.lint.source import Source
from ghostyolo.network import Node
from ghostyolo.network.graph import Assumed

_OPENCV_ACTIVATIONS = ("linear", "relu", "leaky", "swish", "mish", "logistic", "tanh")


def opencv(source: Source) -> Iterator[Diagnostic]:
    """What OpenCV's importer refuses, once for each section name and activation."""
    if source.section(None).name != "net":
        message = f"OpenCV's importer has no [{source.section(None).name}]"
        yield source.note("opencv-section", None, "", message, "write [net]")
    layers = list(reversed(_layers(source)))
    for name, node in {source.section(node).name: node for node in layers}.items():
        known = node.layer.opencv is not None
        if name != node.layer.kind or not known:
            hint = f"write [{node.layer.kind}]" if known else "export the network another way"
            message = f"OpenCV's importer has no [{name}]"
            yield source.note("opencv-section", node, "", message, hint)
    for name, node in {
        getattr(node.layer, "activation", "linear"): node for node in layers
    }.items():
        if name not in _OPENCV_ACTIVATIONS:
            message = f"OpenCV's importer has no activation={name}"
            hint = f"it has {', '.join(_OPENCV_ACTIVATIONS)}"
            yield source.note("opencv-activation", node, "activation", message, hint)


def opencv_keys(source: Source) -> Iterator[Diagnostic]:
    """Keys that OpenCV's importer overlooks or insists on, once for each."""
    said: set[str] = set()
    for node in _layers(source):
        for key, message, hint in _overlooked(source, node):
            if message not in said:
                said.add(message)
                yield source.note("opencv-key", node, key, message, hint)
        for key in node.layer.opencv.needs if node.layer.opencv else ():
            message = f"OpenCV's importer insists on {key} in [{node.layer.kind}]"
            if message not in said and not source.option(node, key):
                said.add(message)
                yield source.note("opencv-missing", node, "", message, f"write {key}=")


def _overlooked(source: Source, node: Node) -> Iterator[tuple[str, str, str]]:
    """Yield key, message and hint of what OpenCV computes otherwise."""
    layer = node.layer
    for key in layer.opencv.ignores if layer.opencv else ():
        if key in dict(node.refs) or (source.option(node, key) and _counts(layer, key)):
            yield key, f"OpenCV's importer overlooks or refuses {key}", SILENT_DIFFERENCE
    yield from layer.opencv_differences(*source.network.input_shapes(node))


def _counts(layer: Layer, key: str) -> bool:
    """Return whether a key has another value than the one that changes nothing."""
    idle = getattr(layer, "stride", 1) if key.startswith("stride") else layer.keys()[key].default
    return bool(getattr(layer, key) != idle)


def hank(source: Source) -> Iterator[Diagnostic]:
    """What hank-ai's fork of Darknet refuses."""
    for node in {node.layer.kind: node for node in reversed(_layers(source))}.values():
        if not node.layer.hank_ai:
            message = f"hank-ai's Darknet has no [{source.section(node).name}]"
            yield source.note("hank-section", node, "", message, "run it in AlexeyAB's Darknet")
    for number, line in enumerate(source.text.split("\n"), start=1):
        if line.lstrip().startswith(";"):
            span = Span(source.section(None).span.path, number)
            message, hint = "hank-ai's Darknet takes no ';' for a comment", "begin it with '#'"
            yield Diagnostic("note", span, "", message, hint, "hank-syntax")
            return


def _layers(source: Source) -> list[Node]:
    return [node for node in source.network if not isinstance(node.layer, Assumed)]


RULES = (opencv, opencv_keys, hank)

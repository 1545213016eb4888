"""Notes on what other readers refuse or read otherwise.

Source: OpenCV 4.14 modules/dnn/src/darknet/darknet_io.cpp, run section by section and key by key
against ours; hank-ai/darknet src-lib/darknet_cfg.cpp CfgFile::read, create_network.
"""

from __future__ import annotations

from collections.abc import Iterator

from ghostyolo.errors import Diagnostic, Span
from ghostyolo.layers import Layer
from ghostyolo.layers.upsample import Upsample
from ghostyolo.lint.source import Source
from ghostyolo.network import Node
from ghostyolo.network.graph import Assumed

_OPENCV_SECTIONS = frozenset({
    "convolutional", "connected", "maxpool", "avgpool", "softmax", "route", "dropout", "cost",
    "crop", "reorg", "region", "shortcut", "scale_channels", "sam", "upsample", "yolo",
})  # fmt: skip
_OPENCV_ACTIVATIONS = ("linear", "relu", "leaky", "swish", "mish", "logistic", "tanh")
# Keys that OpenCV refuses or overlooks, where they are not at their default.
_OPENCV_OVERLOOKS = {
    "convolutional": (
        "dilation", "stride_x", "stride_y", "antialiasing", "share_index", "xnor", "flipped"
    ),
    "shortcut": ("weights_type",),
    "connected": ("batch_normalize",),
    "maxpool": ("stride_x", "stride_y", "antialiasing", "maxpool_depth"),
    "upsample": ("scale",),
    "scale_channels": ("scale_wh",),
    "reorg": ("reverse",),
    "softmax": ("groups", "temperature", "tree"),
}  # fmt: skip
_OPENCV_NEEDS = {
    "convolutional": ("filters", "size"),
    "maxpool": ("size", "stride"),
    "upsample": ("stride",),
    "yolo": ("mask", "anchors", "num", "classes"),
}
_HANK_LACKS = frozenset({
    "batchnorm", "activation", "local", "crop", "normalization", "detection", "implicit", "reorg",
    "empty",
})  # fmt: skip


def opencv(source: Source) -> Iterator[Diagnostic]:
    """What OpenCV's importer refuses, once for each section name and activation."""
    if source.section(None).name != "net":
        message = f"OpenCV's importer has no [{source.section(None).name}]"
        yield source.note("opencv-section", None, "", message, "write [net]")
    layers = list(reversed(_layers(source)))
    for name, node in {source.section(node).name: node for node in layers}.items():
        if name not in _OPENCV_SECTIONS:
            known = node.layer.kind in _OPENCV_SECTIONS
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
        for key in _OPENCV_NEEDS.get(node.layer.kind, ()):
            message = f"OpenCV's importer insists on {key} in [{node.layer.kind}]"
            if message not in said and not source.option(node, key):
                said.add(message)
                yield source.note("opencv-missing", node, "", message, f"write {key}=")


def _overlooked(source: Source, node: Node) -> Iterator[tuple[str, str, str]]:
    """Yield key, message and hint of what OpenCV computes otherwise."""
    layer, hint = node.layer, "it computes something else without a word"
    for key in _OPENCV_OVERLOOKS.get(layer.kind, ()):
        if key in dict(node.refs) or (source.option(node, key) and _counts(layer, key)):
            yield key, f"OpenCV's importer overlooks or refuses {key}", hint
    if layer.kind == "shortcut" and len(node.inputs) > 2:
        yield "from", "OpenCV's importer adds one layer of from", hint
    if layer.kind == "route" and len(node.inputs) > 1 and getattr(layer, "groups", 1) > 1:
        yield "groups", "OpenCV's importer joins before it slices", hint
    if isinstance(layer, Upsample) and layer.stride < 0:
        yield "stride", "OpenCV's importer has no negative stride", "use [maxpool]"


def _counts(layer: Layer, key: str) -> bool:
    """Return whether a key has another value than the one that changes nothing."""
    idle = getattr(layer, "stride", 1) if key.startswith("stride") else layer.keys()[key].default
    return bool(getattr(layer, key) != idle)


def hank(source: Source) -> Iterator[Diagnostic]:
    """What hank-ai's fork of Darknet refuses."""
    for name, node in {node.layer.kind: node for node in reversed(_layers(source))}.items():
        if name in _HANK_LACKS:
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

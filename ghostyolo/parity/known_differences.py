"""Known differences: what other programs compute instead of a layer, or in every layer.

Add a new one as a row of `MODULES`: its name, the classes of modules that may have it, and a
function that changes a copy of such a module or returns another module for its place.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ghostyolo.errors import CfgError
from ghostyolo.layers import Layer, LayerError, Shape
from ghostyolo.model.model import Model
from ghostyolo.network import IMAGE, Node
from ghostyolo.ops.arranging import Upsample
from ghostyolo.ops.convolution import EPS
from ghostyolo.ops.pooling import Maxpool
from ghostyolo.syntax.values import write

NORMS, CONV, LEAKY = (nn.BatchNorm1d, nn.BatchNorm2d), (nn.Conv2d,), (nn.LeakyReLU,)
MAXPOOL, UPSAMPLE = (Maxpool,), (Upsample,)
EPSILONS = (1e-6, 1e-3, 1e-4, 0.0)  # OpenCV, Keras, some ports of YOLO, none
SLOPES = (0.01, 0.2, 0.3, 0.0)  # torch, pix2pix, Keras, ReLU
IMPOSSIBLE = (
    LayerError, CfgError, RuntimeError, ValueError, ZeroDivisionError, NotImplementedError,
)  # fmt: skip
Compute = Callable[[], Tensor]
Change = Callable[[Any], nn.Module | None]  # None if a module cannot have the difference


def _with(module: nn.Module, **attributes: Any) -> nn.Module:
    for name, value in attributes.items():
        setattr(module, name, value)
    return module


def _max_pool(pool: Maxpool, before: int, outside: float) -> nn.Module:
    pad = nn.ConstantPad2d((before, pool.padding - before) * 2, outside)
    return nn.Sequential(pad, nn.MaxPool2d(pool.size, pool.stride))


def _bilinear(upsample: Upsample) -> nn.Module:
    larger = nn.Upsample(scale_factor=float(max(1, upsample.stride)), mode="bilinear")
    return nn.Sequential(larger, Upsample(1, upsample.scale))


def _rotated(conv: nn.Conv2d) -> nn.Module | None:
    weight = nn.Parameter(conv.weight.flip(2, 3), requires_grad=False)
    return _with(conv, weight=weight) if max(conv.kernel_size) > 1 else None


def _same_padding(conv: nn.Conv2d) -> nn.Module | None:
    if max(conv.stride) == 1 or conv.kernel_size[0] == 1:
        return None
    total = conv.kernel_size[0] - conv.stride[0]  # the smaller half is left and above
    pad = nn.ZeroPad2d((total // 2, total - total // 2) * 2)
    return nn.Sequential(pad, _with(conv, padding=(0, 0)))


MODULES: tuple[tuple[str, tuple[type, ...], Change], ...] = (
    *(
        (f"batch-norm eps {eps:g} instead of {EPS:g}", NORMS, partial(_with, eps=eps))
        for eps in EPSILONS
    ),
    ("batch norm by the statistics of the input (training mode)", NORMS,
     partial(_with, track_running_stats=False, running_mean=None, running_var=None)),
    ("no batch norm", NORMS, lambda norm: nn.Identity()),
    *(
        (f"leaky slope {slope:g} instead of 0.1", LEAKY, partial(_with, negative_slope=slope))
        for slope in SLOPES
    ),
    ("pixels outside count as 0 in the maximum", MAXPOOL,
     lambda pool: _max_pool(pool, pool.padding // 2, 0)),
    ("the odd pixel of padding left and above instead of right and below", MAXPOOL,
     lambda pool: _max_pool(pool, pool.padding - pool.padding // 2, -torch.inf)),
    ("bilinear upsampling instead of nearest", UPSAMPLE, _bilinear),
    ("the kernel rotated by 180 degrees (true convolution)", CONV, _rotated),
    ("padding as TensorFlow's SAME, the odd pixel right and below", CONV, _same_padding),
)  # fmt: skip
INPUTS: tuple[tuple[str, Callable[[Tensor], Tensor]], ...] = (
    ("the input's channels in reversed order (BGR)", lambda x: x.flip(1)),
    ("the input as 0 to 255 instead of 0 to 1", lambda x: x * 255),
    ("the input divided by 255 once more", lambda x: x / 255),
)


def of_layer(model: Model, node: Node, inputs: tuple[Tensor, ...]) -> Iterator[tuple[str, Compute]]:
    """Yield the differences that a layer may have, each with a function for its output."""
    module, shapes = model.layers[node.index], model.network.input_shapes(node)
    for text, other in _other_keys(model.network.computed_layers()[node.index], module, shapes):
        yield text, partial(other, *inputs)
    for text, other in _changed(module):
        yield text, partial(other, *inputs)
    if len(inputs) > 1:
        yield "its inputs in reversed order", partial(module, *inputs[::-1])
    for count in range(1, len(inputs)):
        which = "first" if count == 1 else f"first {count}"
        yield f"the {which} of its {len(inputs)} inputs alone", partial(module, *inputs[:count])
    if IMAGE in node.inputs:
        yield from ((text, partial(module, change(inputs[0]))) for text, change in INPUTS)


def of_network(model: Model, node: Node, image: Tensor) -> Iterator[tuple[str, Compute]]:
    """Yield the differences that a network may have, each with a function for a node's output."""

    def output(model: Any, image: Tensor, index: int = node.index) -> Tensor:
        return model.run(image, frozenset({index}))[index]

    for text, change in INPUTS:
        yield text, partial(output, model, change(image))
    for text, other in _changed(model):
        yield f"{text}, in every layer", partial(output, other, image)
    if node.inputs[0] != IMAGE:
        text = f"the peer's output is the input of [{node.layer.kind}]"
        yield text, partial(output, model, image, node.inputs[0])


def _other_keys(
    layer: Layer, module: nn.Module, shapes: tuple[Shape, ...]
) -> Iterator[tuple[str, nn.Module]]:
    """Yield a layer's module with one key set to another choice, to its default, or to 1.

    The module has the same tensors. Layers that need other tensors, or that are impossible, are
    left out.
    """
    for name, item in layer.keys().items():
        own = getattr(layer, name)
        values = [*item.metadata.get("choices", ()), item.default]
        values += [1] if own == 0 and isinstance(own, int) else []
        for value in (value for value in values if value != own):
            other = layer.changed(**{name: value})
            text = f"{name}={write(getattr(other, name))} instead of {write(own)}"
            with suppress(*IMPOSSIBLE):
                other.shape(*shapes)
                made = other.module(*shapes).eval()
                found = made.load_state_dict(module.state_dict(), strict=False, assign=True)
                if getattr(other, name) != own and not found.missing_keys:
                    yield text, made


def _changed(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield for each of `MODULES` a copy that has it wherever possible; tensors are shared."""
    for text, kinds, change in MODULES:
        tensors = {id(t): t for t in (*module.parameters(), *module.buffers())}
        whole = nn.ModuleList([copy.deepcopy(module, tensors)])
        places = [
            (parent, name, other)
            for parent in whole.modules()
            for name, child in parent.named_children()
            if type(child) in kinds and (other := change(child)) is not None
        ]
        for parent, name, other in places:
            setattr(parent, name, other)
        if places:
            yield text, whole[0]

"""What another program may have computed in place of a layer, or throughout a network.

A suspect is tried: it is named only where computing it gives what the other program gave.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostyolo import ops
from ghostyolo.errors import CfgError
from ghostyolo.layers import Layer, LayerError, Shape
from ghostyolo.syntax.values import write

Compute = Callable[[], Tensor]
Change = Callable[[nn.Module], nn.Module | None]  # a module's replacement; None where it has none
EPSILONS = (1e-6, 1e-3, 1e-4, 0.0)  # OpenCV, Keras, some ports of YOLO, none
SLOPES = (0.01, 0.2, 0.3, 0.0)  # torch, pix2pix, Keras, ReLU


def of_layer(
    layer: Layer, module: nn.Module, shapes: tuple[Shape, ...], inputs: tuple[Tensor, ...]
) -> Iterator[tuple[str, Compute]]:
    """Yield what may stand in place of a layer: in words, and the function that computes it."""
    for words, other in _other_options(layer):
        changed = _module(other, module, shapes)
        if changed is not None:
            yield words, partial(changed, *inputs)
    for words, change in changes():
        if (altered := apply(module, change)) is not None:
            yield words, partial(altered, *inputs)
    if len(inputs) > 1:
        yield "its inputs in reversed order", partial(module, *inputs[::-1])
    for count in range(1, len(inputs)):
        which = "first" if count == 1 else f"first {count}"
        yield f"the {which} of its {len(inputs)} inputs alone", partial(module, *inputs[:count])


def of_image(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield inputs that the other program may have made of the one it got."""
    yield "the input's channels in reversed order (BGR)", x.flip(1)
    yield "the input as 0 to 255 instead of 0 to 1", x * 255
    yield "the input divided by 255 once more", x / 255


def changes() -> Iterator[tuple[str, Change]]:
    """Yield what may differ in modules, whatever the cfg says."""
    for eps in EPSILONS:
        yield f"batch-norm eps {eps:g} instead of {ops.EPS:g}", _setting(_NORMS, "eps", eps)
    yield "batch norm by the statistics of the input (training mode)", _training
    yield "no batch norm", lambda m: nn.Identity() if isinstance(m, _NORMS) else None
    for slope in SLOPES:
        words = f"leaky slope {slope:g} instead of 0.1"
        yield words, _setting(nn.LeakyReLU, "negative_slope", slope)
    yield "pixels outside count as 0 in the maximum", _as(ops.Maxpool, _ZeroPadded)
    yield (
        "the odd pixel of padding left and above instead of right and below",
        _as(ops.Maxpool, _OddFirst),
    )
    yield "bilinear upsampling instead of nearest", _as(ops.Upsample, _Bilinear)
    yield "the kernel turned by 180 degrees (true convolution)", _kernel((2, 3))
    yield "padding as TensorFlow's SAME, the odd pixel right and below", _same_padding


def apply(module: nn.Module, change: Change) -> nn.Module | None:
    """Return a copy with a change applied wherever it can be, None where it cannot.

    Tensors that stay as they are are shared.
    """
    shared: dict[int, Any] = {id(t): t for t in (*module.parameters(), *module.buffers())}
    changed, hit = _applied(copy.deepcopy(module, shared), change)
    return changed if hit else None


def _applied(module: nn.Module, change: Change) -> tuple[nn.Module, bool]:
    replacement = change(module)
    if replacement is not None:
        return replacement, True
    hits = False
    for name, child in module.named_children():
        changed, hit = _applied(child, change)
        setattr(module, name, changed)
        hits |= hit
    return module, hits


def _other_options(layer: Layer) -> Iterator[tuple[str, Layer]]:
    """Yield the layer with one key taken otherwise: another word, ignored, or switched on."""
    for name, item in layer.keys().items():
        own = getattr(layer, name)
        values = [*item.metadata.get("choices", ()), item.default]
        values += [1] if own == 0 and isinstance(own, int) else []
        for value in values:
            if value == own:
                continue
            other = layer.changed(**{name: value})
            taken = getattr(other, name)
            if taken != own:
                yield f"{name}={write(taken)} instead of {write(own)}", other


def _module(layer: Layer, like: nn.Module, shapes: tuple[Shape, ...]) -> nn.Module | None:
    """Return a layer's module with the tensors of another; None where it cannot have them."""
    try:
        layer.shape(*shapes)
        module = layer.module(*shapes)
        missing = module.load_state_dict(like.state_dict(), strict=False).missing_keys
    except (LayerError, CfgError, RuntimeError, ValueError, ZeroDivisionError, NotImplementedError):
        return None
    device = next((t.device for t in like.state_dict().values()), torch.device("cpu"))
    return None if missing else module.to(device).eval()


_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def _setting(kinds: Any, name: str, value: float) -> Change:
    def change(module: nn.Module) -> nn.Module | None:
        if not isinstance(module, kinds):
            return None
        setattr(module, name, value)
        return module

    return change


def _as(kind: type[nn.Module], other: type[nn.Module]) -> Change:
    def change(module: nn.Module) -> nn.Module | None:
        if type(module) is not kind:
            return None
        module.__class__ = other
        return module

    return change


def _training(module: nn.Module) -> nn.Module | None:
    if not isinstance(module, _NORMS):
        return None
    module.track_running_stats, module.running_mean, module.running_var = False, None, None
    return module


def _kernel(axes: tuple[int, ...]) -> Change:
    def change(module: nn.Module) -> nn.Module | None:
        if not isinstance(module, nn.Conv2d) or max(module.kernel_size) == 1:
            return None
        module.weight = nn.Parameter(module.weight.flip(axes), requires_grad=False)
        return module

    return change


def _same_padding(module: nn.Module) -> nn.Module | None:
    """The total of the padding is what the stride needs, its smaller half left and above."""
    if not isinstance(module, nn.Conv2d) or max(module.stride) == 1 or module.kernel_size[0] == 1:
        return None
    total = module.kernel_size[0] - module.stride[0]
    module.padding = (0, 0)
    before = total // 2
    pad = nn.ZeroPad2d((before, total - before, before, total - before))
    return nn.Sequential(pad, module)


class _ZeroPadded(ops.Maxpool):
    def forward(self, x: Tensor) -> Tensor:
        before = self.padding // 2
        after = self.padding - before
        x = F.pad(x, (before, after, before, after))
        return F.max_pool2d(x, self.size, self.stride)


class _OddFirst(ops.Maxpool):
    def forward(self, x: Tensor) -> Tensor:
        after = self.padding // 2
        before = self.padding - after
        x = F.pad(x, (before, after, before, after), value=-torch.inf)
        return F.max_pool2d(x, self.size, self.stride)


class _Bilinear(ops.Upsample):
    def forward(self, x: Tensor) -> Tensor:
        factor = float(max(1, self.stride))
        return self.scale * F.interpolate(x, scale_factor=factor, mode="bilinear")

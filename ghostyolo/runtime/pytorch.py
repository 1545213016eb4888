"""A network in torch: batch norm folded, channels last, no map kept after its last use.

Weights that are packed once for oneDNN (`_fused`) take 8 to 9 % off the time of `detect --runtime
torch`, measured in turns for the 80-class GhostNet detector at 416x416 on one thread.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ghostyolo.distributed import pick_device
from ghostyolo.errors import DataError, Span
from ghostyolo.layers import Head, Shape
from ghostyolo.model.compute import Call, calls, run
from ghostyolo.model.folded import folded_layer
from ghostyolo.model.model import Model
from ghostyolo.network import Network, metadata
from ghostyolo.network.metadata import TORCHSCRIPT_EXTRA, Metadata
from ghostyolo.ops.convolution import with_weights
from ghostyolo.runtime import torch_memory
from ghostyolo.runtime.input_shape import resized


class TorchBackend:
    """A network's folded layers on one device."""

    batch_size, channels_last = 0, None

    def __init__(self, model: Model, device: str) -> None:
        """Take over the layers of a model, which is empty afterwards."""
        self.metadata = Metadata(model.network)
        self._outputs = model.output_indices
        self.calls = _calls(model.cpu().float().eval().requires_grad_(False), device)
        self._device = torch.device(device)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            x = torch.from_numpy(images).to(self._device, memory_format=torch.channels_last)
            kept: dict[int, Any] = {}
            for _, held in run(self.calls, x, frozenset(self._outputs)):
                kept = held
            # outputs are small, and are NCHW in memory everywhere else
            return [kept[index].float().contiguous().cpu().numpy() for index in self._outputs]

    def close(self) -> None:
        self.calls = []


class TorchScriptBackend:
    """A TorchScript file of `ghostyolo export`, which takes any number of pictures."""

    batch_size, channels_last = 0, False

    def __init__(self, path: Path, size: tuple[int, int] | None, device: str) -> None:
        extra = {TORCHSCRIPT_EXTRA: ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TorchScript is deprecated
                self._module = torch.jit.load(str(path), map_location=device, _extra_files=extra)
            stored = metadata.read(json.loads(extra[TORCHSCRIPT_EXTRA] or "{}"), str(path))
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            hint = "export it again"
            raise DataError(f"torch: {reason}", span=Span(str(path)), hint=hint) from None
        self.metadata = resized(stored, size)
        self._device = torch.device(device)

    def __call__(self, images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            outputs = self._module(torch.from_numpy(images).to(self._device))
            return [output.float().contiguous().cpu().numpy() for output in outputs]

    def close(self) -> None:
        self._module = None


def _calls(model: Model, device: str) -> list[Call]:
    """Return the calls of a model's layers, in their order, with what each reads and frees.

    Each layer is freed as its call is made, so that no weights are held twice; from the last one,
    since late layers hold most weights and leave room for the packed ones of those before them.
    """
    network, found = model.network, list[Call]()
    unjoined, overwritable = torch_memory.unjoined(model), torch_memory.overwritable(model)
    for call in reversed(calls(network, [_parts] * len(network))):
        node = network[call.node]
        layer: Any = model.layers[node.index]
        model.layers[node.index] = nn.Identity()
        if not isinstance(node.layer, Head):  # which computes no more than it needs
            layer = folded_layer(layer, node)
        if hasattr(layer, "inplace") and node.inputs[0] in overwritable:
            layer.inplace = True
        layer = layer.to(device, memory_format=torch.channels_last)
        compute: Callable[..., Any]
        if node.inputs[0] in unjoined:
            compute = _of_parts(layer, network.input_shapes(network[node.inputs[0]]))
        elif node.index not in unjoined:
            compute = _fast(layer, (1, *network.input_shapes(node)[0]))
        else:
            compute = _parts
        found.append(call._replace(compute=compute))
    return found[::-1]


def _parts(*inputs: Tensor) -> tuple[Tensor, ...]:
    """Return the parts of a concatenation that is not made."""
    return inputs


def _of_parts(layer: Any, shapes: tuple[Shape, ...]) -> Callable[[tuple[Tensor, ...]], Tensor]:
    """Return the call of a depthwise convolution, folded, on parts of these shapes."""
    conv, act, _ = layer
    rows = [shape.c * conv.out_channels // conv.in_channels for shape in shapes]
    convs = map(partial(with_weights, conv), conv.weight.split(rows), conv.bias.split(rows))
    each = [
        _fast(nn.Sequential(part, act), (1, *shape))
        for part, shape in zip(convs, shapes, strict=True)
    ]
    return lambda parts: torch.cat([call(x) for call, x in zip(each, parts, strict=True)], 1)


def _fast(module: nn.Module, shape: tuple[int, ...]) -> Callable[..., Tensor]:
    """Return the call of a layer without its identities.

    shape: of its first input, (N, C, H, W), that weights are packed for; others work too.
    """
    if not isinstance(module, nn.Sequential):
        return module.forward
    first, *rest = [part for part in module if not isinstance(part, nn.Identity)]
    calls = [first.forward]
    if isinstance(first, nn.Conv2d) and (fused := _fused(first, rest[0] if rest else None, shape)):
        calls, rest = [fused.call], rest[1:] if fused.act else rest
    if rest and isinstance(first, nn.Conv2d) and hasattr(rest[0], "inplace"):
        setattr(rest[0], "inplace", True)  # noqa: B010 - of a result that nobody else reads
    return _chain([*calls, *(part.forward for part in rest)])


class Fused(NamedTuple):
    """A convolution in one call of oneDNN, which applies the activation `act`, if any, too."""

    call: Callable[[Tensor], Tensor]
    act: nn.Module | None


def _fused(conv: nn.Conv2d, act: nn.Module | None, shape: tuple[int, ...]) -> Fused | None:
    """Return the convolution with its weights packed once, None where this torch cannot do it.

    It is the call that torch's own compiler makes. Without it torch packs the weights for each
    picture, and computes small convolutions on one thread by a slower algorithm. The layout that
    oneDNN wants depends on the input's shape: weights packed without one are often packed again.
    """
    if conv.weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return None
    kind, numbers = _FUSED.get(type(act), lambda act: ("", []))(act)
    sides = [list(conv.padding), list(conv.stride), list(conv.dilation)]
    weight, bias = conv.weight.detach().contiguous(), conv.bias
    try:
        pack: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
        call: Any = torch.ops.mkldnn._convolution_pointwise.default
        packed = pack(weight.to_mkldnn(), *sides, conv.groups, shape)
    except (AttributeError, RuntimeError):
        return None
    last = (*sides, conv.groups, kind or "none", numbers, "")
    return Fused(lambda x: call(x, packed, bias, *last), act if kind else None)


# The activations that oneDNN applies: name and parameters of each.
# Source: pytorch/pytorch torch/_inductor/fx_passes/mkldnn_fusion.py.
_FUSED: dict[type | None, Callable[[Any], tuple[str, list[float]]]] = {
    nn.ReLU: lambda act: ("relu", []),
    nn.Sigmoid: lambda act: ("sigmoid", []),
    nn.Tanh: lambda act: ("tanh", []),
    nn.SiLU: lambda act: ("swish", []),
    nn.LeakyReLU: lambda act: ("leaky_relu", [act.negative_slope]),
    nn.Hardtanh: lambda act: ("hardtanh", [act.min_val, act.max_val]),
    nn.ReLU6: lambda act: ("hardtanh", [0.0, 6.0]),
}


def _chain(calls: list[Callable[[Tensor], Tensor]]) -> Callable[[Tensor], Tensor]:
    """Return one call that makes these in turn."""
    if len(calls) == 1:
        return calls[0]

    def call(x: Tensor) -> Tensor:
        for each in calls:
            x = each(x)
        return x

    return call


def load_model(network: Network, weights: str | Path | None) -> Model:
    """Return the network with the weights of a file, or random ones that are always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Model(network, weights)


def open_network(
    network: Network, weights: str | Path | None, *, device: str, threads: int
) -> TorchBackend:
    """Open a cfg's network. Raises `CfgError`, `WeightsError`, `OptionError` for the device."""
    torch.set_num_threads(threads)
    return TorchBackend(load_model(network, weights), pick_device(device))


def open_file(
    path: Path, *, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> TorchScriptBackend:
    """Open a TorchScript file. Raises `DataError`, `OptionError`."""
    torch.set_num_threads(threads)
    return TorchScriptBackend(path, size, pick_device(device))

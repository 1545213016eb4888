"""Networks in torch: batch norm folded, channels last, each map freed after its last use.

Packing the weights for oneDNN once (`_fused`) takes 8 to 9 % off the time of `detect --runtime
torch`, measured in turns for the 80-class GhostNet detector at 416x416 on one thread.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ghostyolo.distributed import pick_device
from ghostyolo.layers import Head, Shape
from ghostyolo.model.compute import Call, calls, run
from ghostyolo.model.folded import folded_layer
from ghostyolo.model.model import Model
from ghostyolo.network import Network, metadata
from ghostyolo.network.metadata import TORCHSCRIPT_EXTRA, Metadata
from ghostyolo.ops.convolution import with_weights
from ghostyolo.runtime import torch_memory
from ghostyolo.runtime.backend import Backend, library_errors, resized


def open_network(
    network: Network, weights: str | Path | None, *, device: str, threads: int
) -> Backend:
    """Open a cfg's network. Raises `CfgError`, `WeightsError`, `OptionError` for the device."""
    torch.set_num_threads(threads)
    return open_model(load_model(network, weights), pick_device(device))


def load_model(network: Network, weights: str | Path | None) -> Model:
    """Return the network with the weights of a file, or random ones that are always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Model(network, weights)


def open_model(model: Model, device: str) -> Backend:
    """Open a model on a device and take over its layers: the model is empty afterwards."""
    network, outputs = model.network, model.output_indices
    return Backend(Metadata(network), partial(compute, layer_calls(model, device), outputs, device))


def compute(
    layers: Sequence[Call], outputs: Sequence[int], device: str, images: np.ndarray
) -> list[np.ndarray]:
    """Return the outputs of some layers, given by index, for images (N, C, h, w).

    layers: see `layer_calls`.
    """
    with torch.inference_mode():
        x = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
        kept: dict[int, Any] = {}
        for _, held in run(layers, x, frozenset(outputs)):
            kept = held
        # outputs are small, and the other runtimes return them as NCHW in memory
        return [kept[index].float().contiguous().cpu().numpy() for index in outputs]


def open_file(
    path: Path, *, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> Backend:
    """Open a TorchScript file, which takes any batch size. Raises `DataError`, `OptionError`."""
    torch.set_num_threads(threads)
    target, extra = pick_device(device), {TORCHSCRIPT_EXTRA: ""}
    with library_errors("torch", path, RuntimeError, ValueError, hint="export it again"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated
            module = torch.jit.load(str(path), map_location=target, _extra_files=extra)
        stored = metadata.read(json.loads(extra[TORCHSCRIPT_EXTRA] or "{}"), str(path))

    def compute_file(images: np.ndarray) -> list[np.ndarray]:
        with torch.inference_mode():
            outputs = module(torch.from_numpy(images).to(target))
            return [output.float().contiguous().cpu().numpy() for output in outputs]

    return Backend(resized(stored, size), compute_file, channels_last=False)


def layer_calls(model: Model, device: str) -> list[Call]:
    """Return the calls that compute a model's layers, in their order, and empty the model.

    Each layer is freed once its call has been made, so that no weights are held twice. The last
    layer comes first: late layers hold most of the weights, and freeing them leaves room for the
    packed weights of the layers before them.
    """
    network, found = model.network, list[Call]()
    model.cpu().float().eval().requires_grad_(False)
    unjoined, overwritable = torch_memory.unjoined(model), torch_memory.overwritable(model)
    for call in reversed(calls(network, [_parts] * len(network))):
        node = network[call.node]
        layer: Any = model.layers[node.index]
        model.layers[node.index] = nn.Identity()
        if not isinstance(node.layer, Head):  # heads compute only what they need
            layer = folded_layer(layer, node)
        if hasattr(layer, "inplace") and node.inputs[0] in overwritable:
            layer.inplace = True
        layer = layer.to(device, memory_format=torch.channels_last)
        layer_compute: Callable[..., Any]
        if node.inputs[0] in unjoined:
            layer_compute = _of_parts(layer, network.input_shapes(network[node.inputs[0]]))
        elif node.index not in unjoined:
            layer_compute = _fast(layer, (1, *network.input_shapes(node)[0]))
        else:
            layer_compute = _parts
        found.append(call._replace(compute=layer_compute))
    return found[::-1]


def _parts(*inputs: Tensor) -> tuple[Tensor, ...]:
    """Return the inputs of a concatenation, which its readers take one by one."""
    return inputs


def _of_parts(layer: Any, shapes: tuple[Shape, ...]) -> Callable[[tuple[Tensor, ...]], Tensor]:
    """Return the call of a folded depthwise convolution on the parts of a concatenation.

    shapes: of the parts.
    """
    conv, act, _ = layer
    rows = [shape.c * conv.out_channels // conv.in_channels for shape in shapes]
    convs = map(partial(with_weights, conv), conv.weight.split(rows), conv.bias.split(rows))
    each = [
        _fast(nn.Sequential(part, act), (1, *shape))
        for part, shape in zip(convs, shapes, strict=True)
    ]
    return lambda parts: torch.cat([call(x) for call, x in zip(each, parts, strict=True)], 1)


def _fast(module: nn.Module, shape: tuple[int, ...]) -> Callable[..., Tensor]:
    """Return the call of a layer without its identity modules.

    shape: of its first input, (N, C, H, W), for which weights are packed; other shapes work too.
    """
    if not isinstance(module, nn.Sequential):
        return module.forward
    first, *rest = [part for part in module if not isinstance(part, nn.Identity)]
    calls = [first.forward]
    if isinstance(first, nn.Conv2d) and (fused := _fused(first, rest[0] if rest else None, shape)):
        calls, rest = [fused.call], rest[1:] if fused.act else rest
    if rest and isinstance(first, nn.Conv2d) and hasattr(rest[0], "inplace"):
        setattr(rest[0], "inplace", True)  # noqa: B010 - nothing else reads the result
    return _chain([*calls, *(part.forward for part in rest)])


class Fused(NamedTuple):
    """A convolution, and the activation `act` if there is one, computed by one call of oneDNN."""

    call: Callable[[Tensor], Tensor]
    act: nn.Module | None


def _fused(conv: nn.Conv2d, act: nn.Module | None, shape: tuple[int, ...]) -> Fused | None:
    """Return the convolution with its weights packed once, None where this torch cannot do it.

    torch's own compiler makes the same call. Without it torch packs the weights for each picture,
    and computes small convolutions on one thread by a slower algorithm. The layout that oneDNN
    chooses depends on the input shape; weights packed without a shape are often packed again.
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
    """Return one call that makes these calls one after the other."""
    if len(calls) == 1:
        return calls[0]

    def call(x: Tensor) -> Tensor:
        for each in calls:
            x = each(x)
        return x

    return call

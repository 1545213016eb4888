"""Modules with weights: convolutions, locally connected layers, fully connected layers."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostyolo.ops.activations import activation as activation_of
from ghostyolo.ops.pooling import Blur

EPS = 1e-5  # of every batch norm; AlexeyAB/darknet src/batchnorm_layer.c, network.c


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Return a batch norm with Darknet's epsilon."""
    return nn.BatchNorm2d(channels, eps=EPS)


class Convolution(nn.Module):
    """A convolution, then batch norm or a bias, then an activation and a blur.

    conv: has a bias if `norm` is false. binary: compute the convolution of `BinaryConvolution`.
    Source: AlexeyAB/darknet src/convolutional_layer.c forward_convolutional_layer.
    """

    def __init__(
        self, conv: nn.Conv2d, norm: bool, activation: str, *, binary: bool = False
    ) -> None:
        super().__init__()
        self.conv = conv
        self.norm = batch_norm(conv.out_channels) if norm else None
        self.act = activation_of(activation)
        self.blur: nn.Module = nn.Identity()
        self.binary = binary
        self.reset()

    def reset(self) -> None:
        """Initialise the weights: uniform within sqrt(2 / fan-in), biases zero.

        Source: AlexeyAB/darknet src/convolutional_layer.c make_convolutional_layer.
        """
        bound = math.sqrt(2 / self.conv.weight[0].numel())
        nn.init.uniform_(self.conv.weight, -bound, bound)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.binary:
            if self.training:
                raise NotImplementedError("xnor=1 is computed in inference only")
            return self.act(BinaryConvolution(self.conv, *fold(self.conv, self.norm))(x))
        x = self.conv(x)
        return self.blur(self.act(x if self.norm is None else self.norm(x)))

    def share(self, other: Convolution) -> None:
        """Use the weights and batch norm of another convolution."""
        self.conv.weight, self.conv.bias, self.norm = other.conv.weight, other.conv.bias, other.norm

    def folded(self) -> nn.Module:
        """Return a convolution with a bias, its activation and its blur."""
        weight, bias = fold(self.conv, self.norm)
        if self.binary:
            return nn.Sequential(BinaryConvolution(self.conv, weight, bias), self.act)
        blur = self.blur.depthwise(len(weight)) if isinstance(self.blur, Blur) else self.blur
        return nn.Sequential(with_weights(self.conv, weight, bias), self.act, blur)


class BinaryConvolution(nn.Module):
    """The convolution of `xnor=1`, with binary inputs and weights.

    Inputs are replaced by +1 or -1, padding by -1, and weights by their sign times the mean
    magnitude of their filter. conv: a convolution of the same shape, stride, padding and groups.
    Source: AlexeyAB/darknet src/network.c calculate_binary_weights.
    """

    def __init__(self, conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        mean = weight.abs().mean((1, 2, 3), keepdim=True)
        self.conv = with_weights(conv, torch.where(weight > 0, mean, -mean), bias)
        self.conv.padding = (0, 0)
        self.pad = [int(side) for side in conv.padding]

    def forward(self, x: Tensor) -> Tensor:
        signs = torch.where(x > 0, 1.0, -1.0)
        top, left = self.pad
        return self.conv(F.pad(signs, (left, left, top, top), value=-1.0))


def fold(layer: nn.Conv2d | nn.Linear, norm: Any) -> tuple[Tensor, Tensor]:
    """Return the weight and bias of a layer with its batch norm folded in.

    norm: the batch norm, with running statistics; None if the layer has a bias instead. The results
    are computed in float64 and rounded once.
    Source: AlexeyAB/darknet src/network.c fuse_conv_batchnorm, which divides in float64.
    """
    weight, bias = layer.weight, layer.bias
    if norm is None:
        assert bias is not None
        return weight, bias
    factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    bias = norm.bias.double() - norm.running_mean.double() * factor
    folded = weight.double() * factor.view(-1, *[1] * (weight.dim() - 1))
    return folded.to(weight.dtype), bias.to(weight.dtype)


def with_weights(conv: nn.Conv2d, weight: Tensor, bias: Tensor) -> nn.Conv2d:
    """Return a convolution like `conv` with these weights, those of all groups or of some."""
    groups = conv.groups * len(weight) // conv.out_channels
    made = nn.Conv2d(
        groups * weight.shape[1], len(weight), conv.kernel_size, conv.stride,  # type: ignore[arg-type]
        conv.padding, conv.dilation, groups, device="meta",  # type: ignore[arg-type]
    )  # fmt: skip
    made.weight, made.bias = nn.Parameter(weight), nn.Parameter(bias)
    return made.requires_grad_(False)


class Connected(nn.Module):
    """A fully connected layer, then batch norm or a bias, then an activation."""

    def __init__(self, inputs: int, outputs: int, norm: bool, activation: str) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=not norm)
        self.norm = nn.BatchNorm1d(outputs, eps=EPS) if norm else None
        self.act = activation_of(activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x.flatten(1))
        x = x if self.norm is None else self.norm(x)
        return self.act(x[:, :, None, None])

    def folded(self) -> nn.Module:
        """Return a fully connected layer with a bias and the activation."""
        outputs, inputs = self.linear.weight.shape
        linear = nn.Linear(inputs, outputs, device="meta")
        linear.weight, linear.bias = map(nn.Parameter, fold(self.linear, self.norm))
        return nn.Sequential(nn.Flatten(), linear, nn.Unflatten(1, (outputs, 1, 1)), self.act)


class Local(nn.Module):
    """A convolution with separate weights for each output position, then an activation.

    out: the output's height and width. weight: (positions, filters, channels * size * size).
    Source: AlexeyAB/darknet src/local_layer.c.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        *,
        size: int,
        stride: int,
        padding: int,
        out: tuple[int, int],
        activation: str,
    ) -> None:
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding
        self.bias = nn.Parameter(torch.zeros(filters, *out))
        self.weight = nn.Parameter(torch.empty(math.prod(out), filters, channels * size * size))
        self.act = activation_of(activation)
        bound = math.sqrt(2 / self.weight.shape[2])
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        windows = F.unfold(x, self.size, padding=self.padding, stride=self.stride)
        out = torch.einsum("pfk,nkp->nfp", self.weight, windows)
        return self.act(out.reshape(-1, *self.bias.shape) + self.bias)

    def folded(self) -> nn.Module:
        """Return the layer as matrix products, for runtimes without einsum."""
        return LocalByProducts(self)


class LocalByProducts(nn.Module):
    """A convolution with separate weights for each output position, as matrix products."""

    def __init__(self, layer: Local) -> None:
        super().__init__()
        positions, filters, values = layer.weight.shape
        channels, size = values // layer.size**2, layer.size
        self.windows = nn.Conv2d(
            channels, values, size, layer.stride, layer.padding, groups=channels, bias=False
        )  # each filter selects one pixel of the window
        self.windows.weight = nn.Parameter(
            torch.eye(size * size).repeat(channels, 1).reshape(values, 1, size, size)
        )
        self.positions, self.filters, self.values = positions, filters, values
        self.out = tuple(layer.bias.shape[1:])
        self.weight = nn.Parameter(layer.weight.detach().clone())
        self.bias = nn.Parameter(layer.bias.detach().clone()[None])
        self.act = layer.act

    def forward(self, x: Tensor) -> Tensor:
        windows = self.windows(x).reshape(-1, self.values, self.positions).permute(2, 1, 0)
        out = torch.matmul(self.weight, windows).permute(2, 1, 0)  # (N, filters, places)
        return self.act(out.reshape(-1, self.filters, *self.out) + self.bias)

"""Layers with weights: convolutions, shared between places or not, and matrix products."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostyolo.ops.activations import activation as activation_of

EPS = 1e-5  # of every batch norm; AlexeyAB/darknet src/batchnorm_layer.c, network.c


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Return a batch norm with Darknet's epsilon; statistics start at mean 0, variance 1."""
    return nn.BatchNorm2d(channels, eps=EPS)


class Convolution(nn.Module):
    """Cross-correlation, then batch norm or a bias, then an activation.

    binary_input: weights count as sign times mean magnitude per filter and inputs as +1 or -1,
    the padding as -1. activate: whether the activation is applied. blur: what follows it.
    """

    def __init__(
        self,
        channels: int,
        filters: int,
        *,
        size: int,
        stride: tuple[int, int],
        padding: int,
        dilation: int,
        groups: int,
        norm: bool,
        activation: str,
        binary_input: bool = False,
        activate: bool = True,
        blur: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, filters, size, stride, padding, dilation, groups, bias=not norm
        )
        self.norm = batch_norm(filters) if norm else None
        self.act = activation_of(activation) if activate else nn.Identity()
        self.blur = blur or nn.Identity()
        self.binary_input = binary_input
        self.reset()

    def reset(self) -> None:
        """Draw the weights anew: uniform within sqrt(2 / fan-in), biases zero.

        Source: AlexeyAB/darknet src/convolutional_layer.c make_convolutional_layer.
        """
        bound = math.sqrt(2 / self.conv.weight[0].numel())
        nn.init.uniform_(self.conv.weight, -bound, bound)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.binary_input:
            return self.act(self._binary(x))
        x = self.conv(x)
        return self.blur(self.act(x if self.norm is None else self.norm(x)))

    def share(self, other: Convolution) -> None:
        """Compute with the stored numbers of another convolution."""
        self.conv.weight, self.conv.bias, self.norm = other.conv.weight, other.conv.bias, other.norm

    def folded(self) -> tuple[Tensor, Tensor]:
        """Return weight and bias with the batch norm's running statistics folded in.

        Source: AlexeyAB/darknet src/network.c fuse_conv_batchnorm, which divides in double.
        """
        weight, norm = self.conv.weight, self.norm
        if norm is None:
            assert self.conv.bias is not None
            return weight, self.conv.bias
        assert norm.running_mean is not None and norm.running_var is not None
        factor = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        bias = norm.bias.double() - norm.running_mean.double() * factor
        folded = weight.double() * factor[:, None, None, None]
        return folded.to(weight.dtype), bias.to(weight.dtype)

    def _binary(self, x: Tensor) -> Tensor:
        """Source: AlexeyAB/darknet src/network.c calculate_binary_weights."""
        if self.training:
            raise NotImplementedError("xnor=1 is computed in inference only")
        weight, bias = self.folded()
        mean = weight.abs().mean((1, 2, 3), keepdim=True)
        signs = torch.where(x > 0, 1.0, -1.0)
        pad = [int(p) for p in self.conv.padding]
        signs = F.pad(signs, (pad[1], pad[1], pad[0], pad[0]), value=-1.0)
        weight = torch.where(weight > 0, mean, -mean)
        return F.conv2d(signs, weight, bias, self.conv.stride, 0, self.conv.dilation)


class Connected(nn.Module):
    """A matrix product over the flattened image, then batch norm or a bias, then an activation."""

    def __init__(self, inputs: int, outputs: int, norm: bool, activation: str) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=not norm)
        self.norm = nn.BatchNorm1d(outputs, eps=EPS) if norm else None
        self.act = activation_of(activation)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x.flatten(1))
        x = x if self.norm is None else self.norm(x)
        return self.act(x[:, :, None, None])


class Local(nn.Module):
    """A convolution with weights of its own at each place, then an activation.

    out: the height and width that it gives. weight: (places, filters, channels * size * size).
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

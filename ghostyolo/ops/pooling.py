"""Pooling, blur, and local response normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ghostyolo.ops.activations import Unfolded


class Maxpool(Unfolded):
    """Max pooling. padding: pixels on both sides together, an odd one at the right and bottom.

    A negative padding leaves pixels of the border out.
    Source: AlexeyAB/darknet src/maxpool_layer.c forward_maxpool_layer.
    """

    def __init__(self, size: int, stride: tuple[int, int], padding: int) -> None:
        super().__init__()
        self.size, self.stride, self.padding = size, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        before = int(self.padding / 2)  # towards zero, as in C
        after = self.padding - before
        if before == after and 0 <= 2 * before <= self.size:
            return F.max_pool2d(x, self.size, self.stride, before)
        x = F.pad(x, (before, after, before, after), value=torch.finfo(x.dtype).min)
        return F.max_pool2d(x, self.size, self.stride)

    def extra_repr(self) -> str:
        return f"size={self.size}, stride={self.stride}, padding={self.padding}"


class LocalAvgpool(Maxpool):
    """Average pooling without counting the padding, which is that of `Maxpool`."""

    def forward(self, x: Tensor) -> Tensor:
        before, area = int(self.padding / 2), self.size**2
        pad = (before, self.padding - before) * 2
        total = F.avg_pool2d(F.pad(x, pad), self.size, self.stride) * area
        inside = F.pad(torch.ones_like(x[:1, :1]), pad)
        return total / (F.avg_pool2d(inside, self.size, self.stride) * area)


class DepthMax(Unfolded):
    """For each k of `out` channels the maximum of the channels k, k + out, k + 2 out, ..."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.out = out

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, 0, 0, -x.shape[1] % self.out), value=-torch.inf)
        n, c, h, w = x.shape
        return x.reshape(n, c // self.out, self.out, h, w).amax(1)


class Blur(Unfolded):
    """Blur each channel with the 3x3 binomial kernel (size 3), or a 2x2 mean without padding.

    Source: Zhang 2019, Making convolutional networks shift-invariant again; AlexeyAB/darknet
    src/convolutional_layer.c make_convolutional_layer (antialiasing).
    """

    def __init__(self, size: int, stride: tuple[int, int]) -> None:
        super().__init__()
        row = torch.tensor({3: (1.0, 2.0, 1.0), 2: (1.0, 1.0)}[size])
        # Not a buffer, so that it is not stored with the weights.
        self.kernel = row.outer(row)[None, None] / row.sum() ** 2
        self.stride, self.padding = stride, size - 2

    def depthwise(self, channels: int) -> nn.Conv2d:
        """Return the blur as a depthwise convolution."""
        size = self.kernel.shape[-1]
        conv = nn.Conv2d(
            channels, channels, size, self.stride, self.padding, groups=channels, bias=False
        )
        conv.weight = nn.Parameter(self.kernel.expand(channels, -1, -1, -1).clone())
        return conv

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel.to(x).expand(int(x.shape[1]), -1, -1, -1)
        return F.conv2d(x, kernel, None, self.stride, self.padding, groups=x.shape[1])


class LocalResponse(Unfolded):
    """Divide by (kappa + alpha * sum of squares over neighbouring channels) ** beta.

    As in Darknet, the sum is a running one over `size` channels, to which channel size // 2 is
    never added, although it is later subtracted.
    Source: AlexeyAB/darknet src/normalization_layer.c; Krizhevsky et al. 2012.
    """

    def __init__(self, size: int, alpha: float, beta: float, kappa: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.kappa = size, alpha, beta, kappa

    def forward(self, x: Tensor) -> Tensor:
        channels, half = x.shape[1], self.size // 2
        sums = F.pad(
            x.square().cumsum(1), (0, 0, 0, 0, 1, 0)
        )  # [:, k]: sum over the channels before k
        k = torch.arange(channels, device=x.device)
        first, skipped = sums[:, half, None], sums[:, min(half + 1, channels), None]
        entered = sums[:, (k + half + 1).clamp(max=channels)] - skipped
        left = sums[:, (k - (self.size - 1) // 2).clamp(min=0)]
        window = first + entered - left
        return x * (self.kappa + self.alpha * window) ** -self.beta

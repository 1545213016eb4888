"""Modules that crop, repeat and reorder values."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ghostyolo.ops.activations import Unfolded


class Crop(Unfolded):
    """The centre h x w pixels. adjust: scale from [0, 1] to [-1, 1].

    Inference only: the random shift and flip of training are not implemented.
    Source: AlexeyAB/darknet src/crop_layer.c.
    """

    def __init__(self, h: int, w: int, adjust: bool) -> None:
        super().__init__()
        self.h, self.w, self.adjust = h, w, adjust

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise NotImplementedError("[crop] is computed in inference only")
        top, left = (x.shape[2] - self.h) // 2, (x.shape[3] - self.w) // 2
        x = x[:, :, top : top + self.h, left : left + self.w]
        return 2 * x - 1 if self.adjust else x


class Upsample(nn.Module):
    """Repeat each pixel stride x stride times, times scale; a negative stride sums such blocks."""

    def __init__(self, stride: int, scale: float) -> None:
        super().__init__()
        self.stride, self.scale = stride, scale

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = F.interpolate(x, scale_factor=float(self.stride), mode="nearest")
        elif self.stride < 0:
            x = F.avg_pool2d(x, -self.stride, divisor_override=1)
        return x if self.scale == 1 else x * self.scale

    def folded(self) -> nn.Module:
        """Return the module, or for a sum of blocks a multiple of their mean.

        Every runtime has the mean.
        """
        return self if self.stride > 0 else ScaledMean(-self.stride, self.scale * self.stride**2)


class ScaledMean(nn.Module):
    """The mean of blocks of stride x stride pixels, times scale."""

    def __init__(self, stride: int, scale: float) -> None:
        super().__init__()
        self.stride, self.scale = stride, scale

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, self.stride) * self.scale


class SpaceToDepth(Unfolded):
    """Blocks of stride x stride pixels to channels: output channel = (dy * stride + dx) * c + k.

    With `reverse`, depth to space of the buffer interpreted as (c / s^2, h * s, w * s), which is
    not the inverse.
    Source: AlexeyAB/darknet src/reorg_layer.c forward_reorg_layer, src/blas.c reorg_cpu.
    """

    def __init__(self, stride: int, reverse: bool) -> None:
        super().__init__()
        self.stride, self.reverse = stride, reverse

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        s = self.stride
        if not self.reverse:
            return _space_to_depth(x, s)
        out = _depth_to_space(x.reshape(n, c // (s * s), h * s, w * s), s)
        return out.reshape(n, c // (s * s), h * s, w * s)


class Passthrough(Unfolded):
    """The reorg of YOLOv2: space to depth of the buffer interpreted as (c / s^2, h * s, w * s).

    With `reverse`, depth to space.
    Source: AlexeyAB/darknet src/reorg_old_layer.c forward_reorg_old_layer.
    """

    def __init__(self, stride: int, reverse: bool) -> None:
        super().__init__()
        self.stride, self.reverse = stride, reverse

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        s = self.stride
        if self.reverse:
            return _depth_to_space(x, s)
        out = _space_to_depth(x.reshape(n, c // (s * s), h * s, w * s), s)
        return out.reshape(n, c * s * s, h // s, w // s)


def _space_to_depth(x: Tensor, s: int) -> Tensor:
    n, c, h, w = x.shape
    blocks = x.reshape(n, c, h // s, s, w // s, s).permute(0, 3, 5, 1, 2, 4)
    return blocks.reshape(n, c * s * s, h // s, w // s)


def _depth_to_space(x: Tensor, s: int) -> Tensor:
    n, c, h, w = x.shape
    blocks = x.reshape(n, s, s, c // (s * s), h, w).permute(0, 3, 4, 1, 5, 2)
    return blocks.reshape(n, c // (s * s), h * s, w * s)

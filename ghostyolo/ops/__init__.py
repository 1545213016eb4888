"""Torch modules that layers need and torch lacks, as Darknet computes them; knows no cfg.

Maps are (N, C, H, W) float tensors throughout.
"""

from __future__ import annotations

from ghostyolo.ops.activations import activation
from ghostyolo.ops.arranging import Crop, Passthrough, SpaceToDepth, Upsample
from ghostyolo.ops.combining import Constant, Product, Route, Shortcut
from ghostyolo.ops.convolution import EPS, Connected, Convolution, Local, batch_norm
from ghostyolo.ops.heads import (
    DetectionActivation,
    GaussianActivation,
    Loss,
    RegionActivation,
    Softmax,
    YoloActivation,
)
from ghostyolo.ops.pooling import Blur, DepthMax, LocalAvgpool, LocalResponse, Maxpool

__all__ = [
    "EPS",
    "Blur",
    "Connected",
    "Constant",
    "Convolution",
    "Crop",
    "DepthMax",
    "DetectionActivation",
    "GaussianActivation",
    "Local",
    "LocalAvgpool",
    "LocalResponse",
    "Loss",
    "Maxpool",
    "Passthrough",
    "Product",
    "RegionActivation",
    "Route",
    "Shortcut",
    "Softmax",
    "SpaceToDepth",
    "Upsample",
    "YoloActivation",
    "activation",
    "batch_norm",
]

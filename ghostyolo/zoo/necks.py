"""Necks: they join the maps of several strides, and return maps with the same channels at each.

Source: Lin et al., Feature Pyramid Networks, CVPR 2017 (top down); Liu et al., Path Aggregation
Network, CVPR 2018 (and up again). The blocks that join are ghost modules here.
"""

from __future__ import annotations

from ghostyolo.layers.upsample import Upsample
from ghostyolo.network import Network, Node
from ghostyolo.zoo.blocks import concat, conv, depthwise
from ghostyolo.zoo.ghostnet import GhostNet, ghost

NECKS = ("pan", "fpn", "none")
SIZE = 5  # kernel of the neck's depthwise convolutions


def add_neck(
    network: Network, features: dict[int, Node], kind: str, width: int, ghostnet: GhostNet
) -> dict[int, Node]:
    """Join a backbone's maps, given by stride; return maps of `width` channels at each stride.

    kind: "fpn" joins the maps from the largest stride to the smallest, "pan" then also from the
    smallest to the largest, "none" only gives each map `width` channels. ghostnet: the options of
    the ghost modules.
    """
    strides = sorted(features)
    maps = {
        stride: conv(network, features[stride], width, name=f"neck, lateral {stride}")
        for stride in reversed(strides)
    }
    if kind != "none":
        for fine, coarse in reversed(list(zip(strides, strides[1:], strict=False))):
            up = maps[coarse]
            while up.shape.h < maps[fine].shape.h:
                up = network.add(Upsample(), up, name=f"neck, up to {fine}")
            maps[fine] = _join(network, up, maps[fine], ghostnet, f"neck, down to stride {fine}")
    if kind == "pan":
        for fine, coarse in zip(strides, strides[1:], strict=False):
            down = maps[fine]
            while down.shape.h > maps[coarse].shape.h:
                down = depthwise(network, down, SIZE, stride=2, name=f"neck, shrink to {coarse}")
                down = conv(network, down, width, name=f"neck, mix at {coarse}")
            maps[coarse] = _join(
                network, down, maps[coarse], ghostnet, f"neck, up to stride {coarse}"
            )
    return maps


def _join(network: Network, new: Node, own: Node, ghostnet: GhostNet, name: str) -> Node:
    both = concat(network, new, own, name=f"{name}, join")
    return ghost(network, both, own.shape.c, ratio=ghostnet.ratios[-1], dw_size=SIZE, name=name)

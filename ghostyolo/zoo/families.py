"""The families by the name that the generator knows them by."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ghostyolo.zoo import resnet, shufflenet, squeezenet, vgg
from ghostyolo.zoo.base import Family
from ghostyolo.zoo.ghostnet import GhostNet
from ghostyolo.zoo.mobilenet import MobileNetV1, MobileNetV2
from ghostyolo.zoo.mobilenetv3 import TABLES, MobileNetV3


class Entry(NamedTuple):
    """make: from options to the family, `options`: those that it varies, by field."""

    make: Callable[..., Family]
    options: tuple[str, ...] = ()


FAMILIES = {
    "ghostnet": Entry(GhostNet, ("width", "ratio", "dw", "gate", "se")),
    **{
        f"squeezenet{variant}": Entry(partial(squeezenet.SqueezeNet, variant))
        for variant in squeezenet.TABLES
    },
    "mobilenetv1": Entry(MobileNetV1, ("width", "activation")),
    "mobilenetv2": Entry(MobileNetV2, ("width", "activation")),
    **{
        f"mobilenetv3-{variant}": Entry(
            partial(MobileNetV3, variant), ("width", "activation", "gate")
        )
        for variant in TABLES
    },
    "shufflenetv1": Entry(shufflenet.ShuffleNetV1, ("width", "groups")),
    "shufflenetv2": Entry(shufflenet.ShuffleNetV2, ("width",)),
    **{f"resnet{depth}": Entry(partial(resnet.ResNet, depth)) for depth in resnet.BLOCKS},
    **{
        f"resnet{depth}": Entry(partial(resnet.CifarResNet, depth)) for depth in resnet.CIFAR_DEPTHS
    },
    **{f"vgg{depth}": Entry(partial(vgg.VGG, depth), ("norm",)) for depth in vgg.CONVOLUTIONS},
    "vgg16-cifar": Entry(partial(vgg.CifarVGG, 16)),
}

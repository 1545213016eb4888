"""State dicts of public checkpoints: the names of their tensors, and how their numbers differ.

For each family a function yields the layers in the order of the sections of our cfg. The rest of
the package uses only `STATE_DICTS`. The families' names and depths are those of the zoo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.scale_channels import ScaleChannels
from ghostyolo.layers.shortcut import Shortcut
from ghostyolo.network import Network, Node
from ghostyolo.zoo import mobilenet, shufflenet
from ghostyolo.zoo import mobilenetv3 as v3
from ghostyolo.zoo.channel_shuffle import plan_stage
from ghostyolo.zoo.ghostnet import STEM, TABLE
from ghostyolo.zoo.resnet import BLOCKS, bottlenecks
from ghostyolo.zoo.squeezenet import TABLES
from ghostyolo.zoo.vgg import CONVOLUTIONS


class StateDictLayer(NamedTuple):
    """A layer with weights: the prefixes of `.weight` for its convolution and its batch norm.

    matrix: whether the weights are a matrix where the cfg has a 1x1 convolution. biased: whether
    the convolution has a bias before its batch norm, which no convolution of Darknet has. rows:
    indices of those of the checkpoint's `filters` filters that the section has; empty for all, in
    their order. order: for each input channel of the section, its index in the checkpoint.
    """

    conv: str
    norm: str = ""
    matrix: bool = False
    biased: bool = False
    rows: tuple[int, ...] = ()
    filters: int = 0
    order: tuple[int, ...] = ()


Layers = Iterator[StateDictLayer]


class StateDict(NamedTuple):
    """A family's layers in a checkpoint, and the constants that its weights were trained with.

    layers: takes the nodes of the cfg that have weights, and yields the layers in their order; for
    no nodes, those of the published width. eps: of the batch norms. hard: whether the gates are
    hard sigmoids. activation: of the convolutions that are not linear.
    """

    layers: Callable[[Sequence[Node]], Layers]
    eps: float = 1e-5
    hard: bool = False
    activation: str = "relu"

    @property
    def keys(self) -> frozenset[str]:
        """Return the names of the weights, without biases and statistics."""
        prefixes = (name for layer in self.layers([]) for name in (layer.conv, layer.norm) if name)
        return frozenset(f"{prefix}.weight" for prefix in prefixes)


def ghostnet(_: Sequence[Node]) -> Layers:
    """Source: huawei-noah/Efficient-AI-Backbones, ghostnet_pytorch/ghostnet.py.

    timm has the same names. A stage ends where the stride changes.
    """
    yield StateDictLayer("conv_stem", "bn1")
    stage, place, stride, channels = -1, 0, 0, STEM
    for row in TABLE:
        stage, place = (stage, place + 1) if row.stride == stride else (stage + 1, 0)
        block = f"blocks.{stage}.{place}"
        yield from _ghost_module(f"{block}.ghost1")
        if row.stride > 1:
            yield StateDictLayer(f"{block}.conv_dw", f"{block}.bn_dw")
        if row.se:
            yield from _squeeze_excite(block)
        yield from _ghost_module(f"{block}.ghost2")
        if row.stride > 1 or row.out != channels:
            yield StateDictLayer(f"{block}.shortcut.0", f"{block}.shortcut.1")
            yield StateDictLayer(f"{block}.shortcut.2", f"{block}.shortcut.3")
        stride, channels = row.stride, row.out
    yield StateDictLayer(f"blocks.{stage + 1}.0.conv", f"blocks.{stage + 1}.0.bn1")
    yield StateDictLayer("conv_head")
    yield StateDictLayer("classifier", matrix=True)


def _ghost_module(name: str) -> Layers:
    yield _conv_norm(f"{name}.primary_conv")
    yield _conv_norm(f"{name}.cheap_operation")


def _conv_norm(name: str) -> StateDictLayer:
    """Return a convolution and its batch norm, the first two modules of a `Sequential`."""
    return StateDictLayer(f"{name}.0", f"{name}.1")


def _squeeze_excite(block: str) -> Layers:
    yield StateDictLayer(f"{block}.se.conv_reduce")
    yield StateDictLayer(f"{block}.se.conv_expand")


def mobilenetv2(_: Sequence[Node]) -> Layers:
    """Source: pytorch/vision, torchvision/models/mobilenetv2.py."""
    yield _conv_norm("features.0")
    expansions = [row.expansion for row in mobilenet.V2 for _ in range(row.blocks)]
    for number, expansion in enumerate(expansions, start=1):
        block, last = f"features.{number}.conv", 1 if expansion == 1 else 2
        for place in range(last):
            yield _conv_norm(f"{block}.{place}")
        yield StateDictLayer(f"{block}.{last}", f"{block}.{last + 1}")
    yield _conv_norm(f"features.{len(expansions) + 1}")
    yield StateDictLayer("classifier.1", matrix=True)


def mobilenetv3(variant: str, _: Sequence[Node]) -> Layers:
    """Source: pytorch/vision, torchvision/models/mobilenetv3.py."""
    yield _conv_norm("features.0")
    table, channels = v3.TABLES[variant], v3.STEM
    for number, row in enumerate(table, start=1):
        parts = ["expand"] * (row.exp != channels) + ["filter"] + ["se"] * row.se + ["project"]
        for place, part in enumerate(parts):
            name = f"features.{number}.block.{place}"
            if part == "se":
                yield StateDictLayer(f"{name}.fc1")
                yield StateDictLayer(f"{name}.fc2")
            else:
                yield _conv_norm(name)
        channels = row.out
    yield _conv_norm(f"features.{len(table) + 1}")
    yield StateDictLayer("classifier.0", matrix=True)
    yield StateDictLayer("classifier.3", matrix=True)


class TimmBlock(NamedTuple):
    """A block of timm: its output channels, whether it expands, whether it has squeeze-excite."""

    out: int
    expands: bool
    se: bool = False


def timm(blocks: Sequence[TimmBlock], tail: Sequence[StateDictLayer], _: Sequence[Node]) -> Layers:
    """Source: huggingface/pytorch-image-models, timm/models/_efficientnet_blocks.py.

    A stage holds the blocks with the same output channels. tail: the layers after the blocks.
    """
    yield StateDictLayer("conv_stem", "bn1")
    stage, place, before = -1, 0, 0
    for row in blocks:
        stage, place = (stage, place + 1) if row.out == before else (stage + 1, 0)
        before, block = row.out, f"blocks.{stage}.{place}"
        names = ("conv_pw", "conv_dw", "conv_pwl") if row.expands else ("conv_dw", "conv_pw")
        for number, name in enumerate(names, start=1):
            if row.se and number == len(names):
                yield from _squeeze_excite(block)
            yield StateDictLayer(f"{block}.{name}", f"{block}.bn{number}")
    yield from tail
    yield StateDictLayer("classifier", matrix=True)


def timm_v1(nodes: Sequence[Node]) -> Layers:
    """Source: huggingface/pytorch-image-models, timm/models/efficientnet.py, _gen_mobilenet_v1."""
    return timm([TimmBlock(out, False) for out, _ in mobilenet.V1], [], nodes)


def timm_v2(nodes: Sequence[Node]) -> Layers:
    """Source: huggingface/pytorch-image-models, timm/models/efficientnet.py, _gen_mobilenet_v2."""
    blocks = [
        TimmBlock(row.out, row.expansion > 1) for row in mobilenet.V2 for _ in range(row.blocks)
    ]
    return timm(blocks, [StateDictLayer("conv_head", "bn2")], nodes)


def timm_v3(variant: str, nodes: Sequence[Node]) -> Layers:
    """Source: huggingface/pytorch-image-models, timm/models/mobilenetv3.py, _gen_mobilenet_v3."""
    table = v3.TABLES[variant]
    blocks = [TimmBlock(row.out, place > 0, row.se) for place, row in enumerate(table)]
    last = f"blocks.{len({row.out for row in table})}.0"
    tail = [StateDictLayer(f"{last}.conv", f"{last}.bn1"), StateDictLayer("conv_head")]
    return timm(blocks, tail, nodes)


def shufflenetv2(nodes: Sequence[Node]) -> Layers:
    """Source: pytorch/vision, torchvision/models/shufflenetv2.py."""
    yield _conv_norm("conv1")
    half, order = 0, tuple[int, ...]()
    for level, units in enumerate(shufflenet.UNITS):
        half = 2 * half if level else _half(nodes)
        pieces, orders = plan_stage(half, units)
        name = f"stage{level + 2}"
        around = f"{name}.0.branch1"
        yield _conv_norm(around)._replace(rows=order, filters=len(order))
        for rows in filter(None, pieces[0]):
            yield StateDictLayer(f"{around}.2", f"{around}.3", rows=rows, filters=half, order=order)
        for unit in range(units):
            branch, own = f"{name}.{unit}.branch2", orders[unit - 1] if unit else order
            yield _conv_norm(branch)._replace(order=own)
            yield StateDictLayer(f"{branch}.3", f"{branch}.4")
            for rows in filter(None, pieces[unit + 1]):
                yield StateDictLayer(f"{branch}.5", f"{branch}.6", rows=rows, filters=half)
        order = orders[-1]
    yield _conv_norm("conv5")._replace(order=order)
    yield StateDictLayer("fc", matrix=True)


def _half(nodes: Sequence[Node]) -> int:
    """Return the channels of a branch of the first stage, taken from its second depthwise layer."""
    grouped = [node.shape.c for node in nodes if getattr(node.layer, "groups", 1) > 1]
    return grouped[1] if len(grouped) > 1 else shufflenet.V2[1.0][0] // 2


def squeezenet(variant: str, _: Sequence[Node]) -> Layers:
    """Source: pytorch/vision, torchvision/models/squeezenet.py."""
    yield StateDictLayer("features.0")
    place = 2  # index 1 is an activation
    for modules in TABLES[variant].stages:
        for _fire in modules:
            place += 1
            for part in ("squeeze", "expand1x1", "expand3x3"):
                yield StateDictLayer(f"features.{place}.{part}")
        place += 1  # a pooling
    yield StateDictLayer("classifier.1")


def resnet(depth: int, _: Sequence[Node]) -> Layers:
    """Source: pytorch/vision, torchvision/models/resnet.py."""
    yield StateDictLayer("conv1", "bn1")
    wide = bottlenecks(depth)
    for level, blocks in enumerate(BLOCKS[depth]):
        for place in range(blocks):
            block = f"layer{level + 1}.{place}"
            for number in range(1, 4 if wide else 3):
                yield StateDictLayer(f"{block}.conv{number}", f"{block}.bn{number}")
            if not place and (wide or level):
                yield _conv_norm(f"{block}.downsample")
    yield StateDictLayer("fc", matrix=True)


def vgg(depth: int, norm: bool, _: Sequence[Node]) -> Layers:
    """Source: pytorch/vision, torchvision/models/vgg.py, with batch norm or without."""
    place = 0
    for count in CONVOLUTIONS[depth]:
        for _conv in range(count):
            normed = f"features.{place + 1}" if norm else ""
            yield StateDictLayer(f"features.{place}", normed, biased=norm)
            place += 3 if norm else 2  # with an activation
        place += 1  # a pooling
    for number in (0, 3, 6):
        yield StateDictLayer(f"classifier.{number}")


STATE_DICTS = {
    "ghostnet": StateDict(ghostnet, hard=True),
    "mobilenetv1": StateDict(timm_v1, activation="relu6"),
    "mobilenetv2": StateDict(mobilenetv2, activation="relu6"),
    "mobilenetv3-large": StateDict(partial(mobilenetv3, "large"), eps=1e-3, hard=True),
    "mobilenetv3-small": StateDict(partial(mobilenetv3, "small"), eps=1e-3, hard=True),
    "timm-mobilenetv2": StateDict(timm_v2, activation="relu6"),
    "timm-mobilenetv3-large": StateDict(partial(timm_v3, "large"), hard=True),
    "timm-mobilenetv3-small": StateDict(partial(timm_v3, "small"), hard=True),
    "shufflenetv2": StateDict(shufflenetv2),
    **{f"squeezenet{variant}": StateDict(partial(squeezenet, variant)) for variant in TABLES},
    **{f"resnet{depth}": StateDict(partial(resnet, depth)) for depth in BLOCKS},
    **{f"vgg{depth}": StateDict(partial(vgg, depth, True)) for depth in CONVOLUTIONS},
    **{f"plain-vgg{depth}": StateDict(partial(vgg, depth, False)) for depth in CONVOLUTIONS},
}


class Gates(NamedTuple):
    """The squeeze-excite gates of a network.

    divisors: by which the tensors of a checkpoint are divided, by node index and tensor name. soft:
    the `[scale_channels]` nodes whose gate is not a hard sigmoid.
    """

    divisors: dict[tuple[int, str], int]
    soft: list[Node]


def gates(network: Network) -> Gates:
    """Find the gates, and the divisors that `squeeze_excite` needs in the weights around them."""
    divisors: dict[tuple[int, str], int] = {}
    soft = []
    for node in network:
        if not isinstance(node.layer, ScaleChannels):
            continue
        gate, x = (network[index] for index in node.inputs)
        readers = _readers_of_sum(network, node, x)
        if getattr(gate.layer, "activation", "") == "hardtan" and readers:
            divisors |= {(gate.index, "conv.weight"): 3, (gate.index, "conv.bias"): 3}
            divisors |= {(reader.index, "conv.weight"): 2 for reader in readers}
        else:
            soft.append(node)
    return Gates(divisors, soft)


def _readers_of_sum(network: Network, scaled: Node, x: Node) -> list[Node]:
    """Return the convolutions that read x + x * gate; none if another layer reads it too."""
    both = {scaled.index, x.index}
    sums = {n.index for n in network if isinstance(n.layer, Shortcut) and set(n.inputs) == both}
    readers = [node for node in network if sums & set(node.inputs)]
    return readers if all(isinstance(node.layer, Convolutional) for node in readers) else []

"""`[region]`: the head of YOLOv2, with anchors in units of grid cells.

Source: AlexeyAB/darknet src/parser.c parse_region, src/region_layer.c; Redmon & Farhadi 2017.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ghostyolo.layers.base import Importer, LayerError, Module, Shape
from ghostyolo.layers.head import (
    Head,
    anchor_pairs,
    array_module,
    cell_indices,
    check_channels,
    missing_anchors,
)  # fmt: skip
from ghostyolo.layers.tree import Tree, absolute, check_tree, read_tree
from ghostyolo.syntax.options import key, options


@options
class Region(Head):
    """Each anchor has x, y, w, h, objectness and classes. The output is in the order of cells."""

    names = ("region",)
    hank_ai = resizable = True
    opencv = Importer()

    anchors: tuple[float, ...] = key(derive=lambda layer: (0.5,) * 2 * layer.num, always=True)
    classes: int = key(20, always=True)
    coords: int = key(4, always=True)
    num: int = key(1, always=True, maximum=1024)
    softmax: int = key(0, always=True)
    max: int = key(200)
    log: int = key(0)
    sqrt: int = key(0)
    focal_loss: int = key(0)
    jitter: float = key(0.2, always=True)
    resize: float = key(1.0)
    rescore: int = key(0)
    thresh: float = key(0.5, always=True)
    classfix: int = key(0)
    absolute: int = key(0)
    random: float = key(0.0)
    coord_scale: float = key(1.0)
    object_scale: float = key(1.0)
    noobject_scale: float = key(1.0)
    mask_scale: float = key(1.0)
    class_scale: float = key(1.0)
    bias_match: int = key(0)
    tree: str = key("")
    map: str = key("")

    def warnings(self, *inputs: Shape) -> Iterator[LayerError]:
        yield from missing_anchors(self.anchors, self.num)

    def anchors_px(self, cell: tuple[float, float]) -> tuple[tuple[float, float], ...]:
        self.check_boxes()
        return tuple((w * cell[0], h * cell[1]) for w, h in anchor_pairs(self.anchors, self.num))

    def with_anchors(
        self, anchors: Sequence[Sequence[float]], own: range, cell: tuple[float, float]
    ) -> tuple[Head, int]:
        """List its own anchors, in cells, of four significant digits."""
        sides = [side / length for i in own for side, length in zip(anchors[i], cell, strict=True)]
        head = self.changed(anchors=tuple(float(f"{side:.4g}") for side in sides), num=len(own))
        return head, head.needed_channels

    @property
    def needed_channels(self) -> int:
        """Return the number of input channels that the head needs."""
        return self.num * (self.coords + 1 + self.classes)

    def shape(self, *inputs: Shape) -> Shape:
        sum_ = f"{self.num} anchors * ({self.coords + 1} + {self.classes} classes)"
        check_channels(inputs[0].c, self.needed_channels, sum_)
        if self.coords < 4:
            raise LayerError(f"coords={self.coords}", "set coords=4")
        return inputs[0]

    def check_inference(self, *inputs: Shape) -> None:
        if self.tree:
            check_tree(self.tree, self.classes)

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import heads

        groups = read_tree(self.tree).groups if self.tree else (self.classes,)
        return heads.RegionActivation(self.num, groups, bool(self.softmax or self.tree))

    def decode(self, output: Any, size: tuple[int, int]) -> tuple[Any, Any, Any]:
        """Decode the output in the order of cells, see `Head.decode`.

        The class probabilities include the objectness, and the objectness returned is 1: Darknet
        applies the confidence threshold to their product only. With a tree they do not, as
        `decode_above` says.
        Source: AlexeyAB/darknet src/region_layer.c get_region_boxes, get_region_box.
        """
        xp = array_module(output)
        n, _, h, w = output.shape
        slots = output.reshape(n, h, w, self.num, 5 + self.classes)
        plane = xp.ones_like(slots[0, :, :, :1, 0])
        column, row = cell_indices(plane, xp)
        anchor_w, anchor_h = (
            xp.concatenate(
                [plane * pair[axis] for pair in anchor_pairs(self.anchors, self.num)], -1
            )
            for axis in (0, 1)
        )
        boxes = [
            (column + 1 / (1 + xp.exp(-slots[..., 0]))) / w,
            (row + 1 / (1 + xp.exp(-slots[..., 1]))) / h,
            xp.exp(slots[..., 2]) * anchor_w / w,
            xp.exp(slots[..., 3]) * anchor_h / h,
        ]
        objectness = slots[..., 4:5]
        if self.classfix == -1:
            objectness = objectness * (objectness >= 0.5)
        boxes = xp.stack(boxes, -1).reshape(n, -1, 4)
        if self.tree:
            classes = _deepest(slots[..., 5:].reshape(n, -1, self.classes), read_tree(self.tree))
            return boxes, objectness.reshape(n, -1), classes
        classes = (objectness * slots[..., 5:]).reshape(n, -1, self.classes)
        return boxes, xp.ones_like(classes[..., 0]), classes

    def decode_above(
        self, output: Any, size: tuple[int, int], thresh: float
    ) -> tuple[Any, Any, Any, Any]:
        """Decode the boxes above a threshold, see `Head.decode_above`.

        With a tree the objectness decides whether there is a box, and its score is the probability
        of its class alone.
        """
        pictures, boxes, objectness, classes = super().decode_above(output, size, thresh)
        return pictures, boxes, objectness / objectness if self.tree else objectness, classes


def _deepest(probabilities: Any, tree: Tree) -> Any:
    """Return the probability of the last class in the tree that is above .5, and 0 for others.

    probabilities: (..., classes), see `tree.absolute`.
    """
    xp, found = array_module(probabilities), absolute(probabilities, tree)
    above, numbers = found > 0.5, xp.arange(1, len(tree.parents) + 1)
    last = xp.amax(above * numbers, -1)[..., None]
    return found * (above & (numbers == last))

"""`[route]`: concatenate earlier outputs, or slices of them.

Source: AlexeyAB/darknet src/parser.c parse_route, src/route_layer.c.
"""

from __future__ import annotations

from collections.abc import Iterator

from ghostyolo.layers.base import (
    SILENT_DIFFERENCE,
    ChannelOrder,
    Importer,
    Layer,
    LayerError,
    Module,
    Shape,
    same_size,
)
from ghostyolo.syntax.options import key, options


@options
class Route(Layer):
    """Concatenation in the order of `layers`; with `groups`, of a slice of each source."""

    names = ("route",)
    refs = {"layers": "data"}
    takes_previous = False
    trained = hank_ai = resizable = True
    operations = "other"
    opencv = Importer()

    groups: int = key(1, training="any")
    group_id: int = key(0, training="any")
    stream: int = key(-1, training="any")
    wait_stream: int = key(-1, training="any")

    def shape(self, *inputs: Shape) -> Shape:
        same_size(inputs, "choose layers of the same size, or resample one of them")
        if not 0 <= self.group_id < self.groups:
            message = f"group_id={self.group_id} of groups={self.groups}"
            raise LayerError(message, f"use 0 to {self.groups - 1}")
        for shape in inputs:
            if shape.c % self.groups:
                message = f"groups={self.groups} does not divide {shape.c} channels"
                raise LayerError(message, "choose groups that divide every source", "groups")
        return Shape(sum(shape.c for shape in inputs) // self.groups, *inputs[0][1:])

    def channel_order(self, *inputs: Shape) -> ChannelOrder:
        return "joined" if self.groups == 1 else "fixed"

    def numbers_moved(self, out: Shape, *inputs: Shape) -> int:
        """Return 0 for a single source, as the output is a view of it."""
        return super().numbers_moved(out, *inputs) if len(inputs) > 1 else 0

    def opencv_differences(self, *inputs: Shape) -> Iterator[tuple[str, str, str]]:
        if len(inputs) > 1 and self.groups > 1:
            yield "groups", "OpenCV's importer concatenates before it slices", SILENT_DIFFERENCE

    def module(self, *inputs: Shape) -> Module:
        from ghostyolo.ops import combining

        return combining.Route(self.groups, self.group_id)

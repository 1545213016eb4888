"""The module that is written to a file: a picture in, the heads' outputs or boxes out."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ghostyolo.model.detector import heads_of
from ghostyolo.model.folded import folded
from ghostyolo.model.model import Model
from ghostyolo.network.metadata import output_name
from ghostyolo.network.outputs import output_nodes


class Graph(nn.Module):
    """A model's plain form with the outputs that a file has.

    boxes: "" for the outputs of the model's ends as Darknet holds them, else the format of boxes
    (N, n, 4), in pixels of the input, that stand before scores (N, n, classes), objectness times
    class probability. size: the input's (h, w), None for that of the input at hand.
    """

    def __init__(self, model: Model, boxes: str, size: tuple[int, int] | None) -> None:
        super().__init__()
        self.heads = heads_of(model.network) if boxes else []
        self.boxes, self.size = boxes, size
        self.names = (
            ["boxes", "scores"]
            if boxes
            else [output_name(model.network, node) for node in output_nodes(model.network)]
        )
        self.plain = folded(model)

    def example(self, batch: int) -> Tensor:
        """Return an input to trace with, one of which no side is 1 by chance."""
        generator = torch.Generator().manual_seed(0)
        return torch.rand(batch, *self.plain.network.options.shape, generator=generator)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, in the order of `names`."""
        outputs = self.plain(images)
        if not self.boxes:
            return tuple(outputs)
        size: Any = self.size or tuple(images.shape[2:])
        return decoded(self.heads, outputs, size, self.boxes)


def decoded(
    heads: list[Any], outputs: list[Tensor], size: tuple[Any, Any], boxes: str
) -> tuple[Tensor, Tensor]:
    """Return the boxes of all heads in pixels of the input, and their scores."""
    parts = [head.decode(output, size) for head, output in zip(heads, outputs, strict=True)]
    cxcywh = torch.cat([part[0] for part in parts], 1)
    scores = torch.cat([part[1][..., None] * part[2] for part in parts], 1)
    h, w = size
    centre_x, centre_y, wide, high = cxcywh.split(1, -1)
    centre_x, wide, centre_y, high = centre_x * w, wide * w, centre_y * h, high * h
    if boxes == "cxcywh":
        return torch.cat((centre_x, centre_y, wide, high), -1), scores
    x, y = wide / 2, high / 2
    return torch.cat((centre_x - x, centre_y - y, centre_x + x, centre_y + y), -1), scores

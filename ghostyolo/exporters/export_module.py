"""The module that is exported: takes images, returns the network's outputs, or boxes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.model.detector import heads_of
from ghostyolo.model.folded import folded
from ghostyolo.model.model import Model
from ghostyolo.network.metadata import output_names


class ExportModule(nn.Module):
    """A folded model with the outputs of an exported file before suppression.

    These are the network's outputs as Darknet holds them, or boxes (N, n, 4) in pixels of the input
    and scores (N, n, classes), objectness times class probability.
    """

    def __init__(self, model: Model, settings: ExportSettings) -> None:
        super().__init__()
        self.heads = heads_of(model.network) if settings.boxes else []
        self.boxes, self.dynamic = settings.boxes, settings.dynamic
        self.batch = 2 if settings.dynamic else settings.batch  # 1 would become a constant
        self.output_names = output_names(model.network, "decoded" if settings.boxes else "raw")
        self.plain = folded(model)  # `is_float` relies on this name

    def example(self) -> Tensor:
        """Return an input to trace with."""
        generator = torch.Generator().manual_seed(0)
        return torch.rand(self.batch, *self.plain.network.options.shape, generator=generator)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, in the order of `output_names`."""
        outputs = self.plain(images)
        if not self.boxes:
            return tuple(outputs)
        size: Any = self.plain.network.options.size
        if self.dynamic == "size":
            size = tuple(images.shape[2:])
        return decoded(self.heads, outputs, size, self.boxes)


def decoded(
    heads: list[Any], outputs: list[Tensor], size: tuple[Any, Any], boxes: str
) -> tuple[Tensor, Tensor]:
    """Return the boxes of all heads in pixels of the input, and their scores."""
    parts = [head.decode(output, size) for head, output in zip(heads, outputs, strict=True)]
    cxcywh = torch.cat([part[0] for part in parts], 1)
    scores = torch.cat([part[1][..., None] * part[2] for part in parts], 1)
    h, w = size
    cx, cy, box_w, box_h = cxcywh.split(1, -1)
    cx, box_w, cy, box_h = cx * w, box_w * w, cy * h, box_h * h
    if boxes == "cxcywh":
        return torch.cat((cx, cy, box_w, box_h), -1), scores
    half_w, half_h = box_w / 2, box_h / 2
    return torch.cat((cx - half_w, cy - half_h, cx + half_w, cy + half_h), -1), scores

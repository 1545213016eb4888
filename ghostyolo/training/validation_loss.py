"""The loss on the validation pictures, from the forward passes that predict them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ghostyolo.data import Sample
from ghostyolo.distributed import World
from ghostyolo.model.classifier import Classifier
from ghostyolo.model.detector import Detector
from ghostyolo.model.model import Model
from ghostyolo.training.gradient import UpdateConfig, mini_batch_loss


class ValidationLoss:
    """Predicts as its model does, and adds up the loss of the pictures.

    model: in evaluation mode. update: how the run computes its loss; here always in float32.
    """

    def __init__(self, model: Model, update: UpdateConfig) -> None:
        self.model, self.network = model, model.network
        self.update = replace(update, run=self._run, amp=None)
        self.targets = torch.empty(0)
        self.outputs: dict[int, Tensor] = {}
        self.loss = self.divisor = 0.0

    def detector(self, **options: Any) -> Detector:
        """Return a `Detector` of the model, as `Model.detector` does."""
        return Detector(self.network, self._outputs, **options)

    def classifier(self) -> Classifier:
        """Return a `Classifier` of the model, as `Model.classifier` does."""
        return Classifier(self.network, self._outputs)

    def expect(self, images: Sequence[np.ndarray], samples: Sequence[Sample]) -> None:
        """Take the pictures of the next forward pass, uint8 RGB (H, W, 3), and their samples."""
        pairs = zip(images, samples, strict=True)
        truths = [self.update.task.truths(self.network, *pair) for pair in pairs]
        rows = [np.column_stack((np.full(len(own), n), own)) for n, own in enumerate(truths)]
        self.targets = torch.from_numpy(np.concatenate(rows)).float()

    def mean(self, world: World) -> float:
        """Return the loss of all pictures of all ranks, averaged as in an update."""
        parts = world.gather((self.loss, self.divisor))
        loss, divisor = (sum(column) for column in zip(*parts, strict=True))
        return loss / divisor

    def _outputs(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the outputs for (N, 3, h, w) arrays as `Model` does, and add their loss."""
        device = self.model.device
        x = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
        with torch.inference_mode():
            loss = mini_batch_loss(self.model, x, self.targets.to(device), self.update)
        self.loss += sum(part.item() for part in loss.parts.values())
        self.divisor += loss.divisor.item()
        return [self.outputs[i].float().cpu().numpy() for i in self.model.output_indices]

    def _run(self, x: Tensor, keep: frozenset[int]) -> dict[int, Tensor]:
        """Compute as `Model.run` does, and keep the outputs of the network."""
        self.outputs = self.model.run(x, keep.union(self.model.output_indices))
        return self.outputs

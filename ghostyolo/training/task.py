"""The tasks that a network can be trained for: detection and classification.

The training loop is the same for both; each difference is a field of `Task`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ghostyolo.augment import classification, mosaic
from ghostyolo.augment.batches import Compose
from ghostyolo.data import Dataset, Sample, layouts, open_classification, open_dataset
from ghostyolo.data import classification as class_folders
from ghostyolo.errors import OptionError
from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss import CLASSIFICATION_LOSSES, DETECTION_LOSSES, cross_entropy, distillation
from ghostyolo.loss.base import HeadOutput, LossSum
from ghostyolo.loss.cross_entropy import ClassLogits
from ghostyolo.model.classifier import classifier_output_of
from ghostyolo.network import Network
from ghostyolo.network.outputs import classifier_output, detection_heads
from ghostyolo.training import augmentation
from ghostyolo.training.unsupported import check_classifier, check_detector

Forward = Callable[[frozenset[int]], dict[int, Tensor]]  # nodes -> their outputs, in float32


@dataclass(frozen=True)
class Task:
    """The differences between detection and classification.

    scores: names of the scores of a validation; the weights with the highest mean of these scores
    are kept. losses: names, the default first. read: opens a split of a data set. is_undivided:
    tells whether a data set has no splits. check: raises `CfgError` for a network that training
    does not support. augmentation, compose: see `Batches`.
    truths: returns the rows of a picture's targets that `compose` returns, without augmentation.
    outputs: computes the outputs of the nodes that the loss needs, by the given `Forward`, and
    returns the first argument of the loss. distillation_loss: takes the outputs of the network and
    of the teacher.
    """

    name: str
    scores: tuple[str, ...]
    losses: Mapping[str, str]
    read: Callable[..., Dataset]
    is_undivided: Callable[[str | Path], bool]
    check: Callable[[Network], None]
    augmentation: Callable[..., Any]
    compose: Compose
    truths: Callable[[Network, np.ndarray, Sample], np.ndarray]
    outputs: Callable[[Network, Forward], Any]
    distillation_loss: Callable[[Any, Any, tuple[int, int]], LossSum]

    def mean_score(self, row: Mapping[str, float]) -> float:
        """Return the mean of the scores of a validation; 0 if the set has no truths."""
        values = [row.get(name, 0.0) for name in self.scores]
        mean = sum(values) / len(values)
        return 0.0 if math.isnan(mean) else mean

    def check_loss(self, name: str) -> str:
        """Return the name of a loss, the default for "".

        Raises `OptionError` for the name of another task's loss or of none.
        """
        if name and name not in self.losses:
            hint = f"use {' or '.join(self.losses)}, or leave it out"
            raise OptionError(f"--loss {name} is not for {self.name}", hint=hint)
        return name or next(iter(self.losses))


def task_of(network: Network) -> Task:
    """Return the task of a network: classification if it ends as a classifier, else detection."""
    return CLASSIFICATION if classifier_output(network) else DETECTION


def _detector_outputs(network: Network, forward: Forward) -> list[HeadOutput]:
    """Return each `[yolo]` with its input."""
    heads = [(node, head) for node, head in detection_heads(network) if isinstance(head, Yolo)]
    out = forward(frozenset(node.inputs[0] for node, _ in heads))
    return [HeadOutput(head, out[node.inputs[0]]) for node, head in heads]


def _classifier_outputs(network: Network, forward: Forward) -> ClassLogits:
    end = classifier_output_of(network)
    logits = forward(frozenset({end.logits.index}))[end.logits.index]
    return ClassLogits(logits.flatten(1), end.temperature, network.options.label_smooth_eps)


DETECTION = Task(
    name="detection",
    scores=("AP", "AP50"),  # each alone is noisy on a small validation set
    losses=DETECTION_LOSSES,
    read=open_dataset,
    is_undivided=layouts.is_undivided,
    check=check_detector,
    augmentation=augmentation.detection,
    compose=mosaic.compose,
    truths=augmentation.detection_truths,
    outputs=_detector_outputs,
    distillation_loss=distillation.distillation_loss,
)
CLASSIFICATION = Task(
    name="classification",
    scores=("top-1",),
    losses=CLASSIFICATION_LOSSES,
    read=open_classification,
    is_undivided=class_folders.is_undivided,
    check=check_classifier,
    augmentation=augmentation.classification,
    compose=classification.compose,
    truths=augmentation.classification_truths,
    outputs=_classifier_outputs,
    distillation_loss=cross_entropy.distillation_loss,
)

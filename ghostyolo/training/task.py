"""What a network can be trained to do: to find things in pictures, or to say what pictures show.

The loop of training is the same; a `Task` holds what is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ghostyolo.augment import classification as augment_classification
from ghostyolo.augment import mosaic
from ghostyolo.augment.batches import Compose
from ghostyolo.data import Dataset, open_classification, open_dataset
from ghostyolo.errors import OptionError
from ghostyolo.layers.yolo import Yolo
from ghostyolo.loss import Cost, HeadRun, entropy, teacher
from ghostyolo.loss.entropy import LogitRun
from ghostyolo.model.classifier import classifier_output_of
from ghostyolo.network import Network
from ghostyolo.network.outputs import classifier_output, detection_heads
from ghostyolo.training import recipe
from ghostyolo.training.recipe import Recipe
from ghostyolo.training.unsupported import check_classifier, check_detector


@dataclass(frozen=True)
class Task:
    """What training has to know of what is learned.

    scores: by whose mean, of a validation's row, the best weights are chosen. recipes: by the name
    of their loss, the usual one first. read: opens a split of a data set. check: raises `CfgError`
    for what training cannot honour. settings, compose: how pictures are changed, see `Batches`.
    keep: the nodes whose outputs the loss needs. runs: what it takes of these. imitate: the loss
    against what it takes of a teacher's.
    """

    name: str
    scores: tuple[str, ...]
    recipes: Mapping[str, Recipe]
    read: Callable[..., Dataset]
    check: Callable[[Network], None]
    settings: Callable[..., Any]
    compose: Compose
    keep: Callable[[Network], frozenset[int]]
    runs: Callable[[Network, dict[int, Tensor]], Any]
    imitate: Callable[[Any, Any, tuple[int, int]], Cost]

    def score(self, row: Mapping[str, float]) -> float:
        """Return by how much a validation is good; 0 without truths to count."""
        values = [row.get(name, 0.0) for name in self.scores]
        mean = sum(values) / len(values)
        return 0.0 if math.isnan(mean) else mean

    def recipe(self, loss: str) -> tuple[str, Recipe]:
        """Return the name and the recipe of a loss, of the usual one if it is not named.

        Raises `OptionError` for a loss of another task.
        """
        name = loss or next(iter(self.recipes))
        if name not in self.recipes:
            message = f"loss '{name}' is not for {self.name}, which has {', '.join(self.recipes)}"
            raise OptionError(message, hint="leave it out")
        return name, self.recipes[name]


def task_of(network: Network) -> Task:
    """Return what a network is for: a classifier's end says so, all else is to have heads."""
    return CLASSIFICATION if classifier_output(network) else DETECTION


def _heads(network: Network) -> list[tuple[int, int, Yolo]]:
    """Return the heads that are trained: what each receives, its node, its layer."""
    found = detection_heads(network)
    return [(node.inputs[0], node.index, head) for node, head in found if isinstance(head, Yolo)]


def _kept_of_detector(network: Network) -> frozenset[int]:
    return frozenset(index for above, own, _ in _heads(network) for index in (above, own))


def _head_runs(network: Network, out: dict[int, Tensor]) -> list[HeadRun]:
    return [HeadRun(head, out[above], out[own]) for above, own, head in _heads(network)]


def _kept_of_classifier(network: Network) -> frozenset[int]:
    return frozenset({classifier_output_of(network).logits.index})


def _logit_run(network: Network, out: dict[int, Tensor]) -> LogitRun:
    end = classifier_output_of(network)
    smoothing = network.options.label_smooth_eps
    return LogitRun(out[end.logits.index].flatten(1), end.temperature, smoothing)


DETECTION = Task(
    name="detection",
    scores=("AP", "AP50"),  # either alone jumps on a small val
    recipes=recipe.RECIPES,
    read=open_dataset,
    check=check_detector,
    settings=recipe.augmentation,
    compose=mosaic.compose,
    keep=_kept_of_detector,
    runs=_head_runs,
    imitate=teacher.cost,
)
CLASSIFICATION = Task(
    name="classification",
    scores=("top-1",),
    recipes=recipe.CLASSIFIER,
    read=open_classification,
    check=check_classifier,
    settings=recipe.crops,
    compose=augment_classification.compose,
    keep=_kept_of_classifier,
    runs=_logit_run,
    imitate=entropy.imitation,
)

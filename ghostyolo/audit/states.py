"""The probability of each kind of error of each label.

Errors are planted into the labels, and a logistic regression learns from them what a wrong label
looks like beside the detections; the labels as they are count as right. Since some are wrong, this
is done a few times, each time without those that were found to be probably wrong. The regression
for the labels of a picture is learned from other pictures. How common each kind of error is follows
from the result: Saerens et al., Adjusting the outputs of a classifier to new a priori
probabilities, 2002.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ghostyolo.audit.evidence import Labels, Views, features
from ghostyolo.audit.logistic import from_other_folds
from ghostyolo.audit.planted import OK, Planter

KINDS = 5
COPIES = 6  # of the labels, each with other errors
PASSES = 3
FOLDS = 5
WRONG = 0.1  # of the labels, as is supposed in all passes but the last
ITERATIONS, RAREST = 50, 1e-4  # of the estimate of how common errors are


def label_states(
    labels: Sequence[Labels], views: Sequence[Views], classes: int, seed: int = 0
) -> np.ndarray:
    """Return the probability of each state of `planted` for all labels of all pictures, (n, 5)."""
    rng = np.random.default_rng(seed)
    planter = _planter(labels, classes)
    found = np.concatenate([features(*pair) for pair in zip(labels, views, strict=True)])
    if not len(found):
        return np.zeros((0, KINDS))
    pictures = np.repeat(np.arange(len(labels)), [len(each.boxes) for each in labels])
    folds = rng.permutation(np.arange(len(labels)) % FOLDS)
    right = np.ones(len(found), bool)
    for step in range(PASSES):
        x, states, owners = _examples(labels, views, planter, right, pictures, rng)
        prior = np.bincount(states, minlength=KINDS).clip(1) / len(states)
        result = from_other_folds(x, states, folds[owners], found, folds[pictures], KINDS)
        if step + 1 < PASSES:
            result = _with_prior(result, prior, np.array([1 - WRONG] + [WRONG / 4] * 4))
        else:
            result = _with_estimated_prior(result, prior)
        right = result[:, OK] > 0.5
    return result


def _planter(labels: Sequence[Labels], classes: int) -> Planter:
    counts = np.bincount(np.concatenate([each.classes for each in labels]), minlength=classes)
    sides = [(each.boxes[:, 2:] - each.boxes[:, :2]) / each.size[::-1] for each in labels]
    return Planter(counts / max(1, counts.sum()), np.concatenate(sides))


def _examples(
    labels: Sequence[Labels],
    views: Sequence[Views],
    planter: Planter,
    right: np.ndarray,
    pictures: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, states and pictures of labels with planted errors, without doubted ones."""
    x, states, owners = [], [], []
    for number, (own, seen) in enumerate(zip(labels, views, strict=True)):
        trusted = right[pictures == number]
        for _ in range(COPIES):
            changed, kinds = planter.plant(own, rng)
            used = np.append(trusted, np.ones(len(kinds) - len(trusted), bool))
            x.append(features(changed, seen)[used])
            states.append(kinds[used])
            owners.append(np.full(int(used.sum()), number))
    return np.concatenate(x), np.concatenate(states), np.concatenate(owners)


def _with_prior(found: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return probabilities of states that are as common as `after` says, (n, K)."""
    changed = found * (after / before)
    return changed / changed.sum(1, keepdims=True)


def _with_estimated_prior(found: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return probabilities of states that are as common as they say themselves."""
    prior = before
    for _ in range(ITERATIONS):
        result = _with_prior(found, before, prior)
        prior = result.mean(0).clip(RAREST)
        prior = prior / prior.sum()
    return result

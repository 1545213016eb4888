"""Errors planted into labels, from which `states` learns what errors look like."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ghostyolo.audit.evidence import Labels
from ghostyolo.boxes import iou

# What can be wrong with a label that is there.
OK, SPURIOUS, CLASS, PLACE, DOUBLE = range(5)
RATE = 0.15  # of the labels that an error is planted at
# A box is moved by a part of its sides, or made larger or smaller by a factor.
MOVES, LARGER, SMALLER = (0.2, 0.5), (1.3, 1.6), (0.6, 0.75)
MOVED = 0.7  # of the boxes in a wrong place; the others have a wrong size
JITTER = 0.04  # standard deviation of the edges of a double, as a fraction of its sides
FREE, TRIES = 0.3, 20  # the IoU with labels below which a box lies where none is; draws for it


@dataclass(frozen=True, eq=False)
class Planter:
    """Plants errors like those that people make.

    frequencies: of the classes, (K,). sides: (m, 2), of boxes as fractions of their pictures'.
    """

    frequencies: np.ndarray
    sides: np.ndarray

    @property
    def kinds(self) -> list[int]:
        """Return the errors that can be planted: no wrong class if there is one class."""
        classes = np.count_nonzero(self.frequencies)
        return [SPURIOUS, CLASS, PLACE, DOUBLE] if classes > 1 else [SPURIOUS, PLACE, DOUBLE]

    def plant(self, labels: Labels, rng: np.random.Generator) -> tuple[Labels, np.ndarray]:
        """Return labels with errors, and the state of each; additional ones come last."""
        boxes, classes = labels.boxes.copy(), labels.classes.copy()
        states, added = np.zeros(len(boxes), int), list[tuple[np.ndarray, int, int]]()
        for row in np.flatnonzero(rng.random(len(boxes)) < RATE):
            kind = int(rng.choice(self.kinds))
            if kind == SPURIOUS:
                cls = int(rng.choice(len(self.frequencies), p=self.frequencies))
                added.append((self._somewhere(labels, rng), cls, kind))
                continue
            states[row] = kind  # of a double both: which is one too many, nobody can tell
            if kind == CLASS:
                classes[row] = self._other_class(classes[row], rng)
            elif kind == PLACE:
                boxes[row] = _displaced(boxes[row], rng)
            else:
                added.append((_jittered(boxes[row], rng), classes[row], kind))
        limits = np.tile(labels.size[::-1], 2)
        boxes = np.concatenate([boxes, *(box[None] for box, _, _ in added)]).clip(0, limits)
        classes = np.append(classes, [cls for _, cls, _ in added]).astype(int)
        states = np.append(states, [kind for _, _, kind in added]).astype(int)
        return Labels(boxes.astype(np.float32), classes, labels.size), states

    def _other_class(self, cls: int, rng: np.random.Generator) -> int:
        others = self.frequencies.copy()
        others[cls] = 0
        if not others.any():
            return cls
        return int(rng.choice(len(others), p=others / others.sum()))

    def _somewhere(self, labels: Labels, rng: np.random.Generator) -> np.ndarray:
        """Return a box of a usual size where no label is, if a few draws find such a place."""
        picture = np.array(labels.size[::-1])
        for _ in range(TRIES):
            sides = self.sides[rng.integers(len(self.sides))] * picture
            corner = rng.random(2) * (picture - sides).clip(0)
            box = np.concatenate((corner, corner + sides))
            if iou(box[None], labels.boxes).max(initial=0) < FREE:
                break
        return box


def _jittered(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a box with edges that are a little off."""
    return box + rng.normal(0, JITTER, 4) * np.tile(box[2:] - box[:2], 2)


def _displaced(box: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a box moved, or of another size."""
    sides, centre = box[2:] - box[:2], (box[:2] + box[2:]) / 2
    if rng.random() < MOVED:
        angle = rng.uniform(0, 2 * np.pi)
        centre = centre + rng.uniform(*MOVES) * sides * (np.cos(angle), np.sin(angle))
    else:
        sides = sides * rng.uniform(*(LARGER if rng.random() < 0.5 else SMALLER))
    return np.concatenate((centre - sides / 2, centre + sides / 2))

"""The tree of classes of YOLO9000: `tree=` of `[region]` and `[softmax]`.

A class is a word such as "terrier" under "dog". The network gives the probability of each class
under the condition that its parent is right.
Source: AlexeyAB/darknet src/tree.c; Redmon & Farhadi 2017, section 4.
"""

from __future__ import annotations

import functools
from itertools import groupby
from typing import Any, NamedTuple

from ghostyolo import files
from ghostyolo.layers.base import LayerError
from ghostyolo.layers.head import array_module

MOST_BYTES = 16 << 20  # of the file


class Tree(NamedTuple):
    """The parent of each class, -1 for none; parents come first.

    groups: the sizes of the runs of classes that have the same parent. Softmax is over each run.
    """

    parents: tuple[int, ...]
    groups: tuple[int, ...]

    def inner(self) -> list[int]:
        """Return the classes that have classes below them."""
        return sorted(set(self.parents) - {-1})

    def levels(self) -> list[list[int]]:
        """Return the classes by depth, the roots first."""
        depths: list[int] = []
        for parent in self.parents:
            depths.append(depths[parent] + 1 if parent >= 0 else 0)
        found: list[list[int]] = [[] for _ in range(max(depths) + 1)]
        for index, depth in enumerate(depths):
            found[depth].append(index)
        return found


@functools.lru_cache(maxsize=4)
def read_tree(path: str) -> Tree:
    """Read a tree: a line for each class with its name and the index of its parent.

    Like Darknet, it looks in the working folder. Raises `LayerError`.
    """
    try:
        lines = files.read(path, MOST_BYTES).decode("utf-8", "replace").splitlines()
    except OSError as error:
        hint = "give the path of the file, or run in the folder from which Darknet finds it"
        raise LayerError(f"tree={path}: {error.strerror}", hint) from None
    parents: list[int] = []
    for number, line in enumerate(lines):
        _, _, parent = line.strip().rpartition(" ")
        if not parent.removeprefix("-").isdecimal() or not -1 <= int(parent) < number:
            message = f"tree={path}: line {number + 1} has no parent above it"
            raise LayerError(message, "write a name and the index of an earlier line, or -1")
        parents.append(int(parent))
    return Tree(tuple(parents), tuple(len(list(run)) for _, run in groupby(parents)))


def check_tree(path: str, classes: int) -> None:
    """Raise `LayerError` if a file is no tree of that many classes."""
    if (count := len(read_tree(path).parents)) != classes:
        message = f"tree={path} has {count} classes, the layer {classes}"
        raise LayerError(message, "use the tree that belongs to the cfg")


def absolute(probabilities: Any, tree: Tree) -> Any:
    """Return each class's own probability: the product along its way from the root.

    probabilities: (..., classes) under the condition of the parent, numpy or torch.
    Source: hierarchy_predictions.
    """
    result = array_module(probabilities).zeros_like(probabilities) + probabilities
    for level in tree.levels()[1:]:
        result[..., level] *= result[..., [tree.parents[index] for index in level]]
    return result

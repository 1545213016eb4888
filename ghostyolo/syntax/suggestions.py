"""Suggestions for misspelt words, and the meaning of words of other programs."""

from __future__ import annotations

from collections.abc import Iterable

# Sections of readers in PyTorch and of forks, with what replaces each.
# Source: WongKinYiu/PyTorch_YOLOv4 and WongKinYiu/yolor, models.py of each.
FOREIGN_SECTIONS = {
    "shift_channels": "it adds a vector to the channels; no Darknet section does",
    "control_channels": "it multiplies the channels by a vector; write [scale_channels]",
    "implicit_add": "write [implicit] with mean=0, which takes filters and atoms as well",
    "implicit_mul": "write [implicit] with mean=1, which takes filters and atoms as well",
    "implicit_cat": "write [implicit], then a [route] to it",
    "alternate_channels": "write a [route] to the same two layers, whose channels do not alternate",
    "route2": "write [route], which joins whole maps",
    "route3": "write [route], which joins whole maps",
    "route_lhalf": "write [route] with groups=2 and group_id=0",
    "weighted_concat": "write [route], which has no weights",
    "depthwise_convolutional": "write [convolutional] with groups= and filters= its input channels",
    "depthwise": "write [convolutional] with groups= and filters= its input channels",
    "deconvolutional": "transposed convolutions are not in Darknet; write [upsample] and a "
    "[convolutional]",
    "squeeze_excitation": "write [avgpool], two 1x1 [convolutional] and [scale_channels]",
    "se": "write [avgpool], two 1x1 [convolutional] and [scale_channels]",
    "yolo3": "another decoding than [yolo] is possible; look up what wrote it",
    "yolo4": "another decoding than [yolo] is possible; look up what wrote it",
    "jde": "it has a head for embeddings; write [yolo] for detection only",
}
# Words of other programs for the values of a key: Darknet's word for the same function, or "".
FOREIGN_WORDS = {
    "activation": {
        "silu": "swish", "sigmoid": "logistic", "identity": "linear", "none": "linear",
        "lrelu": "leaky", "leaky_relu": "leaky", "leakyrelu": "leaky", "hardtanh": "hardtan",
        "hswish": "", "h_swish": "", "h-swish": "", "hard_swish": "", "hardswish": "",
        "h_sigmoid": "", "hsigmoid": "", "hard_sigmoid": "", "hardsigmoid": "", "prelu": "",
        "celu": "", "softplus": "", "softmax": "", "relu1": "", "frelu": "", "acon": "",
    },
}  # fmt: skip


def foreign_word(key: str, word: str) -> str:
    """Return a hint about a value of a key that another program has, "" for an unknown one."""
    same = FOREIGN_WORDS.get(key, {}).get(word.lower())
    if same is None:
        return ""
    return f"write {key}={same}, the same function" if same else "no Darknet has this function"


def slip(word: str, choices: Iterable[str]) -> str | None:
    """Return the choice that a word surely means, None if there is none or more than one.

    The two differ in upper and lower case only, or by one edit. A digit that differs is taken for
    a version, not for a slip.
    """
    listed = list(choices)
    found = [choice for choice in listed if choice.lower() == word.lower()]
    found = found or [choice for choice in listed if edits(word, choice) == 1]
    digits = [sorted(filter(str.isdigit, text)) for text in (word, *found)]
    return found[0] if len(found) == 1 and digits[0] == digits[1] else None


def nearest(word: str, choices: Iterable[str], distance: int | None = None) -> str | None:
    """Return the choice with the smallest edit distance to a word, None if it exceeds `distance`.

    distance: the largest edit distance, by default a quarter of the length of the word.
    """
    limit = max(1, len(word) // 4) if distance is None else distance
    ranked = sorted((edits(word, choice), choice) for choice in choices)
    return ranked[0][1] if ranked and ranked[0][0] <= limit else None


def edits(a: str, b: str) -> int:
    """Return the edit distance: insertions, deletions, substitutions and swaps of neighbours.

    If the lengths differ by more than 3, return the longer length without counting.
    Source: optimal string alignment distance, Damerau 1964.
    """
    if abs(len(a) - len(b)) > 3:
        return max(len(a), len(b))
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        above, before_above = row, before
        row = [i]
        for j, y in enumerate(b, start=1):
            cost = min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, before_above[j - 2] + 1)
            row.append(cost)
        before = above
    return row[-1]

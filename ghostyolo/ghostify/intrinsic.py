"""Which maps of a layer stay intrinsic, and which cheap map is made from which."""

from __future__ import annotations

import numpy as np

from ghostyolo.ghostify.options import Split

MOST_EXCHANGES = 200


def origins(split: Split) -> np.ndarray:
    """Return, for each map of a ghost module in its order, the intrinsic map that it comes from."""
    per_source = split.rest // split.source if split.rest else 1
    found = [
        np.arange(split.primary),
        np.arange(split.primary * split.rounds) // max(1, split.rounds),
        np.arange(split.rest) // per_source,
    ]
    return np.concatenate(found)


def choose_intrinsic(errors: np.ndarray, split: Split) -> np.ndarray:
    """Return an order of the maps, intrinsic ones first, that makes the cheap ones' errors small.

    errors: (n, n), [p, j] the error of map j made from map p. Greedy: pairs are taken in the order
    of their errors while each intrinsic map has room, then exchanged while that helps.
    """
    intrinsic, cheap = _greedy(errors, split)
    intrinsic.sort(key=lambda index: (-len(cheap[index]), index))
    order = np.array(intrinsic + _in_order(intrinsic, cheap, split))
    return _exchange(errors, order, split)


def _greedy(errors: np.ndarray, split: Split) -> tuple[list[int], dict[int, list[int]]]:
    """Return the intrinsic maps and the cheap maps of each, as many as the module has for it."""
    n = len(errors)
    extra = split.rest // split.source if split.rest else 0
    larger, made = split.source if extra else 0, set[int]()  # larger: may have `extra` more
    cheap: dict[int, list[int]] = {}
    order = np.argsort(errors + np.diag(np.full(n, np.inf)), axis=None, kind="stable")
    for leftover in (False, True):  # what is left over takes what room there is
        if leftover:
            rest = [index for index in range(n) if index not in cheap and index not in made]
            for index in rest[: split.primary - len(cheap)]:
                cheap[index] = []
        for p, j in zip(*np.unravel_index(order, errors.shape), strict=True):
            if j in made or j in cheap or p in made or p == j:
                continue
            if p not in cheap and len(cheap) == split.primary:
                continue
            have = len(cheap.get(p, ()))
            room = split.rounds + extra if larger or have > split.rounds else split.rounds
            if have >= room:
                continue
            larger -= have == split.rounds
            cheap.setdefault(int(p), []).append(int(j))
            made.add(int(j))
            if len(made) == split.cheap:
                break
    for index in range(n):
        if index not in made:
            cheap.setdefault(index, [])
    return list(cheap), cheap


def _in_order(intrinsic: list[int], cheap: dict[int, list[int]], split: Split) -> list[int]:
    """Return the cheap maps in the module's order: all rounds of each, then the rest."""
    rounds = [map_ for index in intrinsic for map_ in cheap[index][: split.rounds]]
    return rounds + [map_ for index in intrinsic for map_ in cheap[index][split.rounds :]]


def _exchange(errors: np.ndarray, order: np.ndarray, split: Split) -> np.ndarray:
    """Exchange the sources of two cheap maps while that lowers the errors."""
    m, source = split.primary, origins(split)[split.primary :]
    for _ in range(MOST_EXCHANGES):
        at = order[:m][source]
        own = errors[at, order[m:]]
        crossed = errors[at[:, None], order[None, m:]]
        change = crossed + crossed.T - own[:, None] - own[None, :]
        a, b = np.unravel_index(np.argmin(change), change.shape)
        if change[a, b] >= -1e-9:
            break
        order[[m + a, m + b]] = order[[m + b, m + a]]
    return order

"""The learning rate and the input size as functions of the iteration.

`options` is an object with the keys of `[net]` as attributes; the first update is iteration 1.
Source of the learning rates: AlexeyAB/darknet src/network.c, get_current_rate.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def learning_rate(options: Any, iteration: int, rng: np.random.Generator | None = None) -> float:
    """Return the learning rate of one update.

    Burn-in replaces the policy during the first iterations and does not shift it: at any later
    iteration the rate is the same as without burn-in. An unknown policy gives a constant rate, as
    in Darknet; the cfg parser reports it. rng: the generator that policy=random draws from.

    Raises ValueError if the rate cannot be computed from the keys of the policy.
    """
    rate = options.learning_rate
    if iteration < options.burn_in:
        return rate * (iteration / options.burn_in) ** options.power
    match options.policy:
        case "random":
            if rng is None:
                raise ValueError("policy=random needs a random generator; pass rng")
            return rate * rng.random() ** options.power
        case "step":
            _need(options.step > 0, "step=0", "set step to the iterations between two changes")
            return rate * options.scale ** (iteration // options.step)
        case "steps":
            return _steps(options, iteration)
        case "exp":
            return rate * options.gamma**iteration
        case "poly":
            return _poly(options, iteration)
        case "sigmoid":  # falls for gamma > 0: the sign is Darknet's, the opposite of Caffe's
            exponent = options.gamma * (iteration - options.step)
            return rate / (1 + math.exp(min(exponent, 700)))  # e^710 overflows
        case "sgdr":
            return _sgdr(options, iteration)
    return rate


def _steps(options: Any, iteration: int) -> float:
    counts = f"{len(options.steps)} steps and {len(options.scales)} scales"
    _need(0 < len(options.steps) <= len(options.scales), counts, "give each step its scale")
    rate = options.learning_rate
    for step, scale in zip(options.steps, options.scales, strict=False):
        if step > iteration:
            break
        rate *= scale
    return rate


def _poly(options: Any, iteration: int) -> float:
    _need(
        options.max_batches > 0, "max_batches=0", "set it to the length of the run, in iterations"
    )
    remaining = max(1 - iteration / options.max_batches, 0.0)  # training ends where this is 0
    return options.learning_rate * remaining**options.power


def _sgdr(options: Any, iteration: int) -> float:
    """Anneal by half a cosine in each cycle; a cycle is `sgdr_mult` times as long as the last one.

    The last iteration of a cycle has the minimum. Source: Loshchilov & Hutter 2017.
    """
    cycle, start = options.sgdr_cycle, 0
    _need(cycle > 0 < options.sgdr_mult, "an empty cycle", "set sgdr_cycle and sgdr_mult above 0")
    while start + cycle < iteration:
        start += cycle
        cycle *= options.sgdr_mult
    low, high = options.learning_rate_min, options.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * (iteration - start) / cycle)) / 2


def _need(condition: bool, found: str, hint: str) -> None:
    if not condition:
        raise ValueError(f"the learning rate cannot be computed from {found}; {hint}")


def stretched(options: Any, iterations: int) -> Any:
    """Return the options with the learning rate schedule scaled to another number of iterations.

    Burn-in is at most a twentieth of the run. options: an object with a method `changed(**keys)`.
    """
    factor = iterations / options.max_batches if options.max_batches else 1.0
    scaled = {
        "steps": {"steps": tuple(max(1, round(step * factor)) for step in options.steps)},
        "step": {"step": max(1, round(options.step * factor))},
        "sgdr": {"sgdr_cycle": max(1, round(options.sgdr_cycle * factor) or iterations)},
        "exp": {"gamma": options.gamma ** (1 / factor)},
        "sigmoid": {"step": round(options.step * factor), "gamma": options.gamma / factor},
    }
    return options.changed(
        max_batches=iterations,
        burn_in=min(options.burn_in, iterations // 20),
        **scaled.get(options.policy, {}),
    )


def input_size(
    options: Any, random: float, iteration: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Return the input's (h, w) in pixels for one iteration of multi-scale training.

    random: the key of the last `[yolo]`, the largest factor by which the size grows or shrinks; 0
    keeps the size, 1 means 1.4. rng: must have the same state in the ten iterations that share a
    size. The first ten and the last hundred iterations have the largest size.
    Source: AlexeyAB/darknet src/detector.c train_detector, which adds one step after rounding.
    """
    if not random:
        return options.height, options.width
    reach = 1.4 if random == 1 else random
    factor = rng.uniform(1, reach)
    factor = 1 / factor if rng.random() < 0.5 else factor
    if iteration < 10 or iteration > options.max_batches - 100:
        factor = reach
    return _scaled(options, factor)


def largest_size(options: Any, random: float) -> tuple[int, int]:
    """Return the largest (h, w) that `input_size` returns."""
    if not random:
        return options.height, options.width
    reach = 1.4 if random == 1 else random
    return _scaled(options, max(reach, 1 / reach))


def _scaled(options: Any, factor: float) -> tuple[int, int]:
    size, step = (options.height, options.width), options.resize_step
    sides = [round(factor * side / step + 1) * step for side in size]
    if factor < 1 and any(new > old for new, old in zip(sides, size, strict=True)):
        sides = list(size)
    return max(step, sides[0]), max(step, sides[1])

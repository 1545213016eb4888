"""The learning rate as a function of the iteration.

`options` is an object with the keys of `[net]` as attributes; the first update is iteration 1.
Source of all formulas: AlexeyAB/darknet src/network.c, get_current_rate.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def learning_rate(options: Any, iteration: int, rng: np.random.Generator | None = None) -> float:
    """Return the rate of one update.

    Burn-in comes first and shifts nothing: the policy then goes on as if it had run from the start.
    An unknown policy means a constant rate, as in Darknet; complaining is the parser's business.
    rng: where policy=random draws from; no other policy needs one.

    Raises ValueError where the policy lacks a key that it cannot do without.
    """
    if iteration < options.burn_in:
        return options.learning_rate * (iteration / options.burn_in) ** options.power
    if options.policy == "random":
        if rng is None:
            raise ValueError("policy=random needs a random generator; pass rng")
        return options.learning_rate * rng.random() ** options.power
    return _POLICIES.get(options.policy, _constant)(options, iteration)


def _constant(options: Any, iteration: int) -> float:
    return options.learning_rate


def _step(options: Any, iteration: int) -> float:
    _need(options.step > 0, "step=0", "set step to the iterations between two changes")
    return options.learning_rate * options.scale ** (iteration // options.step)


def _steps(options: Any, iteration: int) -> float:
    counts = f"{len(options.steps)} steps and {len(options.scales)} scales"
    _need(0 < len(options.steps) <= len(options.scales), counts, "give each step its scale")
    rate = options.learning_rate
    for step, scale in zip(options.steps, options.scales, strict=False):
        if step > iteration:
            break
        rate *= scale
    return rate


def _exp(options: Any, iteration: int) -> float:
    return options.learning_rate * options.gamma**iteration


def _poly(options: Any, iteration: int) -> float:
    _need(options.max_batches > 0, "max_batches=0", "set max_batches, where the rate is to reach 0")
    remaining = max(1 - iteration / options.max_batches, 0.0)  # training ends where this is 0
    return options.learning_rate * remaining**options.power


def _sigmoid(options: Any, iteration: int) -> float:
    """Fall for a positive gamma: Darknet's sign, opposite to Caffe's."""
    exponent = options.gamma * (iteration - options.step)
    return options.learning_rate / (1 + math.exp(min(exponent, 700)))  # e^710 overflows


def _sgdr(options: Any, iteration: int) -> float:
    """Anneal along half a cosine, again and again, each cycle `sgdr_mult` times the last.

    Source: Loshchilov & Hutter 2017; a cycle's last iteration has the minimum.
    """
    cycle, start = options.sgdr_cycle, 0
    _need(cycle > 0 < options.sgdr_mult, "an empty cycle", "set sgdr_cycle and sgdr_mult above 0")
    while start + cycle < iteration:
        start += cycle
        cycle *= options.sgdr_mult
    low, high = options.learning_rate_min, options.learning_rate
    return low + (high - low) * (1 + math.cos(math.pi * (iteration - start) / cycle)) / 2


_POLICIES = {
    "constant": _constant,
    "step": _step,
    "steps": _steps,
    "exp": _exp,
    "poly": _poly,
    "sigmoid": _sigmoid,
    "sgdr": _sgdr,
}


def _need(condition: bool, found: str, hint: str) -> None:
    if not condition:
        raise ValueError(f"the learning rate cannot be computed from {found}; {hint}")


def stretched(options: Any, iterations: int) -> Any:
    """Return the options for a run of another length: the rate's course keeps its shape.

    Burn-in is cut to a twentieth of the run where it would be longer. options: a value with
    `changed(**keys)`.
    """
    factor = iterations / options.max_batches if options.max_batches else 1.0
    course = {
        "steps": {"steps": tuple(max(1, round(step * factor)) for step in options.steps)},
        "step": {"step": max(1, round(options.step * factor))},
        "sgdr": {"sgdr_cycle": max(1, round(options.sgdr_cycle * factor) or iterations)},
        "exp": {"gamma": options.gamma ** (1 / factor)},
        "sigmoid": {"step": round(options.step * factor), "gamma": options.gamma / factor},
    }
    return options.changed(
        max_batches=iterations,
        burn_in=min(options.burn_in, iterations // 20),
        **course.get(options.policy, {}),
    )


def input_size(
    options: Any, random: float, iteration: int, rng: np.random.Generator
) -> tuple[int, int]:
    """Return the input's (h, w) in pixels for one iteration of multi-scale training.

    random: the key of the last `[yolo]`; 0 keeps the size, 1 means a factor of up to 1.4 either
    way. rng: the same state for the ten iterations that share a size. The first and the last
    hundred iterations have the largest size.
    Source: AlexeyAB/darknet src/detector.c train_detector, which adds one step after rounding.
    """
    size, step = (options.height, options.width), options.resize_step
    if not random:
        return size
    reach = 1.4 if random == 1 else random
    factor = rng.uniform(1, reach)
    factor = 1 / factor if rng.random() < 0.5 else factor
    if iteration < 10 or iteration > options.max_batches - 100:
        factor = reach
    sides = [round(factor * side / step + 1) * step for side in size]
    if factor < 1 and any(new > old for new, old in zip(sides, size, strict=True)):
        sides = list(size)
    return max(step, sides[0]), max(step, sides[1])

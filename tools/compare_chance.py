"""How often chance alone is called a difference: tools/compare_chance.py RUN RUN [--draws N].

The detections of two runs on the data that they were validated on are exchanged at random, picture
by picture, and compared as `ghostyolo compare` does. Neither side is better then, so that of the
draws about one in twenty may have an interval without 0. --pictures N takes N random pictures each
time, to see what few are worth.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

import ghostyolo
from ghostyolo.evaluation.intervals import compared

AP, MEAN = 0, 0


def main() -> None:
    """Print the share of the draws that are called a difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", metavar="RUN", nargs=2)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--resamples", type=int, default=400)
    parser.add_argument("--pictures", type=int, help="of each draw (all)")
    args = parser.parse_args()
    result = ghostyolo.compare(*args.runs, resamples=100)
    found = [side.predictions[0] for side in result.sides]
    rng, called, start = np.random.default_rng(0), 0, time.process_time()
    for _ in range(args.draws):
        drawn = np.sort(rng.permutation(len(result.dataset))[: args.pictures])
        swapped = rng.random(len(drawn)) < 0.5
        sides = [
            [found[swap ^ side][row] for row, swap in zip(drawn, swapped, strict=True)]
            for side in (0, 1)
        ]
        _, (difference,) = compared(
            [[side] for side in sides], result.dataset.only(drawn), args.resamples
        )
        called += bool(difference.low[AP, MEAN] > 0 or difference.high[AP, MEAN] < 0)
    spent = time.process_time() - start
    print(f"{called} of {args.draws} draws of {len(drawn)} pictures called a difference: "
          f"{100 * called / args.draws:.1f} %, {spent / args.draws:.2f} CPU s each")  # fmt: skip


if __name__ == "__main__":
    main()

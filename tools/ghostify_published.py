"""Compare ghostified published cfgs with the originals: tools/ghostify_published.py [NAME ...].

Each cfg is loaded, ghostified, written, read and traced with weights for which every layer must
equal the original's (see tests/support/ghostified.py). If OpenCV 4 reads the original, it must
read the ghost version too and, with random weights, agree with torch in every layer within 1e-4 of
the layer's largest value.
tests/support/published.py gives the folder of the cfgs. Exit codes: 0 all agree, 1 some differ,
2 there are no cfgs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import torch

from ghostyolo import parity
from ghostyolo.errors import CfgError, Findings, GhostyoloError
from ghostyolo.ghostify import Ghostified, GhostOptions, ghostify
from ghostyolo.network import Network, load, passes
from ghostyolo.parity import opencv_darknet
from support import published
from support.cases import random_model
from support.ghostified import departures

LIMIT = 1e-4
SIDES = (64, 96, 128, 224, 256, 448)  # the first that a network can be resized to


def main(names: list[str]) -> int:
    """Print a line for each cfg and the number that agree."""
    paths = [path for path in published.CFGS.glob("cfg/*.cfg") if not names or path.stem in names]
    if not paths:
        print(f"no cfgs of {' '.join(names) or 'any name'} in {published.CFGS.path / 'cfg'}")
        return 2
    tally = [check(path) for path in paths]
    print(f"{sum(tally)} of {len(tally)} agree")
    return 0 if all(tally) else 1


def check(path: Path) -> bool:
    """Compare one ghostified cfg with the original and with OpenCV; print the result."""
    start = time.monotonic()
    network = small(load(path, findings=Findings(quiet=True, compat=True)))
    done = ghostify(network)
    found = departures(network, GhostOptions()) if done.ghosts else {0: 0.0}
    if max(found.values()) > LIMIT:  # in float64 a difference by rounding vanishes
        found = departures(network, GhostOptions(), torch.float64)
    worst = max(found, key=lambda index: found[index])
    text = f"{len(done.ghosts)} ghosts of {len(done.ghosts) + len(done.reasons)} convolutions"
    text += f", at {network.options.size}: layers differ by {found[worst]:.1e} at most"
    beside, words = against_opencv(network, done)
    agrees = found[worst] <= LIMIT and beside
    verdict = "agrees" if agrees else "DIFFERS"
    print(f"{path.stem}: {verdict}, {text}; {words}; {time.monotonic() - start:.0f} s", flush=True)
    return agrees


def small(network: Network) -> Network:
    """Return the network at its smallest size, as arithmetic takes most of the time."""
    for side in SIDES:
        try:
            return passes.resize(network, (side, side))
        except GhostyoloError:
            continue
    return network


def against_opencv(old: Network, new: Ghostified) -> tuple[bool, str]:
    """Return whether OpenCV agrees with torch on the new network where it does on the old one."""
    if not opencv_darknet.available():
        return True, "no importer here"
    try:
        known = differing(old)
    except CfgError as error:
        return True, f"OpenCV refuses the original ({str(error).partition(': ')[2][:60]})"
    try:
        found = differing(new.network)
    except CfgError as error:
        return False, f"OpenCV: {str(error)[:120]}"
    spans = (range(new.places[index - 1] + 1, new.places[index] + 1) for index in known)
    excused = {index for span in spans for index in span}
    bad = sorted(found.keys() - excused)
    note = f", {len(known)} in the original too" if known else ""
    return not bad, f"OpenCV differs in {bad or 'no layer'}{note}"


def differing(network: Network) -> dict[int, float]:
    """Return the relative differences of OpenCV and torch, of the layers above the limit."""
    model = random_model(network)
    x = torch.rand(1, *network.options.shape, generator=torch.Generator().manual_seed(0)).numpy()
    rows = parity.compare(model, x, parity.of_opencv(model, x), LIMIT).rows
    return {row.index: row.share for row in rows if not row.share <= LIMIT}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

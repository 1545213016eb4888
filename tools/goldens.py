"""Compare networks with the C program's numbers (goldens): tools/goldens.py [NAME ...].

Goldens of ghostyolo's cfgs are in tests/goldens/; tests/support/published.py gives the folder of
those of published cfgs. Large networks need 4 GB of memory. Exit codes: 0 all agree, 1 some differ,
2 there are no goldens.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support import goldens


def main(names: list[str]) -> int:
    paths = [path for family in ("ops", "zoo") for path in goldens.family(family)]
    paths = [path for path in paths if not names or path.stem in names]
    if not paths:
        print(f"no goldens of {' '.join(names)}")
        return 2
    differing = [path.stem for path in paths if not agrees(path)]
    print(f"{len(paths) - len(differing)} of {len(paths)} agree", *differing)
    return 1 if differing else 0


def agrees(path: Path) -> bool:
    """Run one network; print the verdict, and a line for each difference."""
    start = time.monotonic()
    lines = goldens.departures(path)
    verdict, seconds = "differs" if lines else "agrees", time.monotonic() - start
    print(f"{path.parent.name}/{path.stem}: {verdict}, {seconds:.1f} s", flush=True)
    for line in lines:
        print(f"  {line}")
    return not lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

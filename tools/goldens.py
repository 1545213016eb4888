"""Run every golden of the C program and tell which networks depart: tools/goldens.py [NAME ...].

Ours lie in tests/goldens/; tests/support/published.py says where those of published cfgs lie.
Large networks need 4 GB of memory. Exit codes: 0 all agree, 1 some depart, 2 there are no goldens.
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
    departed = [path.stem for path in paths if not agrees(path)]
    print(f"{len(paths) - len(departed)} of {len(paths)} agree", *departed)
    return 1 if departed else 0


def agrees(path: Path) -> bool:
    """Run one network and print a line, and one for each departure."""
    start = time.monotonic()
    lines = goldens.departures(path)
    verdict, seconds = "departs" if lines else "agrees", time.monotonic() - start
    print(f"{path.parent.name}/{path.stem}: {verdict}, {seconds:.1f} s", flush=True)
    for line in lines:
        print(f"  {line}")
    return not lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

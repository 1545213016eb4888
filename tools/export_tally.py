"""Export cfgs, run the files in every runtime and print their deviation from the model.

python tools/export_tally.py [--opencv FOLDER] [--decode] [CFG ...]

Without CFG it exports all of cfg/ and the published detectors that tests/support/published.py
finds. FOLDER holds another OpenCV, installed by `pip install --target FOLDER`. Weights are random,
and the input size is the smallest of a few.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from ghostyolo.errors import Findings
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.layers import Head
from ghostyolo.network import load, weights_file
from support import (
    exports,
    published,
)

LIMIT = 1e-4


def main() -> int:
    """Print a line for each cfg and a summary; return 1 if a deviation exceeds the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cfg", nargs="*", type=Path)
    parser.add_argument("--opencv", type=Path, help="folder with another OpenCV")
    parser.add_argument("--decode", action="store_true", help="boxes and scores, not raw heads")
    args = parser.parse_args()
    cfgs = args.cfg or [*_published(), *sorted((ROOT / "cfg").glob("*.cfg"))]
    settings = ExportSettings(boxes="xyxy" if args.decode else "")
    fine: dict[str, int] = {}
    for cfg in cfgs:
        start = time.monotonic()
        network = exports.small(cfg)
        size = "x".join(map(str, network.options.size))
        cells = []
        with tempfile.TemporaryDirectory() as folder:
            built = exports.model(network)
            for program, got, want in exports.outputs(built, settings, Path(folder), args.opencv):
                share = -1.0 if isinstance(got, Exception) else exports.share(got, want)
                fine[program] = fine.get(program, 0) + (0 <= share < LIMIT)
                short = " ".join(str(got).split())[:160] if isinstance(got, Exception) else ""
                cells.append(f"{program} {short or format(share, '.1e')}")
        taken = time.monotonic() - start
        print(f"{cfg.stem} {size}: {' | '.join(cells)} ({taken:.0f} s)", flush=True)
    for program, count in fine.items():
        print(f"{program}: {count} of {len(cfgs)} within {LIMIT:g} of each output's largest value")
    return int(any(count < len(cfgs) for count in fine.values()))


def _published() -> list[Path]:
    """Return the published detectors, the smallest first."""
    sizes = {}
    for path in published.CFGS.glob("cfg/*.cfg"):
        network = load(path, findings=Findings(quiet=True, compat=True))
        if any(isinstance(node.layer, Head) for node in network):
            sizes[path] = weights_file.file_size(network)
    return sorted(sizes, key=lambda path: (sizes[path], path))


if __name__ == "__main__":
    sys.exit(main())

"""Time the generator against an empty Python, started in turns: bench_gencfg.py [N] [--json]."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BAR = 8.0  # how many empty Pythons the generator may take
COMMANDS = {"python": ["-c", "pass"], "gencfg": ["-m", "ghostyolo.gencfg", "--width", "1.0"]}


def main() -> int:
    """Print the medians and their ratio; return 1 when it is above the bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", metavar="N", type=int, nargs="?", default=21, help="of each (21)")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    args = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(args.runs + 1):
        for name, command in COMMANDS.items():
            times[name].append(wall_time(command))
    # The first run of each compiles and fills the disk's cache; it does not count.
    median = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    ratio = median["gencfg"] / median["python"]
    if args.json:
        print(json.dumps({**median, "ratio": ratio, "bar": BAR, "runs": args.runs}))
    else:
        listed = ", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in median.items())
        print(f"median of {args.runs}: {listed}; ratio {ratio:.2f}, at most {BAR:g}")
    return int(ratio > BAR)


def wall_time(command: list[str]) -> float:
    """Return the seconds that one Python takes, from start to end."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(main())

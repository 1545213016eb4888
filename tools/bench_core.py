"""Time the core: parse a cfg of 10,000 layers, load a model's weights against reading the file.

python tools/bench_core.py [CFG], such as yolov4.cfg; weights of its length are made up.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ghostyolo.errors import Findings
from ghostyolo.model.model import Model
from ghostyolo.network import Network, load, loads
from ghostyolo.network.weights_file import Header, file_size

LAYERS, SHORT = 10_000, 1_000
PARSE_BAR = 2.0  # seconds for LAYERS
LINEAR_BAR = 2.0  # a layer of the long cfg may cost this many times one of the short
READ_BAR = 3.0  # loading may take this many times what reading the bytes takes
NET = "[net]\nwidth=64\nheight=64\nchannels=3\n"
CONV = (
    "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=1\npad=1\nactivation=leaky\n\n"
)
BLOCK = f"{CONV}[route]\nlayers=-1\n\n{CONV}[shortcut]\nfrom=-2\nactivation=linear\n\n"


def main() -> int:
    """Print the times and their ratios; return 1 when one is above its bar."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cfg", metavar="CFG", nargs="?", help="whose weights to load")
    parser.add_argument("--runs", type=int, default=5, help="of each; the best counts (5)")
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    args = parser.parse_args()
    rows = parsing(args.runs) + (loading(args.cfg, args.runs) if args.cfg else [])
    if args.json:
        print(json.dumps(rows))
    else:
        for row in rows:
            print(
                f"{row['name']:<44} {row['value']:8.3f} {row['unit']:<2} (bar {row['bar'] or '-'})"
            )
    return int(any(row["bar"] and row["value"] > row["bar"] for row in rows))


def parsing(runs: int) -> list[dict[str, Any]]:
    """Time text to shapes."""
    long, short = (NET + BLOCK * (layers // 4) for layers in (LAYERS, SHORT))
    loads(short)
    whole, part = (best(lambda text=text: loads(text), runs) for text in (long, short))
    return [
        row(f"parse and shapes of {LAYERS:,} layers", whole, PARSE_BAR),
        row(
            f"a layer of these, against one of {SHORT:,}",
            whole / part * SHORT / LAYERS,
            LINEAR_BAR,
            "x",
        ),
    ]


def loading(cfg: str, runs: int) -> list[dict[str, Any]]:
    """Time weights to a model, from a file in the page cache."""
    network = load(cfg, findings=Findings(quiet=True))
    floats = file_size(network) // 4 - Header().size // 4
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.weights"
        values = np.random.default_rng(0).random(floats, np.float32)
        with path.open("wb") as file:
            file.write(Header().pack())
            values.tofile(file)
        read = best(path.read_bytes, runs)
        filled = best(lambda: Model(network, path), runs)
        drawn = best(lambda: drawn_first(network, path), runs)
    return [
        row(f"read {floats * 4 / 1e6:,.0f} MB of weights", read),
        row("model from the file", filled),
        row("against reading", filled / read, READ_BAR, "x"),
        row("model drawn, then loaded", drawn),
    ]


def drawn_first(network: Network, path: Path) -> None:
    """Load as if into a model that exists."""
    Model(network).load_weights(path)


def best(call: Callable[[], Any], runs: int) -> float:
    """Return the fewest seconds of a call: what else the machine does only adds to them."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def row(name: str, value: float, bar: float = 0.0, unit: str = "s") -> dict[str, Any]:
    """Return a line of the table; a bar of 0 is none."""
    return {"name": name, "value": value, "unit": unit, "bar": bar}


if __name__ == "__main__":
    raise SystemExit(main())

"""Measure how data sets of COCO's and VOC's size are opened: bench_open.py DATA [--json].

DATA: what tools/coco_size.py built. Each measurement is a process of its own with one thread, and
an empty cache of its own: Python's json on the file with the collector off, which is the floor; the
first and the second opening of train in COCO's file and in text files, and of VOC; 4 processes of
torchrun, whose growth is compared with that of one as the system divides shared pages among them
(PSS, from /proc/self/smaps_rollup).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE = "coco/annotations/instances_train2017.json"
BARS = {
    "first opening / json.loads, CPU": 1.6,
    "first opening / json.loads, peak": 1.2,
    "second opening, CPU s": 2.0,
    "second opening, growth in MB": 250,
    "text files first opening / COCO, CPU": 3.0,
    "text files second opening, CPU s": 2.0,
    "VOC second opening, CPU s": 2.0,
    "growth of 4 processes / of one, first": 1.5,
    "growth of 4 processes / of one, second": 1.5,
    "processes of 4 that parsed": 1,
}
PROCESSES = 4


def main() -> int:
    """Print the figures beside their bars; return 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", metavar="DATA", type=Path)
    parser.add_argument("--json", action="store_true", help="print JSON for programs")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(measure(args.part, args.data)), flush=True)
        return 0
    with tempfile.TemporaryDirectory() as cache:
        found = {"json": run("json", args.data, cache)}
        for name in ("coco", "txt", "voc"):
            found |= {
                f"{name} {which}": run(name, args.data, cache) for which in ("first", "second")
            }
    with tempfile.TemporaryDirectory() as cache:
        several = {which: run_several(args.data, cache) for which in ("first", "second")}
    floor, first, second = found["json"], found["coco first"], found["coco second"]
    values = (
        first["cpu"] / floor["cpu"],
        first["peak"] / floor["peak"],
        second["cpu"],
        second["pss"],
        found["txt first"]["cpu"] / first["cpu"],
        found["txt second"]["cpu"],
        found["voc second"]["cpu"],
        sum(each["pss"] for each in several["first"]) / first["pss"],
        sum(each["pss"] for each in several["second"]) / second["pss"],
        sum(each["parsed"] for each in several["first"]),
    )
    figures = dict(zip(BARS, values, strict=True))
    if args.json:
        print(json.dumps({"figures": figures, "bars": BARS, "parts": found, "several": several}))
    else:
        for name, part in found.items():
            print(f"{name:<12} {part['cpu']:6.2f} s CPU, {part['wall']:6.2f} s, growth "
                  f"{part['pss']:5.0f} MB, peak {part['peak']:5.0f} MB")  # fmt: skip
        for name, value in figures.items():
            print(f"{name:<40} {value:8.2f}, at most {BARS[name]:g}")
    return int(any(value > BARS[name] for name, value in figures.items()))


def run(part: str, data: Path, cache: str) -> dict[str, float]:
    """Measure one part in a process of its own."""
    command = [sys.executable, __file__, str(data), "--part", part]
    return json.loads(_output(command, cache).splitlines()[-1])


def run_several(data: Path, cache: str) -> list[dict[str, float]]:
    """Open COCO in several processes of torchrun."""
    start = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={PROCESSES}"]
    command = [sys.executable, *start, __file__, str(data), "--part", "several"]
    return [json.loads(each) for each in re.findall(r"\{.*?\}", _output(command, cache))]


def _output(command: list[str], cache: str) -> str:
    one = {"OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": cache, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=os.environ | one, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def measure(part: str, data: Path) -> dict[str, float]:
    """Open a data set here. cpu, wall: seconds. pss: growth of this process. peak: of it in all."""
    if part == "json":
        gc.disable()
        before, start = _pss(), (time.process_time(), time.perf_counter())
        content = json.loads((data / FILE).read_bytes())
        return _growth(before, start, bool(content))
    from ghostyolo.data import index, open_dataset
    from ghostyolo.data.layouts import coco  # noqa: F401  so that imports do not count
    from ghostyolo.distributed import joined

    read: list[int] = []
    kept = index._kept
    index._kept = lambda *words: (read.append(1), kept(*words))[1]
    if part != "several":
        before, start = _pss(), (time.process_time(), time.perf_counter())
        opened = open_dataset(data / part, "trainval" if part == "voc" else "train")
        return {**_growth(before, start, len(opened) > 0), "parsed": len(read)}
    with joined("cpu") as world:
        world.wait()
        before, start = _pss(), (time.process_time(), time.perf_counter())
        opened = world.once(lambda: open_dataset(data / "coco", "train"))
        world.wait()
        found = _growth(before, start, len(opened) > 0)
        world.wait()
    return {**found, "parsed": len(read)}


def _growth(before: float, start: tuple[float, float], done: bool) -> dict[str, float]:
    assert done
    cpu, wall = time.process_time() - start[0], time.perf_counter() - start[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return {"cpu": cpu, "wall": wall, "pss": _pss() - before, "peak": peak}


def _pss() -> float:
    """Return the memory of this process in MB, shared pages divided among those that share them."""
    gc.collect()
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(kb) for kb in re.findall(r"^Pss: +(\d+)", text, re.MULTILINE)) / 1e3


if __name__ == "__main__":
    raise SystemExit(main())

"""Measure `detect` on much and large media: tools/bench_media.py [CFG [WEIGHTS]] [options].

    tools/bench_media.py --pictures 5000 --frames 15000 --large

runs the real command on hard links of 20 painted JPEGs of 640x480 (or of --jpegs FOLDER), on a
1080p video of 25 frames a second (15,000 frames are ten minutes), on a picture of 12,000 x 9,000
and on one from standard input. For each it prints the time of the command over that of the network
alone on as many inputs, both less their start, the pictures a second, where the time went, and how
much the process's resident memory grew after the first minute (the first half of a shorter run).
The network runs before and after the command, so that other load slows both alike; where a machine
is busy, --threads 1 and the ratio of processor time, printed beside, are what can be compared.
--drawn also measures annotated pictures and videos. Without CFG it is the 80-class GhostNet
detector at 416x416 with random weights, and a threshold at which it finds about nothing.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2
import numpy as np
import psutil
from bars import row, show

from ghostyolo.inference.choice import open_runtime
from ghostyolo.model.model import Model
from ghostyolo.network import dumps, load
from ghostyolo.runtime.interface import Runtime
from ghostyolo.sample_data.painter import write_dataset
from ghostyolo.zoo.ghostnet import GhostNet
from ghostyolo.zoo.networks import detector

RATIO_BAR, GROWTH_BAR = 1.25, 20.0  # times the network, MB
PAINTED, INTERVAL = 20, 0.25  # pictures that are painted; seconds between two looks at the memory
FIRST_MINUTE = 60.0


class Watched(NamedTuple):
    """What a command took. seconds, cpu: of the whole process. rss: (second, MB)."""

    seconds: float
    cpu: float
    rss: list[tuple[float, float]]
    told: str

    @property
    def peak(self) -> float:
        return max(mb for _, mb in self.rss)

    @property
    def growth(self) -> float:
        """Return the growth of the memory in MB after the first minute, or half of the time."""
        settled = min(FIRST_MINUTE, self.seconds / 2)
        later = [mb for second, mb in self.rss if second > settled]
        return max(later) - later[0] if later else 0.0


def main() -> int:
    """Print the table; return 1 if a bar is missed."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("cfg", nargs="?", metavar="CFG")
    p.add_argument("weights", nargs="?", metavar="WEIGHTS")
    p.add_argument("--size", type=int, default=416, help="of the network without CFG (416)")
    p.add_argument("--pictures", type=int, default=500, help="0 for none (500)")
    p.add_argument("--frames", type=int, default=750, help="of the video, 0 for none (750)")
    p.add_argument("--large", action="store_true", help="also 108 megapixels, and standard input")
    p.add_argument("--drawn", action="store_true", help="also draw and encode")
    p.add_argument("--jpegs", metavar="FOLDER", help="link these in place of painted pictures")
    p.add_argument("--threads", type=int, default=2, help="that compute (2)")
    p.add_argument("--batch", type=int, default=1, help="of detect (1)")
    p.add_argument("--runtime", default="auto", help="of detect (auto)")
    p.add_argument("--thresh", default="0.9", help="of detect (0.9)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as name:
        return show(measured(args, Path(name)), as_json=args.json)


def measured(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Make the media and measure the command on each."""
    network = load(args.cfg) if args.cfg else detector(GhostNet(), size=(args.size, args.size))
    cfg, weights = folder / "x.cfg", args.weights or folder / "x.weights"
    cfg.write_text(dumps(network))
    if not args.weights:
        Model(network).save_weights(weights)
    options = {"name": args.runtime, "batch": args.batch, "threads": args.threads}
    runtime = open_runtime(cfg, weights, **options)
    words = ["detect", cfg, weights, "--thresh", args.thresh, "--runtime", args.runtime]
    words += ["--batch", args.batch, "--threads", args.threads]
    jpegs = sorted(Path(args.jpegs).glob("*.jpg")) if args.jpegs else painted(folder)
    start = [watch([*words, jpegs[0], "--jsonl", "-"]) for _ in range(2)][1]  # the first exports
    rows = []
    kinds = [("pictures", args.pictures, linked), ("video", args.frames, filmed)]
    for kind, count, made in kinds:
        if count:
            source = made(jpegs, folder / kind, count)
            ways = [["--jsonl", "-"]] + [["--project", folder / "out"]] * args.drawn
            for way in ways:
                rows += compared(kind, count, [*words, source, *way], start, runtime)
    if args.large:
        large = huge(folder / "large.jpg")
        for kind, picture in (("12000x9000", large), ("640x480 on standard input", jpegs[0])):
            done = watch([*words, "-", "--jsonl", "-"], picture)
            rows.append(row(f"{kind}: seconds with the start", done.seconds, "s"))
            rows.append(row(f"{kind}: peak memory", done.peak, "MB"))
        done = watch([*words, large, "--project", folder / "out"])
        rows.append(row("12000x9000, drawn: seconds with the start", done.seconds, "s"))
        rows.append(row("12000x9000, drawn: peak memory", done.peak, "MB"))
    return rows


def compared(
    kind: str, count: int, words: list[Any], start: Watched, runtime: Runtime
) -> list[dict[str, Any]]:
    """Measure the command between two runs of the network alone."""
    before, done, after = alone(runtime), watch(words), alone(runtime)
    wall, cpu = ((a + b) / 2 * count for a, b in zip(before, after, strict=True))
    drawn = "--project" in words
    name = f"{kind}, {'drawn' if drawn else 'JSON lines'}, {runtime.name}"
    print(f"{name}: {done.told}", file=sys.stderr)
    bars = (0.0, 0.0) if drawn else (RATIO_BAR, GROWTH_BAR)
    return [
        row(f"{name}, over the network", (done.seconds - start.seconds) / wall, "x", bars[0]),
        row(f"{name}, likewise in processor time", (done.cpu - start.cpu) / cpu, "x"),
        row(f"{name}, a second", count / (done.seconds - start.seconds), "1/s"),
        row(f"{name}, memory grown", done.growth, "MB", bars[1]),
        row(f"{name}, peak memory", done.peak, "MB"),
    ]


def alone(runtime: Runtime, seconds: float = 4.0) -> tuple[float, float]:
    """Return the seconds and the processor seconds of the network for one input."""
    x = np.random.default_rng(0).random((1, *runtime.network.options.shape), np.float32)
    x = runtime.in_memory_order(x)
    runtime.run(x)
    begin, cpu, count = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - begin < seconds:
        runtime.run(x)
        count += 1
    return (time.perf_counter() - begin) / count, (time.process_time() - cpu) / count


def watch(words: list[Any], stdin: Path | None = None) -> Watched:
    """Run a command, and look at its memory now and then."""
    command = [sys.executable, "-m", "ghostyolo", *map(str, words)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    rss, cpu, begin = [], 0.0, time.monotonic()
    with open(stdin or os.devnull, "rb") as read, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            command, stdin=read, stdout=subprocess.DEVNULL, stderr=err, env=environment
        )
        seen = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                rss.append((time.monotonic() - begin, seen.memory_info().rss / 1e6))
                cpu = sum(seen.cpu_times()[:2])
            except psutil.Error:
                break
            time.sleep(INTERVAL)
        code, seconds = process.wait(), time.monotonic() - begin
        err.seek(0)
        text = err.read().decode()
    if code:
        raise SystemExit(f"detect failed: {text}")
    return Watched(seconds, cpu, rss, "".join(re.findall(r"computed in .*: (.*)", text)))


def painted(folder: Path) -> list[Path]:
    """Paint a few JPEGs of 640x480."""
    data = write_dataset(folder / "data", {"train": PAINTED}, size=(480, 640))
    return sorted((data / "JPEGImages").iterdir())


def linked(jpegs: list[Path], folder: Path, count: int) -> Path:
    """Make a folder of pictures, hard links of a few."""
    folder.mkdir()
    own = [folder / f"own{n}.jpg" for n in range(len(jpegs))]
    for path, jpeg in zip(own, jpegs, strict=True):
        path.write_bytes(jpeg.read_bytes())
    for number in range(len(own), count):
        os.link(own[number % len(own)], folder / f"{number:06}.jpg")
    for path in own[count:]:
        path.unlink()
    return folder


def filmed(jpegs: list[Path], path: Path, count: int) -> Path:
    """Make a 1080p video of pictures that move."""
    path = path.with_suffix(".mp4")
    images = [cv2.resize(cv2.imread(str(jpeg)), (2000, 1160)) for jpeg in jpegs]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 25, (1920, 1080))
    for number in range(count):
        at = number % 80
        writer.write(images[number // 80 % len(images)][at : at + 1080, at : at + 1920])
    writer.release()
    return path


def huge(path: Path) -> Path:
    """Paint a JPEG of 12,000 x 9,000."""
    small = np.random.default_rng(0).integers(0, 256, (900, 1200, 3)).astype(np.uint8)
    cv2.imwrite(str(path), cv2.resize(small, (12_000, 9_000), interpolation=cv2.INTER_CUBIC))
    return path


if __name__ == "__main__":
    raise SystemExit(main())

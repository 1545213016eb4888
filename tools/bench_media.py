"""Measure `detect` on much and large media: tools/bench_media.py [CFG [WEIGHTS]] [options].

    tools/bench_media.py --pictures 5000 --frames 15000 --large

runs the real command on hard links of 20 painted JPEGs of 640x480 (or of --jpegs FOLDER), on a
1080p video of 25 frames a second (15,000 frames are ten minutes), on a picture of 12,000 x 9,000
and on one from standard input. For each it prints the time of the command over that of the network
alone on as many inputs, both less their start, the pictures a second, where the time went, and how
much the process's resident memory grew after the first minute (the first half of a shorter run).
The network runs before and after the command, so that other load slows both alike; where a machine
is busy, --threads 1 and the ratio of processor time, printed beside, are what can be compared.
--drawn also measures annotated pictures and videos, and apart from the command the processor time
of drawing ten boxes and of encoding a picture and a frame. Without CFG it is the 80-class GhostNet
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
from collections.abc import Callable
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import cv2
import numpy as np
import psutil
from bars import row, show

from ghostyolo.data.images import read_image, write_image
from ghostyolo.drawing import draw
from ghostyolo.inference.choice import open_runtime
from ghostyolo.model.detections import Detections
from ghostyolo.model.model import Model
from ghostyolo.network import dumps, load
from ghostyolo.prediction.video import VideoWriter
from ghostyolo.runtime.interface import Runtime
from ghostyolo.sample_data.painter import write_dataset
from ghostyolo.zoo.ghostnet import GhostNet
from ghostyolo.zoo.networks import detector

RATIO_BAR, GROWTH_BAR = 1.25, 20.0  # times the network, MB
PAINTED, INTERVAL = 20, 0.25  # pictures that are painted; seconds between two looks at the memory
FIRST_MINUTE = 60.0
BOXES = 10  # that are drawn


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
    large = huge(jpegs, folder / "large.jpg") if args.large else None
    if large:
        for kind, picture in (("12000x9000", large), ("640x480 on standard input", jpegs[0])):
            done = watch([*words, "-", "--jsonl", "-"], picture)
            rows += whole(kind, done)
        rows += whole("12000x9000, drawn", watch([*words, large, "--project", folder / "out"]))
    return rows + (apart(jpegs[0], large, folder) if args.drawn else [])


def whole(name: str, done: Watched) -> list[dict[str, Any]]:
    return [
        row(f"{name}: seconds with the start", done.seconds, "s"),
        row(f"{name}: likewise of processors", done.cpu, "s"),
        row(f"{name}: peak memory", done.peak, "MB"),
    ]


def apart(small: Path, large: Path | None, folder: Path) -> list[dict[str, Any]]:
    """Measure drawing and encoding alone, on pictures and on a frame of 1080p."""
    rows = []
    for path in filter(None, (small, large)):
        image = read_image(path)
        name = "{1}x{0}".format(*image.shape)
        write = partial(write_image, folder / "drawn.jpg", image)
        rows += drawn(name, image) + encoded(f"{name}, JPEG", write)
    wide = cv2.resize(read_image(small), (2000, 1160))
    video, places = VideoWriter(folder / "drawn.mp4", 25), cycle(range(80))
    rows += drawn("1920x1080", wide[:1080, :1920])

    def append() -> None:
        at = next(places)
        video.add(wide[at : at + 1080, at : at + 1920])

    rows += encoded("1920x1080, frame of a video", append, times=80)
    video.close()
    return rows


def drawn(name: str, image: np.ndarray) -> list[dict[str, Any]]:
    """Measure the drawing of some boxes of a fifth of the picture."""
    (h, w), rng = image.shape[:2], np.random.default_rng(0)
    corners = rng.uniform(0, 0.8, (BOXES, 2))
    boxes = np.concatenate([corners, corners + 0.2], 1) * (w, h, w, h)
    found = Detections(boxes, rng.random(BOXES), rng.integers(0, 80, BOXES))
    return [row(f"{name}: to draw", processor_ms(lambda: draw(image, found)), "ms")]


def encoded(name: str, write: Callable[[], object], times: int = 5) -> list[dict[str, Any]]:
    return [row(f"{name}: to encode", processor_ms(write, times), "ms")]


def processor_ms(step: Callable[[], object], times: int = 5) -> float:
    """Return the mean processor time of a step, of all its threads."""
    step()
    begin = time.process_time()
    for _ in range(times):
        step()
    return 1e3 * (time.process_time() - begin) / times


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


def huge(jpegs: list[Path], path: Path) -> Path:
    """Make a JPEG of 12,000 x 9,000 of pictures as tiles."""
    tiles = [cv2.resize(cv2.imread(str(jpeg)), (1200, 900)) for jpeg in jpegs]
    rows = (np.hstack([tiles[(r + c) % len(tiles)] for c in range(10)]) for r in range(10))
    cv2.imwrite(str(path), np.vstack(list(rows)))
    return path


if __name__ == "__main__":
    raise SystemExit(main())

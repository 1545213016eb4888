"""Time non-maximum suppression over boxes and classes, and the validation of untrained networks.

python tools/bench_nms.py                                 suppression: growth, and classes over one
python tools/bench_nms.py --val CFG WEIGHTS PICTURES      validation, untrained over trained

Boxes are spread (centres anywhere, sides up to a quarter of the picture) or heaped (all over each
other, as a network places them on one object). Times are of the processor, the least of a few; the
growth is the exponent from the first to the third number of boxes, 2 for a square. PICTURES: a
folder; the detections of the trained network on them are the labels of the data set that both are
validated on. The AP with all candidates at once is compared as well.
"""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np
from bars import row, show

from ghostyolo.boxes import cxcywh_to_xyxy, nms, xyxy_to_cxcywh
from ghostyolo.data.images import read_image
from ghostyolo.evaluation.validation import validate
from ghostyolo.model import detector
from ghostyolo.model.model import Model

COUNTS, CLASSES = (256, 1024, 3000, 16000), (1, 80, 1203)
KINDS = {"default": None, "greedynms": 0.6, "diounms, beta 1.2": 1.2}
CLASSES_BAR, GROWTH_BAR, VAL_BAR, NMS_BAR = 4.0, 1.2, 1.5, 60.0


def main() -> int:
    """Print the table; return 1 if a figure exceeds its limit."""
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument("--val", nargs=3, metavar=("CFG", "WEIGHTS", "PICTURES"))
    p.add_argument("--pictures", type=int, default=30, help="of the folder (30)")
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    args = p.parse_args()
    rows = validations(*args.val, args.pictures) if args.val else suppressions()
    return show(list(rows), as_json=args.json)


def suppressions() -> Iterator[dict[str, Any]]:
    """Yield the rows of suppression alone."""
    rng = np.random.default_rng(0)
    for place, make in (("spread", spread), ("heaped", heaped)):
        for kind, exponent in KINDS.items():
            one: list[float] = []
            for classes in CLASSES:
                name = f"{place}, {kind}, {classes} classes"
                times = []
                for count in COUNTS:
                    given = (
                        make(rng, count),
                        rng.random(count, np.float32),
                        rng.integers(0, classes, count),
                    )
                    times.append(least(lambda g=given, e=exponent: nms(*g, 0.45, e)))
                    yield row(f"{name}, {count} boxes", 1000 * times[-1], "ms")
                one = one or times
                worst = max(each / base for each, base in zip(times, one, strict=True))
                yield row(f"{name}, over one class, at most", worst, "x", CLASSES_BAR)
                growth = math.log(times[2] / times[0]) / math.log(COUNTS[2] / COUNTS[0])
                yield row(f"{name}, growth", growth, "", GROWTH_BAR)


def spread(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return boxes all over the picture, xyxy."""
    cxcywh = np.concatenate((rng.random((count, 2)), rng.random((count, 2)) / 4), 1)
    return cxcywh_to_xyxy(cxcywh.astype(np.float32))


def heaped(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return boxes around one object, xyxy."""
    centre = rng.normal(0.5, 0.01, (count, 2))
    cxcywh = np.concatenate((centre, 0.3 * np.exp(rng.normal(0, 0.05, (count, 2)))), 1)
    return cxcywh_to_xyxy(cxcywh.astype(np.float32))


def least(call: Callable[[], object], runs: int = 5) -> float:
    """Return the least seconds of the processor that a call takes."""
    times = []
    for _ in range(runs + 1):
        begin = time.process_time()
        call()
        times.append(time.process_time() - begin)
    return min(times[1:])


def validations(cfg: str, weights: str, pictures: str, count: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of validation."""
    trained, untrained = Model(cfg, weights), Model(cfg)
    paths = [p for p in sorted(Path(pictures).iterdir()) if p.suffix == ".jpg"][:count]
    with tempfile.TemporaryDirectory() as folder:
        data = labelled(trained, paths, Path(folder))
        spent = [[timed(model, data) for model in (trained, untrained)] for _ in range(3)]
        first = validate(trained, data, "all").scores
        most, detector.CANDIDATES = detector.CANDIDATES, 1 << 60
        every = validate(trained, data, "all").scores
        detector.CANDIDATES = most
    # turns, networks, whole and suppression -> milliseconds of a picture
    least_ms = 1000 * np.array(spent).min(0) / len(paths)
    for name, (whole, alone) in zip(("trained", "untrained"), least_ms, strict=True):
        yield row(f"{name}, a picture", whole, "ms")
        yield row(f"{name}, of it suppression", alone, "ms", NMS_BAR)
    yield row("untrained over trained", least_ms[1, 0] / least_ms[0, 0], "x", VAL_BAR)
    yield row("AP of the trained one", first["AP"], "")
    yield row(
        "AP with all candidates at once, difference", abs(every["AP"] - first["AP"]), "", 5e-5
    )


def labelled(model: Model, paths: list[Path], folder: Path) -> Path:
    """Write a data set of pictures with what a network finds in them as labels; return it."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for path, found in zip(paths, model.detect(paths), strict=True):
        shutil.copy(path, folder / "images")
        h, w = read_image(path).shape[:2]
        moved = found.boxes + 3 * rng.standard_normal((len(found), 4))  # so that AP is below 1
        boxes = (xyxy_to_cxcywh(moved) / np.array([w, h, w, h])).clip(0, 1)
        lines = [
            " ".join(map(str, (cls, *box)))
            for cls, box in zip(found.classes.tolist(), boxes.tolist(), strict=True)
        ]
        (folder / "labels" / f"{path.stem}.txt").write_text("\n".join(lines))
    names = "\n".join(f"thing {number}" for number in range(model.detector().classes))
    (folder / "classes.txt").write_text(names)
    return folder


def timed(model: Model, data: Path) -> tuple[float, float]:
    """Return the seconds of the processor that a validation takes, and those of suppression."""
    spent, original = [], detector.Detector._suppressed

    def measured(*args: Any) -> Any:
        begin = time.process_time()
        found = original(*args)
        spent.append(time.process_time() - begin)
        return found

    detector.Detector._suppressed = measured  # type: ignore[method-assign]
    try:
        begin = time.process_time()
        validate(model, data, "all")
        return time.process_time() - begin, sum(spent)
    finally:
        detector.Detector._suppressed = original  # type: ignore[method-assign]


if __name__ == "__main__":
    raise SystemExit(main())

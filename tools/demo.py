"""Set up everything, then go the whole way once: data, cfg, train, val, detect. Minutes, no GPU.

Every step is an ordinary command, echoed so that it can be pasted and varied.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from environment import ROOT, prepare, run, say

FOLDER = "runs/demo"  # made anew each time
DATA = f"{FOLDER}/data"
CFG = f"{FOLDER}/ghostnet.cfg"
PICTURES = f"{FOLDER}/pictures"
RUN = f"{FOLDER}/train"
WEIGHTS = f"{RUN}/best.weights"


def main() -> None:
    prepare()
    shutil.rmtree(ROOT / FOLDER, ignore_errors=True)
    ghostyolo("sample-data", DATA)
    names = ("--names", f"{DATA}/shapes.names")
    step("ghostyolo.gencfg", "--width", "0.5", *names, "--size", "256x256", "--out", CFG)
    ghostyolo("train", CFG, DATA, "--epochs", "15", "--project", FOLDER, "--name", "train")
    ghostyolo("val", CFG, WEIGHTS, DATA, "--split", "test")
    ghostyolo("detect", CFG, WEIGHTS, *first_pictures(4), "--out", PICTURES)
    say(f"done; the pictures with their boxes are in {ROOT / PICTURES}")


def ghostyolo(*arguments: str) -> None:
    step("ghostyolo", *arguments)


def step(module: str, *arguments: str) -> None:
    """Run one command of the tour; stop the tour with its exit code when it fails."""
    code = run("-m", module, *arguments)
    if code:
        raise SystemExit(code)


def first_pictures(count: int) -> list[str]:
    """Return the first pictures of the test split, as paths from the project's folder."""
    names = Path(ROOT, DATA, "ImageSets/Main/test.txt").read_text().split()
    return [f"{DATA}/JPEGImages/{name}.jpg" for name in names[:count]]


if __name__ == "__main__":
    main()

"""Set up the environment, then make data and a cfg, train, validate and detect: minutes, no GPU.

Every step is an ordinary command, which is printed so that it can be copied and changed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from environment import ROOT, prepare, run, say

FOLDER = "runs/demo"  # deleted and made again each time
DATA = f"{FOLDER}/data"
CFG = f"{FOLDER}/ghostnet.cfg"
PICTURES = f"{FOLDER}/pictures"
RUN = f"{FOLDER}/train"
WEIGHTS = f"{RUN}/best.weights"


def main() -> None:
    prepare()
    shutil.rmtree(ROOT / FOLDER, ignore_errors=True)
    ghostyolo("sample-data", DATA)
    words = ("--data", DATA, "--width", "0.5", "--size", "256x256")
    step("ghostyolo.gencfg", *words, "--out", CFG)
    ghostyolo("train", CFG, DATA, "--epochs", "15", "--project", FOLDER, "--name", "train")
    ghostyolo("val", CFG, WEIGHTS, DATA, "--split", "test")
    ghostyolo("detect", CFG, WEIGHTS, *first_pictures(4), "--out", PICTURES)
    say(f"done; the pictures with their boxes are in {ROOT / PICTURES}")


def ghostyolo(*arguments: str) -> None:
    step("ghostyolo", *arguments)


def step(module: str, *arguments: str) -> None:
    """Run one command; if it fails, stop with its exit code."""
    code = run("-m", module, *arguments)
    if code:
        raise SystemExit(code)


def first_pictures(count: int) -> list[str]:
    """Return the first pictures of the test split, as paths relative to the project."""
    names = Path(ROOT, DATA, "ImageSets/Main/test.txt").read_text().split()
    return [f"{DATA}/JPEGImages/{name}.jpg" for name in names[:count]]


if __name__ == "__main__":
    main()

"""A classifier, and pictures of colours for it, so small that a test can train on them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

COLOURS = {"blue": (40, 60, 200), "green": (50, 180, 60), "red": (210, 50, 40)}
CFG = """[net]
batch=4
subdivisions=1
width=32
height=32
channels=3
momentum=0.9
decay=0.0005
learning_rate=0.02
max_batches=6
saturation=1.2
exposure=1.2

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=3
stride=2
pad=1
activation=leaky

[avgpool]

[convolutional]
filters=3
size=1
activation=linear

[softmax]
"""


def picture(colour: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Return a picture of one colour with noise, uint8 RGB, of any size from 40 to 63."""
    h, w = rng.integers(40, 64, 2)
    noise = rng.normal(0, 12, (h, w, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def write(path: Path, image: np.ndarray) -> None:
    """Write a picture, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image[..., ::-1])


def folders(root: Path, counts: dict[str, int] | None = None) -> Path:
    """Write so many pictures of each class into SPLIT/CLASS/; split "" for none."""
    rng = np.random.default_rng(0)
    for split, count in (counts or {"train": 6, "val": 3}).items():
        for name, colour in COLOURS.items():
            for number in range(count):
                write(root / split / name / f"{number}.png", picture(colour, rng))
    return root

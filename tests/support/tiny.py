"""A network and pictures so small that a test can train on them."""

from __future__ import annotations

from pathlib import Path

import torch

from ghostyolo.model.model import Model
from ghostyolo.network import loads
from ghostyolo.sample_data.painter import write_dataset

COUNTS = {"train": 6, "val": 3, "test": 2}
CFG = """[net]
batch=2
subdivisions=1
width=64
height=64
channels=3
momentum=0.9
decay=0.01
learning_rate=0.01
max_batches=4
hue=.1
saturation=1.5
exposure=1.5

[convolutional]
batch_normalize=1
filters=8
size=3
stride=4
pad=1
activation=leaky

[convolutional]
batch_normalize=1
filters=8
size=3
stride=4
pad=1
activation=leaky

[convolutional]
filters=22
size=1
activation=linear

[yolo]
mask=0,1
anchors=10,12,30,28
classes=6
num=2
jitter=.2
"""


def write(folder: Path, *changes: tuple[str, str]) -> Path:
    """Write the cfg with some of its text replaced; return its path."""
    text = CFG
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = folder / "tiny.cfg"
    path.write_text(text)
    return path


def pictures(folder: Path, size: tuple[int, int] = (96, 128)) -> Path:
    """Write a data set of six classes; return its folder."""
    return write_dataset(folder, COUNTS, size=size)


def eager_weights(folder: Path, bias: float = 4) -> Path:
    """Write weights for the cfg that find something everywhere; return their path.

    bias: of the objectness and of the first class; with -4 nothing is found.
    """
    torch.manual_seed(0)
    model = Model(loads(CFG))
    with torch.no_grad():
        biases = model.layers[2].conv.bias.view(2, 11)
        biases.zero_()
        biases[:, 4:6] = bias
    model.save_weights(folder / "tiny.weights")
    return folder / "tiny.weights"

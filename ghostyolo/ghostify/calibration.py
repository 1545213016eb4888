"""Calibration pictures: photographs, or noise with the spectrum of photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ghostyolo.data.inputs import picture_input
from ghostyolo.network import Network

PIXELS = 16 * 416 * 416  # of all pictures; the memory holds maps of two networks for each one
FEWEST, MOST = 4, 64  # pictures


def count(network: Network) -> int:
    """Return the number of pictures to use; the memory for their maps bounds it."""
    h, w = network.options.size
    return min(MOST, max(FEWEST, PIXELS // (h * w)))


def read_pictures(network: Network, paths: Sequence[Path], rng: np.random.Generator) -> Tensor:
    """Return at most `count` pictures, chosen at random, as the network's input (N, 3, h, w).

    Raises `DataError` for a picture that cannot be read, `OptionError` for a network whose input
    does not have three channels.
    """
    chosen = sorted(rng.permutation(len(paths))[: count(network)])
    hint = "leave --calibrate out"
    inputs = [picture_input(network, paths[index], hint=hint) for index in chosen]
    return torch.from_numpy(np.concatenate(inputs))


def synthetic_pictures(network: Network, rng: np.random.Generator) -> Tensor:
    """Return noise in [0, 1], (N, C, h, w), whose amplitude falls as 1 / frequency, as in pictures.

    Source: Field, Relations between the statistics of natural images and the response properties
    of cortical cells, JOSA A 1987.
    """
    c, h, w = network.options.shape
    y, x = np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None]
    falling = 1 / np.maximum(np.hypot(y, x), 1 / max(h, w))
    noise = np.fft.irfft2(
        np.fft.rfft2(rng.standard_normal((count(network), c, h, w))) * falling, (h, w)
    )
    common = noise.mean(1, keepdims=True)  # channels of a pixel are alike
    noise = common + 0.3 * (noise - common)
    levels = 0.5 + 0.2 * (noise - noise.mean()) / max(noise.std(), 1e-12)
    return torch.from_numpy(levels.clip(0, 1).astype(np.float32))

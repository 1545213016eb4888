"""Make one input of a network, from a picture or from random numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ghostyolo.data.images import preprocess, read_image
from ghostyolo.errors import OptionError
from ghostyolo.network import Network


def network_input(
    network: Network, picture: str | Path | None = None, seed: int | None = None
) -> np.ndarray:
    """Return a network's input (1, C, h, w): a picture if given, else random numbers.

    Raises as `picture_input` does, and `OptionError` for a seed outside 0 to 2**32 - 1.
    """
    if picture is not None:
        return picture_input(network, picture)
    seed = seed or 0
    if not 0 <= seed < 2**32:
        raise OptionError(f"--seed {seed}", hint="use 0 to 4294967295")
    return random_input(network, seed)


def picture_input(
    network: Network, path: str | Path, *, hint: str = "use --seed for random numbers"
) -> np.ndarray:
    """Return a picture as a network's input (1, C, h, w), resized as its `[net]` says.

    Raises `DataError` for a picture that cannot be read, `OptionError` with the hint for a network
    whose input has neither three channels nor one.
    """
    options = network.options
    if options.channels not in (1, 3):
        message = f"the network takes {options.channels} channels, a picture has 3, or 1 in grey"
        raise OptionError(message, hint=hint)
    image, letterbox = read_image(path), bool(options.letter_box)
    return preprocess(image, options.size, letterbox, channels=options.channels)[0][None]


def random_input(network: Network, seed: int) -> np.ndarray:
    """Return random numbers (1, C, h, w) in [0, 1), the same with every version of numpy."""
    values = np.random.RandomState(seed).random_sample((1, *network.options.shape))
    return values.astype(np.float32)

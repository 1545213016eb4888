"""Tiles: parts of a large picture, each of which is shown to a network in its whole input.

Shrunk to the input of a network, small objects of a large picture have too few pixels left. The
whole picture is looked at too, for objects that no tile shows whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ghostyolo.data.header import Size
from ghostyolo.data.help_texts import OVERLAP
from ghostyolo.errors import OptionError
from ghostyolo.network.net_options import parse_size

MOST = 4096  # tiles of a picture


@dataclass(frozen=True)
class Tiles:
    """How pictures are divided.

    size: (h, w) of a tile in pixels of the picture; None for the size of the network's input, which
    then shows each pixel as it is. overlap: the least overlap of neighbouring tiles, as a fraction
    of a tile's sides: objects up to this size are whole in a tile. whole: whether the whole picture
    is looked at too. Raises `OptionError` for numbers out of range.

    >>> tiles = ghostyolo.Tiles((640, 640), overlap=0.3)
    >>> len(tiles.of((1080, 1920), (416, 416)))  # of a frame of 1080p; the last is the whole one
    9
    """

    size: Size | None = None
    overlap: float = OVERLAP
    whole: bool = True

    def __post_init__(self) -> None:
        if self.size and min(self.size) < 1:
            raise OptionError(f"tiles of {self.size[0]}x{self.size[1]}", hint="give pixels, HxW")
        if not 0 <= self.overlap <= 0.9:
            hint = "give a fraction of a tile's sides, from 0 to 0.9"
            raise OptionError(f"overlap={self.overlap}", hint=hint)

    @classmethod
    def read(cls, words: str, overlap: float | None = None, *, whole: bool = True) -> Tiles | None:
        """Return the tiles of "HxW" or "auto", None for "".

        Raises `OptionError` for other words, and for other options without words.
        """
        if not words:
            given = {"--overlap": overlap is not None, "--tile-only": not whole}
            for option in (name for name, value in given.items() if value):
                raise OptionError(f"{option} without --tile", hint="give --tile auto or HxW")
            return None
        size = None if words == "auto" else parse_size(words, "--tile")
        return cls(size, OVERLAP if overlap is None else overlap, whole)

    def __str__(self) -> str:
        """Return the words of the command line."""
        size = f"{self.size[0]}x{self.size[1]}" if self.size else "auto"
        return f"{size} --overlap {self.overlap:g}{'' if self.whole else ' --tile-only'}"

    def of(self, picture: Size, size: Size) -> np.ndarray:
        """Return the tiles of a picture, (n, 4) xyxy in pixels; the whole picture comes last.

        picture: its (h, w). size: of the network's input. Tiles are evenly spaced, so that most
        overlap by more than they must. A picture that is no larger than a tile is its only one.
        Raises `OptionError` for more than `MOST`.
        """
        tile = self.size or size
        rows, columns = map(self._starts, picture, tile)
        if len(rows) * len(columns) > MOST:
            message = f"{len(rows) * len(columns):,} tiles of {tile[0]}x{tile[1]} in a picture"
            raise OptionError(message, hint="give larger tiles, or a smaller overlap")
        top, left = (axis.ravel() for axis in np.meshgrid(rows, columns, indexing="ij"))
        bottom, right = (
            np.minimum(top + tile[0], picture[0]),
            np.minimum(left + tile[1], picture[1]),
        )
        found = np.column_stack((left, top, right, bottom))
        if self.whole and len(found) > 1:
            found = np.append(found, [[0, 0, *picture[::-1]]], 0)
        return found

    def _starts(self, side: int, tile: int) -> np.ndarray:
        """Return where the tiles begin on one side of a picture."""
        if side <= tile:
            return np.zeros(1, int)
        count = math.ceil((side - self.overlap * tile) / (tile - self.overlap * tile))
        return np.linspace(0, side - tile, count).round().astype(int)

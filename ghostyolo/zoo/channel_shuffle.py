"""Channel shuffles in a format that has none: which convolution's channels are read where.

A `[route]` joins maps and cannot reorder channels. But a shuffle never matters by itself, only by
which channels are read together further down, and the order of channels that are read together is
free: the weights that read them can be permuted. So each convolution before a shuffle is written as
several sections side by side, one for each reader of its channels, and each reader joins its
pieces. No weight, no multiplication more or less than in the paper.
"""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

Channel = tuple[int, int]  # of the convolution `source`: (source, place)
Pieces = tuple[tuple[int, ...], ...]


def shuffled(maps: list[list[Channel]]) -> list[Channel]:
    """Return the channels of maps of one width after a shuffle: the first of each, the second, ...

    Source: Zhang et al., ShuffleNet, CVPR 2018, figure 1.
    """
    return list(chain.from_iterable(zip(*maps, strict=True)))


class ShufflePlan(NamedTuple):
    """How the sections of a ShuffleNetV2 stage share its channels.

    Readers are the units 1, 2, ..., and last the end of the stage. pieces: of each convolution
    before a shuffle (unit 0 has two, each other unit one), by reader, the places of the channels
    that the reader takes. order: for each reader, the places among the paper's input channels of
    those it gets here.
    """

    pieces: tuple[Pieces, ...]
    order: Pieces


def plan_stage(half: int, units: int) -> ShufflePlan:
    """Follow the channels through a stage of units whose branches have `half` channels each."""
    sources = [[(source, place) for place in range(half)] for source in range(units + 1)]
    reads: list[list[Channel]] = []
    stream = shuffled(sources[:2])
    for made in sources[2:]:
        passed, read = stream[:half], stream[half:]
        reads.append(read)
        stream = shuffled([passed, made])
    reads.append(stream)
    pieces = tuple(
        tuple(tuple(sorted(k for s, k in read if s == source)) for read in reads)
        for source in range(units + 1)
    )
    joined = [
        [(source, k) for source, piece in enumerate(pieces) for k in piece[reader]]
        for reader in range(units)
    ]
    order = tuple(
        tuple(map(read.index, channels)) for read, channels in zip(reads, joined, strict=True)
    )
    return ShufflePlan(pieces, order)


def grouped_pieces(filters: int, groups: int) -> list[list[int]]:
    """Return how many channels each group of the next convolution reads of each of this one's.

    filters: of a grouped convolution before a shuffle; row: the next one's group, column: its own.
    """
    each = filters // groups
    counts = [[0] * groups for _ in range(groups)]
    for place in range(filters):  # after the shuffle, the channel at `place` is of group % groups
        counts[place // each][place % groups] += 1
    return counts

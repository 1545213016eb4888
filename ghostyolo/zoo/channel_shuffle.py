"""Channel shuffles without a section that shuffles: which channels each convolution reads.

A `[route]` concatenates maps and cannot reorder channels. But a shuffle only decides which channels
a later convolution reads together, and their order is free, because the weights that read them can
be permuted. So each convolution before a shuffle is written as several sections, one for each
reader of its channels, and each reader concatenates its pieces. The numbers of weights and of
multiply-adds are those of the paper.
"""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

Channel = tuple[int, int]  # (index of a convolution, index of its channel)
Pieces = tuple[tuple[int, ...], ...]


def shuffled(maps: list[list[Channel]]) -> list[Channel]:
    """Shuffle the channels of maps of one width: the first channel of each, then the second, ...

    Source: Zhang et al., ShuffleNet, CVPR 2018, figure 1.
    """
    return list(chain.from_iterable(zip(*maps, strict=True)))


class ShufflePlan(NamedTuple):
    """How the sections of a ShuffleNetV2 stage share its channels.

    The readers are the units 1, 2, ..., and last what follows the stage. pieces: for each
    convolution before a shuffle (unit 0 has two, each other unit one) and each reader, the indices
    of the channels that the reader takes. order: for each reader and each of its input channels,
    the index which that channel has in the paper's network.
    """

    pieces: tuple[Pieces, ...]
    order: Pieces


def plan_stage(half: int, units: int) -> ShufflePlan:
    """Trace the channels through a stage of units whose branches have `half` channels each."""
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
    """Return how many channels each group after a shuffle reads from each group before it.

    filters: of the grouped convolution before the shuffle. Rows are the groups of the convolution
    after it, columns those of the one before it.
    """
    each = filters // groups
    counts = [[0] * groups for _ in range(groups)]
    for place in range(
        filters
    ):  # after the shuffle, a channel at `place` is of group place % groups
        counts[place // each][place % groups] += 1
    return counts

"""Options of ghostify, and how a ghost module divides its maps."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

from ghostyolo.errors import OptionError

THRESHOLD = 0.1  # a map is a ghost if its best linear image misses at most this share of variance
LARGEST = 64  # ratio and cheap kernel; a larger number is a typing mistake
REFINE_STEPS = 100  # of gradient descent for each module, see `refine`


@dataclass(frozen=True)
class GhostOptions:
    """The ghost modules to make, and the convolutions that they replace.

    ratio: s of the paper, the number of maps for each intrinsic map. dw: d of the paper, the odd
    size of the cheap kernels. select, keep: words that select convolutions, see `selection.WORDS`;
    `keep` wins. Without `select`, all convolutions are replaced except stems and heads, which are
    replaced only if a word gives their name, index or group.
    """

    ratio: int = 2
    dw: int = 3
    select: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise `OptionError` for a ratio or a kernel size that no ghost module can have."""
        if not 2 <= self.ratio <= LARGEST:
            raise OptionError(f"ratio {self.ratio}", hint=f"use 2, the paper's, up to {LARGEST}")
        if not 1 <= self.dw <= LARGEST or self.dw % 2 == 0:
            hint = "use an odd kernel, such as 3"
            raise OptionError(f"cheap kernels of {self.dw}x{self.dw}", hint=hint)


@dataclass(frozen=True)
class Split:
    """How a ghost module makes n maps.

    primary: m, the number of intrinsic maps, which a convolution makes. rounds: the number of cheap
    maps of every intrinsic map. rest: further cheap maps, made from the first `source` intrinsic
    maps, where m does not divide n.
    """

    primary: int
    rounds: int
    rest: int = 0
    source: int = 0

    @property
    def cheap(self) -> int:
        """Return the number of maps made by cheap filters."""
        return self.primary * self.rounds + self.rest


def split(filters: int, ratio: int) -> Split:
    """Divide the maps for a ratio: m = filters / ratio rounded up, as in the paper's own code.

    The rest is made from the largest number of intrinsic maps that divides both the rest and m, so
    that a `[route]` can slice them off.
    Source: huawei-noah/Efficient-AI-Backbones, ghostnet_pytorch/ghostnet.py GhostModule (ceil).
    """
    primary = -(-filters // ratio)
    rounds, rest = divmod(filters - primary, primary)
    return Split(primary, rounds, rest, gcd(primary, rest) if rest else 0)

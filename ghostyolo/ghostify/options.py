"""What is asked of ghostify, and how a ghost module divides its maps."""

from __future__ import annotations

from dataclasses import dataclass

from ghostyolo.errors import OptionError

THRESHOLD = 0.1  # share of a map's variance that its best linear image may miss to be a ghost
LARGEST = 64  # ratio and cheap kernel; a larger number is a slip
REFINE_STEPS = 100  # of gradient descent for each module, see `refine`


@dataclass(frozen=True)
class GhostOptions:
    """The ghost modules to make, and where.

    ratio: s of the paper, maps for each intrinsic map. dw: its d, the size of the cheap kernels,
    odd. select, keep: selectors of convolutions, see `selectors.WORDS`; `keep` wins. Without
    `select` all convolutions are replaced but stems and heads, which only their own names or
    numbers select.
    """

    ratio: int = 2
    dw: int = 3
    select: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise `OptionError` for numbers that no ghost module has."""
        if not 2 <= self.ratio <= LARGEST:
            raise OptionError(f"ratio {self.ratio}", hint=f"use 2, the paper's, up to {LARGEST}")
        if not 1 <= self.dw <= LARGEST or self.dw % 2 == 0:
            hint = "use an odd kernel, such as 3"
            raise OptionError(f"cheap kernels of {self.dw}x{self.dw}", hint=hint)


@dataclass(frozen=True)
class Split:
    """How n maps are made. primary: m by convolution; rounds: cheap maps of each of those.

    rest: further cheap maps, from the first `source` of the m, where m does not divide n.
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
    """Split maps for a ratio: m = filters / ratio rounded up, as in the paper's own code.

    The rest is made from as many of the m as a `[route]` can slice off and share out evenly.
    Source: huawei-noah/Efficient-AI-Backbones, ghostnet_pytorch/ghostnet.py GhostModule (ceil).
    """
    primary = -(-filters // ratio)
    rounds, rest = divmod(filters - primary, primary)
    return Split(primary, rounds, rest, _largest_slice(primary, rest) if rest else 0)


def _largest_slice(primary: int, rest: int) -> int:
    return max(size for size in range(1, rest + 1) if primary % size == 0 == rest % size)

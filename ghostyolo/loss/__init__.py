"""Losses of `[yolo]` heads: Darknet's, to the digit, and one that learns small sets faster.

That of classifiers is in `entropy`.
"""

from ghostyolo.loss import darknet, modern
from ghostyolo.loss.base import Cost, HeadRun, Loss

__all__ = ["LOSSES", "Cost", "HeadRun", "Loss"]

LOSSES: dict[str, Loss] = {"modern": modern.cost, "darknet": darknet.cost}

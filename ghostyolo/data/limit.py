"""A few pictures of a data set, for a first try on much data."""

from __future__ import annotations

import logging

import numpy as np

from ghostyolo.data.dataset import Dataset
from ghostyolo.errors import OptionError

SEED = 0  # of the draw, so that every command takes the same pictures

logger = logging.getLogger(__name__)


def limited(dataset: Dataset, limit: int | None) -> Dataset:
    """Return a data set with at most `limit` of its samples, in their order; None for all.

    They are drawn at random, so that classes are mixed as in the whole set, and always the same; a
    larger limit adds others to them. Logs how many of how many. Raises `OptionError` for a limit
    below 1.
    """
    if limit is not None and limit < 1:
        raise OptionError(f"limit={limit}", hint="give a whole number of 1 or more")
    if limit is None or limit >= len(dataset):
        return dataset
    logger.warning("%s %s: %s", dataset.path, dataset.split, words(limit, len(dataset)))
    drawn = np.random.default_rng(SEED).permutation(len(dataset))[:limit]
    return dataset.only(np.sort(drawn))


def words(limit: int | None, whole: int) -> str:
    """Return "limited to 10 of 500 pictures", "" for all pictures."""
    return "" if limit is None or limit >= whole else f"limited to {limit} of {whole} pictures"

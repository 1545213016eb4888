"""Where a run keeps decoded pictures: in memory, in a file, or nowhere."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from ghostyolo.augment import disk
from ghostyolo.augment.cache import decoded, fitting
from ghostyolo.augment.slots import lengths
from ghostyolo.distributed import World
from ghostyolo.errors import OptionError, in_bytes
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.machine import part_of_memory

logger = logging.getLogger(__name__)
# Of the free memory of the machine: recent pictures get a quarter, those of --cache ram a half.
RECENT, KEPT = 4, 2


def chosen(config: TrainConfig, world: World) -> dict[str, Any]:
    """Return the options of `Batches` for `config.cache`, and log what fits and where it is.

    Raises OptionError if a disk or the memory has no room.
    """
    recent = {"window_bytes": part_of_memory(RECENT)}
    if config.cache == "auto":
        return recent
    if config.cache == "none":
        return {"cache_bytes": 0, "window_bytes": 0}
    sizes = decoded(config.train, config.factors)
    count, whole = len(sizes), int(lengths(sizes).sum())
    if config.cache == "disk":
        path = world.once(partial(disk.reserved, config.train, sizes, config.factors))
        if world.first:
            told = "%s: %d decoded pictures, %s, kept for later runs until you delete them"
            logger.warning(told, path, count, in_bytes(whole))
        return {"cache_bytes": 0, "disk": path, **recent}
    room = part_of_memory(KEPT)
    fits = count if room is None else fitting(sizes, room)
    if not fits:
        free = f"{in_bytes(KEPT * (room or 0))} of memory are free"
        raise OptionError(f"--cache ram: {free}", hint="free some, or give --cache disk")
    if world.first:
        told = "--cache ram: %d of %d pictures are kept, %s%s%s"
        each = " in each process" * (world.size > 1)
        rest = "" if fits == count else "; the others do not fit into half of the free memory"
        logger.warning(told, fits, count, in_bytes(lengths(sizes[:fits]).sum()), each, rest)
    return {"cache_bytes": whole if room is None else room, **recent}

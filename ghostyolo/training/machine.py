"""What a run may take of its machine: worker processes, and memory for recent pictures."""

from __future__ import annotations

import torch

from ghostyolo.distributed import local_processes
from ghostyolo.model import out_of_memory
from ghostyolo.runtime.threads import usable_processors
from ghostyolo.training.options import MAX_WORKERS, MAX_WORKERS_OF_GPU


def default_workers(device: str) -> int:
    """Return the number of worker processes that keep the device busy.

    On a CPU, training on a picture takes all cores twenty times as long as preparing it takes one
    core. A GPU takes more pictures than a machine's cores prepare, see docs/distributed.md.
    """
    if device == "cpu":
        return min(MAX_WORKERS, torch.get_num_threads() // 4)
    return min(MAX_WORKERS_OF_GPU, max(1, usable_processors() // local_processes()))


def part_of_memory(divisor: int) -> int | None:
    """Return the part of the free memory that this process may take, None if not known."""
    free = out_of_memory.free()
    return None if free is None else free // divisor // local_processes()

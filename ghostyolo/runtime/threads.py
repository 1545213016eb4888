"""The default number of threads of a runtime."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup/cpu.max")  # "QUOTA PERIOD" in microseconds, or "max PERIOD"


def default_threads() -> int:
    """Return OMP_NUM_THREADS, else the number of processors that this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    return usable_processors()


def usable_processors() -> int:
    """Return how many processors the affinity and the control group's quota leave this process.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst, cpu.max.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, min(count, round(_quota() or count)))


def _quota() -> float:
    """Return the number of processors that the control group may use, 0 without a limit."""
    try:
        quota, period = CGROUP.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return 0.0

"""How many threads a program may use here."""

from __future__ import annotations

import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup/cpu.max")  # "QUOTA PERIOD" in microseconds, or "max PERIOD"


def allowed() -> int:
    """Return the processors that this process may use: all, but for affinity, quota or a wish.

    The wish is OMP_NUM_THREADS. Source: Linux, Documentation/admin-guide/cgroup-v2.rst, cpu.max.
    """
    wish = os.environ.get("OMP_NUM_THREADS", "")
    if wish.isdecimal() and int(wish):
        return int(wish)
    own = getattr(os, "sched_getaffinity", None)
    count = len(own(0)) if own else os.cpu_count() or 1
    return max(1, min(count, round(_quota() or count)))


def _quota() -> float:
    """Return the processors' worth of time that the control group has, 0 without a limit."""
    try:
        quota, period = CGROUP.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return 0.0

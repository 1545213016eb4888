"""The default number of threads of a runtime, and how torch's threads wait for each other."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup/cpu.max")  # "QUOTA PERIOD" in microseconds, or "max PERIOD"
STAT = Path("/proc/stat")
# Times that a waiting thread of libgomp looks again before it sleeps, some 0.2 ms; 300,000 without
# a setting. Source: the manual of libgomp, GOMP_SPINCOUNT; docs/experiments.md for the number.
SPIN_COUNT = "10000"
SAMPLE = 0.1  # seconds in which other programs are measured


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


def share_processors() -> bool:
    """Let torch's threads wait without computing if other programs compute; return whether so.

    A thread that waits for others computes meanwhile, by default for some milliseconds. That is
    fastest on an idle machine, and keeps the others from the processors on a busy one. Call this
    before torch is imported: OpenMP reads its environment once. A user's own setting is kept.
    """
    chosen = any(name in os.environ for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"))
    if chosen or "torch" in sys.modules or default_threads() == 1:
        return False
    if idle_processors() > default_threads() - 0.5:
        return False
    os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    return True


def idle_processors() -> float:
    """Measure how many of the processors that this process may use are idle; inf if unknown."""
    before = _ticks()
    time.sleep(SAMPLE if before else 0)
    spent = [
        [late - early for early, late in zip(before[cpu], ticks, strict=True)]
        for cpu, ticks in _ticks().items()
        if cpu in before
    ]
    return sum((s[3] + s[4]) / max(1, sum(s)) for s in spent) if spent else float("inf")


def _ticks() -> dict[int, list[int]]:
    """Return what each usable processor did so far: user, nice, system, idle, iowait and so on.

    Source: Linux, man 5 proc_stat.
    """
    try:
        usable = os.sched_getaffinity(0)
        rows = (line.split() for line in STAT.read_text().splitlines())
        found = {
            int(name[3:]): [int(value) for value in values[:8]]
            for name, *values in rows
            if name.startswith("cpu") and name != "cpu"
        }
    except (AttributeError, OSError, ValueError):  # not Linux, or hidden
        return {}
    return {cpu: ticks for cpu, ticks in found.items() if cpu in usable}


def _quota() -> float:
    """Return the number of processors that the control group may use, 0 without a limit."""
    try:
        quota, period = CGROUP.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return 0.0

"""The time that each phase of long work takes."""

from __future__ import annotations

import time


class Timer:
    """Adds up the time spent in each phase. seconds: by phase; it is changed in place."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.last = seconds, time.monotonic()

    def lap(self, phase: str) -> float:
        """Add the time since the last lap to a phase and return that time, in seconds above 0."""
        now = time.monotonic()
        passed, self.last = max(now - self.last, 1e-9), now
        self.seconds[phase] = self.seconds.get(phase, 0.0) + passed
        return passed

"""Progress on standard error: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Mapping

from ghostyolo.errors import counted, printable

BAR_SECONDS, LOG_SECONDS = 0.1, 15.0  # between two states of a bar, and two lines of a log
SHORTEST_BAR, LONGEST_BAR = 8, 40  # in columns
MOST_IMPORTANT = 2  # the index of the last part that goes before the bar where room is scarce


class Progress:
    """Progress towards a total. unit: the thing counted, in the singular; the plural adds an s.

    total: 0 if it is not known. end: whether the end is shown in any case, else only what comes
    after a while, for commands that tell their results. Log messages appear above the bar.
    """

    def __init__(
        self, total: int, what: str, unit: str, *, start: int = 0, end: bool = True
    ) -> None:
        self.total, self.what, self.unit = total, printable(what), unit
        self.done, self.start, self.notes = start, start, tuple[str, ...]()
        self.end = end
        self.began = self.said = time.monotonic()
        self.terminal, self.visible = sys.stderr.isatty(), False
        self.handlers = logging.getLogger().handlers[:] if self.terminal else []
        for handler in self.handlers:
            handler.addFilter(self.clear)

    def advance_to(self, done: int, *notes: str) -> None:
        """Show the number done and as many notes as fit, which replace the speed."""
        self.done, self.notes, now = done, notes, time.monotonic()
        late = now - self.said > (BAR_SECONDS if self.terminal else LOG_SECONDS)
        ended = self.end and done == self.total
        if not (late or ended or (self.terminal and not self.visible)):
            return
        self.said = now
        if self.terminal:
            self._draw()
        else:
            self.say(f"{self.what} {', '.join(self._parts())}")

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self.clear()
        print(line, file=sys.stderr, flush=True)
        self.show()

    def show(self) -> None:
        """Show the bar again, if there is a terminal."""
        if self.terminal:
            self._draw()

    def clear(self, _: object = None) -> bool:
        """Clear the bar, for other output, until it is shown again; return True for `logging`."""
        if self.visible:
            print(f"\r{'':{_columns()}}", end="\r", file=sys.stderr, flush=True)
        self.visible = False
        return True

    def close(self) -> None:
        """Leave the bar as it is, and the next output to the next line."""
        for handler in self.handlers:
            handler.removeFilter(self.clear)
        if self.visible:
            print(file=sys.stderr, flush=True)
        self.visible = False

    def _draw(self) -> None:
        columns = _columns()
        text, bar, room = "", "", columns - len(self.what) - 1
        for number, part in enumerate(self._parts()):
            bar_comes_first = (SHORTEST_BAR + 3) * (number > MOST_IMPORTANT)
            if len(f"{text}, {part}") + bar_comes_first <= room:
                text += f", {part}" if text else part
        room = min(LONGEST_BAR, room - len(text) - 3)
        if self.total and room >= SHORTEST_BAR:
            bar = f" [{'#' * (room * self.done // self.total):-<{room}}]"
        line = f"{self.what}{bar} {text}"[:columns]
        print(f"\r{line:{columns}}", end="", file=sys.stderr, flush=True)
        self.visible = True

    def _parts(self) -> list[str]:
        """Return what there is to show, the most important first."""
        spent, done = time.monotonic() - self.began, self.done - self.start
        count = f"{self.done}/{self.total}" if self.total else f"{self.done}"
        left = spent / max(1, done) * (self.total - self.done)
        wait = f", {clock(left)} left" if self.done < self.total else f" in {clock(spent)}"
        speed = f"{done / max(spent, 1e-9):.1f} {self.unit}s/s"
        return [f"{count} {self.unit}s{wait}", *(self.notes or (speed,))]


def _columns() -> int:
    """Return the columns of the terminal that a line may fill without a line break."""
    try:
        return (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
    except OSError:  # standard error is no terminal of the system's
        return 79


def clock(seconds: float) -> str:
    """Return a time as 05:09 or 1:05:09."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


def speed(count: int, seconds: Mapping[str, float], unit: str = "picture") -> str:
    """Return how many were done, in what time, how many a second, and the share of each phase.

    seconds: by phase; they add up to the whole time.
    """
    whole = max(sum(seconds.values()), 1e-9)
    shares = (f"{name} {100 * each / whole:.0f} %" for name, each in seconds.items())
    return (
        f"{counted(count, unit)} in {clock(whole)}, {count / whole:.1f} {unit}s/s "
        f"({', '.join(shares)})"
    )

"""Progress on standard error: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import logging
import os
import sys
import time
from typing import TYPE_CHECKING

from ghostyolo.errors import printable
from ghostyolo.training.observers import Observer

if TYPE_CHECKING:
    from ghostyolo.training.config import TrainConfig
    from ghostyolo.training.state import State

SCORES = ("AP", "AP50", "AP75", "top-1", "top-5")  # shown for a validation that has them
BAR_SECONDS, LOG_SECONDS = 0.1, 15.0  # between two states of a bar, and two lines of a log
SHORTEST_BAR, LONGEST_BAR = 8, 40  # in columns
MOST_IMPORTANT = 2  # the index of the last part that goes before the bar where room is scarce


class Progress:
    """Progress towards a total. unit: the thing counted, in the singular; the plural adds an s.

    total: 0 if it is not known. Log messages appear above the bar.
    """

    def __init__(self, total: int, what: str, unit: str, *, start: int = 0) -> None:
        self.total, self.what, self.unit = total, printable(what), unit
        self.done, self.start, self.notes = start, start, tuple[str, ...]()
        self.began = self.said = time.monotonic()
        self.terminal, self.visible = sys.stderr.isatty(), False
        self.handlers = logging.getLogger().handlers[:] if self.terminal else []
        for handler in self.handlers:
            handler.addFilter(self.clear)

    def advance_to(self, done: int, *notes: str) -> None:
        """Show the number done and as many notes as fit, which replace the speed."""
        self.done, self.notes, now = done, notes, time.monotonic()
        late = now - self.said > (BAR_SECONDS if self.terminal else LOG_SECONDS)
        if not (late or done == self.total or (self.terminal and not self.visible)):
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
        wait = f", {_clock(left)} left" if self.done < self.total else f" in {_clock(spent)}"
        speed = f"{done / max(spent, 1e-9):.1f} {self.unit}s/s"
        return [f"{count} {self.unit}s{wait}", *(self.notes or (speed,))]


def _columns() -> int:
    """Return the columns of the terminal that a line may fill without a line break."""
    try:
        return (os.get_terminal_size(sys.stderr.fileno()).columns or 80) - 1
    except OSError:  # standard error is no terminal of the system's
        return 79


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


class TrainProgress(Observer):
    """Shows a training run: a bar with the loss, and a line for each validation."""

    progress: Progress | None = None

    def started(self, config: TrainConfig, state: State) -> None:
        """Show the bar."""
        self.progress = Progress(config.iterations, "train", "iteration", start=state.iteration)

    def updated(self, state: State, learning_rate: float, images_per_second: float) -> None:
        """Show the smoothed loss, pictures per second, the learning rate and the loss's parts."""
        assert self.progress is not None
        notes = [f"loss {state.loss:.2f}", f"{images_per_second:.1f} pictures/s"]
        notes += [f"rate {learning_rate:.3g}"]
        if len(state.parts) > 1:
            notes += [f"{name} {part:.2f}" for name, part in state.parts.items()]
        self.progress.advance_to(state.iteration, *notes)

    def validated(self, row: dict[str, float]) -> None:
        """Show the scores of a validation."""
        assert self.progress is not None
        scores = [f"{key} {row[key]:.3f}" for key in SCORES if key in row]
        losses = [f"loss {row['loss']:.2f}"]
        losses += [f"val_loss {row['val_loss']:.2f}"] if "val_loss" in row else []
        line = f"epoch {row['epoch']:g}: " + ", ".join([*losses, *scores])
        self.progress.say(line)

    def closed(self) -> None:
        """Leave the bar as it is."""
        if self.progress is not None:
            self.progress.close()

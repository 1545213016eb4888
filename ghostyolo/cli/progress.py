"""Progress on standard error: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from tqdm import tqdm

from ghostyolo.training.observers import Observer

if TYPE_CHECKING:
    from ghostyolo.training.config import TrainConfig
    from ghostyolo.training.state import State

SCORES = ("AP", "AP50", "AP75", "top-1", "top-5")  # shown for a validation that has them
LOG_SECONDS = 15.0  # between two lines of a log


class Progress:
    """Progress towards a total. unit: the thing counted, in the singular; the plural adds an s."""

    def __init__(self, total: int, what: str, unit: str, *, start: int = 0) -> None:
        self.total, self.what, self.unit = total, what, unit
        self.done, self.start = start, start
        self.began = self.said = time.monotonic()
        # disable=None: without a terminal the bar is disabled
        self.bar = tqdm(
            total=total, initial=start, desc=what, unit=unit, dynamic_ncols=True, disable=None
        )

    def advance_to(self, done: int, note: str = "") -> None:
        """Show the number done, followed by a note."""
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(done - self.bar.n)
        self.done = done
        now = time.monotonic()
        if self.bar.disable and (now - self.said > LOG_SECONDS or done == self.total):
            self.said = now
            left = (now - self.began) / max(1, done - self.start) * (self.total - done)
            wait = tqdm.format_interval(left)
            line = f"{self.what} {done}/{self.total} {self.unit}s"
            tail = f", {wait} left" if done < self.total else ""
            self.say(f"{line}{', ' + note if note else ''}{tail}")

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        tqdm.write(line, file=sys.stderr)
        sys.stderr.flush()

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


class TrainProgress(Observer):
    """Shows a training run: a bar with the loss, and a line for each validation."""

    progress: Progress | None = None

    def started(self, config: TrainConfig, state: State) -> None:
        """Show the bar."""
        self.progress = Progress(config.iterations, "train", "iteration", start=state.iteration)

    def updated(self, state: State, learning_rate: float, images_per_second: float) -> None:
        """Show the smoothed loss, the learning rate and pictures per second."""
        assert self.progress is not None
        parts = ", ".join(f"{name} {part:.2f}" for name, part in state.parts.items())
        loss = f"loss {state.loss:.2f}" + (f" ({parts})" if len(state.parts) > 1 else "")
        note = f"{loss}, rate {learning_rate:.3g}, {images_per_second:.1f} pictures/s"
        self.progress.advance_to(state.iteration, note)

    def validated(self, row: dict[str, float]) -> None:
        """Show the scores of a validation."""
        assert self.progress is not None
        scores = [f"{key} {row[key]:.3f}" for key in SCORES if key in row]
        line = ", ".join([f"epoch {row['epoch']:.1f}: loss {row['loss']:.2f}", *scores])
        self.progress.say(line)

    def closed(self) -> None:
        """Remove the bar."""
        if self.progress is not None:
            self.progress.close()

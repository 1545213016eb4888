"""Progress of long work: a bar on a terminal, plain lines in a log. Written to standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from ghostyolo.training.state import State
    from ghostyolo.training.tensorboard import TensorBoard

SCORES = ("AP", "AP50", "AP75", "top-1", "top-5")  # of a validation, as far as it has them
LOG_SECONDS = 15.0  # between two lines of a log


class Progress:
    """Counts towards a total. unit: what is counted, with its plural's s left out."""

    def __init__(self, total: int, what: str, unit: str, *, start: int = 0) -> None:
        self.total, self.what, self.unit = total, what, unit
        self.done, self.start = start, start
        self.began = self.said = time.monotonic()
        self.bar = (
            tqdm(total=total, initial=start, desc=what, unit=unit, dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def advance_to(self, done: int, note: str = "") -> None:
        """Show how many are done, with a note behind."""
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(done - self.bar.n)
        self.done = done
        now = time.monotonic()
        if self.bar is None and (now - self.said > LOG_SECONDS or done == self.total):
            self.said = now
            left = (now - self.began) / max(1, done - self.start) * (self.total - done)
            wait = tqdm.format_interval(left)
            line = f"{self.what} {done}/{self.total} {self.unit}s"
            tail = f", {wait} left" if done < self.total else ""
            self.say(f"{line}{', ' + note if note else ''}{tail}")

    def say(self, line: str) -> None:
        """Print a line without tearing the bar."""
        tqdm.write(line, file=sys.stderr)
        sys.stderr.flush()

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()


class TrainProgress:
    """What a person sees of a training run."""

    def __init__(self, total: int, warning: str | None = None) -> None:
        """total: iterations. warning: to be told once the run is under way."""
        self.total, self.warning = total, warning
        self.progress: Progress | None = None  # from the first update on: a run may be resumed

    def step(self, state: State, rate: float, images_per_second: float) -> None:
        """Show an update: the smoothed loss, the learning rate, pictures a second."""
        parts = ", ".join(f"{name} {part:.2f}" for name, part in state.parts.items())
        loss = f"loss {state.loss:.2f}" + (f" ({parts})" if len(state.parts) > 1 else "")
        note = f"{loss}, rate {rate:.3g}, {images_per_second:.1f} pictures/s"
        self._from(state.iteration).advance_to(state.iteration, note)

    def validated(self, row: dict[str, float]) -> None:
        """Show a validation."""
        scores = [f"{key} {row[key]:.3f}" for key in SCORES if key in row]
        line = ", ".join([f"epoch {row['epoch']:.1f}: loss {row['loss']:.2f}", *scores])
        self._from(int(row["iteration"])).say(line)

    def close(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.close()

    def _from(self, iteration: int) -> Progress:
        if self.progress is None:
            self.progress = Progress(self.total, "train", "iteration", start=iteration)
            if self.warning:
                self.progress.say(f"ghostyolo: {self.warning}")
        return self.progress


class Watch:
    """All who watch a run, and the wish to leave it: the update under way is finished first."""

    def __init__(self, observers: Sequence[TrainProgress | TensorBoard]) -> None:
        self.observers = observers
        self.stopping = 0  # number of the signal

    def stop(self, signal: int) -> None:
        """Leave the run after the update under way."""
        self.stopping = signal

    def step(self, state: State, rate: float, images_per_second: float) -> None:
        """Tell all of an update. Raises `KeyboardInterrupt` with the signal's number."""
        for observer in self.observers:
            observer.step(state, rate, images_per_second)
        if self.stopping:
            raise KeyboardInterrupt(self.stopping)

    def validated(self, row: dict[str, float]) -> None:
        """Tell all of a validation."""
        for observer in self.observers:
            observer.validated(row)

    def close(self) -> None:
        """Let all of them end."""
        for observer in self.observers:
            observer.close()

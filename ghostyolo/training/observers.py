"""Observers of a run, and how Ctrl-C is deferred to the end of an update."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ghostyolo.training.config import TrainConfig
    from ghostyolo.training.state import State

logger = logging.getLogger(__name__)


class Observer:
    """Is called by the training loop. This one does nothing; override what you need."""

    def started(self, config: TrainConfig, state: State) -> None:
        """Is called before the first update; of a resumed run, with the state that was saved."""

    def updated(self, state: State, learning_rate: float, images_per_second: float) -> None:
        """Is called after each update; raise KeyboardInterrupt to save the run and stop."""

    def validated(self, row: dict[str, float]) -> None:
        """Is called after each validation with its row of results.csv."""

    def closed(self) -> None:
        """Is called at the end of the run, also after an error."""


class Interruption(Observer):
    """Stops the run after the update in which a signal came."""

    signal = 0  # the number of the signal, 0 for none

    def updated(self, state: State, learning_rate: float, images_per_second: float) -> None:
        """Raise KeyboardInterrupt with the signal's number, if one came."""
        if self.signal:
            raise KeyboardInterrupt(self.signal)


@contextmanager
def deferred_signals() -> Iterator[Interruption]:
    """Defer the first Ctrl-C or SIGTERM in the block to the end of the update.

    A second one acts at once. Outside the main thread, where Python allows no signal handlers,
    nothing is deferred.
    """
    interruption = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    process = os.getpid()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # a shell ignores SIGINT for the commands that it runs in the background
    handled = [number for number, handler in before.items() if handler is not signal.SIG_IGN]

    def restore() -> None:
        for number in handled:
            signal.signal(number, before[number])

    def handle(number: int, _: object) -> None:
        restore()
        if os.getpid() != process:  # a worker: the signal went to the whole process group
            return
        interruption.signal = number
        with suppress(RuntimeError):  # if the signal came while another line was being written
            logger.warning("stopping after this iteration; again to stop now")

    for number in handled:
        signal.signal(number, handle)
    try:
        yield interruption
    finally:
        restore()

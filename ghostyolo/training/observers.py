"""Observers of a run, and a context that defers Ctrl-C to the end of an update."""

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
    """The methods that the training loop calls; in this class they do nothing."""

    def started(self, config: TrainConfig, state: State) -> None:
        """Is called before the first update; if the run is resumed, with the restored state."""

    def updated(self, state: State, learning_rate: float, images_per_second: float) -> None:
        """Is called after each update; raise KeyboardInterrupt to save the run and stop."""

    def validated(self, row: dict[str, float]) -> None:
        """Is called after each validation with its row of results.csv."""

    def closed(self) -> None:
        """Is called at the end of the run, also after an error."""


class Interruption(Observer):
    """Stops the run after the update during which a signal arrived."""

    signal = 0  # number of the signal that arrived, 0 for none

    def updated(self, state: State, learning_rate: float, images_per_second: float) -> None:
        """Raise KeyboardInterrupt with the number of the signal, if one has arrived."""
        if self.signal:
            raise KeyboardInterrupt(self.signal)


@contextmanager
def deferred_signals() -> Iterator[Interruption]:
    """Defer the first Ctrl-C or SIGTERM inside the block to the end of the update.

    A second signal acts at once. Outside the main thread, where Python does not allow signal
    handlers, signals are not deferred.
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
        if os.getpid() != process:  # a worker process: the whole process group gets the signal
            return
        interruption.signal = number
        with suppress(RuntimeError):  # if the signal arrives while another line is being written
            logger.warning("stopping after this iteration; press Ctrl-C again to stop now")

    for number in handled:
        signal.signal(number, handle)
    try:
        yield interruption
    finally:
        restore()

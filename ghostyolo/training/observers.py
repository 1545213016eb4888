"""Observers of a run: what they are called for, TensorBoard, and Ctrl-C at the end of an update."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ghostyolo import report
from ghostyolo.errors import OptionError
from ghostyolo.files import replace

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.tensorboard import SummaryWriter

    from ghostyolo.training.config import TrainConfig
    from ghostyolo.training.state import State

# The scores that TensorBoard shows.
SCORES = ("AP", "AP50", "AP75", "VOC", "precision", "recall", "top-1", "top-5")

FIRST_BATCHES = 3  # number of batches that are drawn at the start of a run

logger = logging.getLogger(__name__)


class Observer:
    """The methods that the training loop calls; in this class they do nothing."""

    def started(self, config: TrainConfig, state: State) -> None:
        """Is called before the first update; if the run is resumed, with the restored state."""

    def prepared(self, state: State, images: Tensor, truths: Tensor) -> None:
        """Is called before each update with its batch, see `Batches`; must not change it."""

    def updated(self, state: State, learning_rate: float, images_per_second: float) -> None:
        """Is called after each update; raise KeyboardInterrupt to save the run and stop."""

    def validating(self, done: int, total: int) -> None:
        """Is called during a validation with the number of its pictures done, and of all."""

    def validated(self, row: dict[str, float]) -> None:
        """Is called after each validation with its row of results.csv."""

    def closed(self) -> None:
        """Is called at the end of the run, also after an error."""


def tell_validating(observers: Sequence[Observer], done: int, total: int) -> None:
    """Tell observers how many pictures of a validation are done, and of all."""
    for observer in observers:
        observer.validating(done, total)


class TensorBoard(Observer):
    """Writes losses, learning rate, speed and scores by iteration into a folder.

    Raises `OptionError` if the package is not installed.
    """

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            message = "--tensorboard needs a package that is not installed"
            raise OptionError(message, hint="pip install 'ghostyolo[tensorboard]'")
        self.folder = folder
        self.writer: SummaryWriter | None = None

    def started(self, config: TrainConfig, state: State) -> None:
        """Open the log; drop the values after the checkpoint of a run that was killed."""
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(self.folder, purge_step=state.iteration + 1)

    def updated(self, state: State, learning_rate: float, images_per_second: float) -> None:
        """Write the smoothed terms of the loss, the learning rate, and pictures per second."""
        numbers = {"loss/all": state.loss, "rate": learning_rate}
        numbers["pictures per second"] = images_per_second
        if len(state.parts) > 1:
            numbers |= {f"loss/{name}": part for name, part in state.parts.items()}
        self._write(numbers, state.iteration)

    def validated(self, row: dict[str, float]) -> None:
        """Write the scores of a validation, and its loss beside that of the training."""
        scores = {f"val/{name}": row[name] for name in SCORES if name in row}
        scores |= {"loss/val": row["val_loss"]} if "val_loss" in row else {}
        self._write({**scores, "epoch": row["epoch"]}, int(row["iteration"]))

    def closed(self) -> None:
        """Flush and close the log."""
        if self.writer:
            self.writer.close()

    def _write(self, numbers: dict[str, float], iteration: int) -> None:
        assert self.writer
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, iteration)


class BatchPictures(Observer):
    """Draws the first batches of a run, and the first one without mosaics, into its folder.

    Files that exist are kept.
    """

    def started(self, config: TrainConfig, state: State) -> None:
        """Note which batches to draw, and the class names."""
        self.folder, self.names = config.folder, config.train.names
        self.drawn = {*range(FIRST_BATCHES), config.no_mosaic}

    def prepared(self, state: State, images: Tensor, truths: Tensor) -> None:
        """Write the picture of a batch."""
        path = self.folder / f"train_batch{state.iteration}.jpg"
        if state.iteration in self.drawn and not path.exists():
            replace(path, [report.batch_grid(images.numpy(), truths.numpy(), self.names)])


@contextmanager
def watched(
    config: TrainConfig, given: Sequence[Observer] | None, *, tensorboard: bool
) -> Iterator[Sequence[Observer]]:
    """Yield the observers of a run, and close them at the end.

    given: those of the caller, None for none at all, as on other ranks than 0.
    """
    watching = [] if given is None else [BatchPictures(), *given]
    if given is not None and tensorboard:
        watching.append(TensorBoard(config.folder / "tensorboard"))
    try:
        yield watching
    finally:
        for observer in watching:
            observer.closed()


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

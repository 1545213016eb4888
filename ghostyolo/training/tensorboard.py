"""A log of the run for TensorBoard."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from ghostyolo.errors import OptionError
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.observers import Observer
from ghostyolo.training.state import State

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


SCORES = ("AP", "AP50", "AP75", "VOC", "top-1", "top-5")


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
        """Write the scores of a validation."""
        scores = {f"val/{name}": row[name] for name in SCORES if name in row}
        self._write({**scores, "epoch": row["epoch"]}, int(row["iteration"]))

    def closed(self) -> None:
        """Flush and close the log."""
        if self.writer:
            self.writer.close()

    def _write(self, numbers: dict[str, float], iteration: int) -> None:
        assert self.writer
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, iteration)

"""What a run tells TensorBoard."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from ghostyolo.errors import OptionError

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from ghostyolo.training.state import State

SCORES = ("AP", "AP50", "AP75", "VOC", "top-1", "top-5")


class TensorBoard:
    """An observer that writes losses, rate, speed and scores over the iterations into a folder.

    Raises `OptionError` where the package is missing.
    """

    def __init__(self, folder: Path) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            message, hint = "--tensorboard needs a package that is not there", "pip install it"
            raise OptionError(message, hint=f"{hint}: pip install 'ghostyolo[tensorboard]'")
        self.folder = folder
        self.writer: SummaryWriter | None = None  # from the first word on: a run may be resumed

    def step(self, state: State, rate: float, images_per_second: float) -> None:
        """Write an update: the smoothed parts of the loss, the rate, pictures a second."""
        numbers = {"loss/all": state.loss, "rate": rate, "pictures per second": images_per_second}
        if len(state.parts) > 1:
            numbers |= {f"loss/{name}": part for name, part in state.parts.items()}
        self._write(numbers, state.iteration)

    def validated(self, row: dict[str, float]) -> None:
        """Write the scores of a validation."""
        scores = {f"val/{name}": row[name] for name in SCORES if name in row}
        self._write({**scores, "epoch": row["epoch"]}, int(row["iteration"]))

    def close(self) -> None:
        """Let everything reach the disk."""
        if self.writer is not None:
            self.writer.close()

    def _write(self, numbers: dict[str, float], iteration: int) -> None:
        if self.writer is None:
            from torch.utils.tensorboard import SummaryWriter

            # what a run that was killed wrote beyond its checkpoint comes again
            self.writer = SummaryWriter(self.folder, purge_step=iteration)
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, iteration)

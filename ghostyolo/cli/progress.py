"""Progress of a training run on standard error."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ghostyolo.cli.progress_bar import Progress, clock
from ghostyolo.errors import printable
from ghostyolo.training.observers import Observer

if TYPE_CHECKING:
    from ghostyolo.training.config import TrainConfig
    from ghostyolo.training.state import State

TIMED = 10.0  # seconds after the first update, when the time of the run is told
SCORES = ("AP", "AP50", "AP75", "top-1", "top-5")  # shown for a validation that has them


class TrainProgress(Observer):
    """Shows a training run: its length, a bar with the loss, and a line for each validation."""

    progress: Progress | None = None
    validation: Progress | None = None
    since: tuple[int, float] | None = None  # the first update and the time of its end
    told = False

    def started(self, config: TrainConfig, state: State) -> None:
        """Say how long the run is, and show the bar."""
        self.progress = Progress(config.iterations, "train", "iteration", start=state.iteration)
        pictures = len(config.train)
        epochs = config.iterations * config.batch / pictures
        resumed = f", {state.iteration:,} done" if state.iteration else "; --epochs N sets others"
        self.progress.say(
            f"{config.iterations:,} updates of {config.batch} pictures: {epochs:,.1f} epochs of "
            f"the {pictures:,} pictures of {printable(config.train.split)}{resumed}"
        )
        if config.tiles:
            shown = int((config.train.columns.trained > 0).sum())
            self.progress.say(
                f"--tile {config.tiles}: these are tiles, {shown:,} with boxes and "
                f"{pictures - shown:,} without"
            )
        scale = getattr(config.augmentation(0), "mosaic_scale", 1.0)  # not of classifiers
        if scale < 1:
            self.progress.say(
                f"mosaics show pictures at {scale:.2f} to 1 of the input's sides: the median "
                f"object has {config.train.columns.object_side:.2f} of its picture's"
            )

    def updated(self, state: State, learning_rate: float, images_per_second: float) -> None:
        """Show the smoothed loss, pictures per second, the learning rate and the loss's parts."""
        assert self.progress is not None
        self._tell_time(state.iteration)
        notes = [f"loss {state.loss:.2f}", f"{images_per_second:.1f} pictures/s"]
        notes += [f"rate {learning_rate:.3g}"]
        if len(state.parts) > 1:
            notes += [f"{name} {part:.2f}" for name, part in state.parts.items()]
        self.progress.advance_to(state.iteration, *notes)

    def _tell_time(self, iteration: int) -> None:
        """Say once how long the run will take, by the updates of its first seconds."""
        assert self.progress is not None
        now = time.monotonic()
        if self.since is None:
            self.since = iteration, now
        first, began = self.since
        if self.told or iteration == first or now - began < TIMED:
            return
        self.told, each = True, (now - began) / (iteration - first)
        left = clock(each * (self.progress.total - iteration))
        self.progress.say(f"{each:.2g} s an update: about {left} to go, and validations")

    def validating(self, done: int, total: int) -> None:
        """Show a validation of its own, above which the line of its scores will stand."""
        assert self.progress is not None
        if self.validation is None:
            self.progress.clear()
            self.validation = Progress(total, "validate", "picture", end=False)
        self.validation.advance_to(done)
        if done == total:
            self.validation.clear()
            self.validation.close()
            self.validation = None
            self.progress.show()

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

"""Progress of a training run on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ghostyolo.cli.progress_bar import Progress
from ghostyolo.training.observers import Observer

if TYPE_CHECKING:
    from ghostyolo.training.config import TrainConfig
    from ghostyolo.training.state import State

SCORES = ("AP", "AP50", "AP75", "top-1", "top-5")  # shown for a validation that has them


class TrainProgress(Observer):
    """Shows a training run: a bar with the loss, and a line for each validation."""

    progress: Progress | None = None
    validation: Progress | None = None

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

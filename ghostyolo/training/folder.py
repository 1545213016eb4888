"""The folder of a run: what may be written there, and what can be resumed."""

from __future__ import annotations

import logging

from ghostyolo.errors import OptionError, Span
from ghostyolo.files import replace
from ghostyolo.network import dumps
from ghostyolo.training.config import TrainConfig

FILES = ("report.html", "model.cfg", "best.weights", "last.weights", "results.csv", "curve.png")
FIRST_ROW = 2  # line of the first validation in results.csv, which comes just before a checkpoint

logger = logging.getLogger(__name__)


def check_unused(config: TrainConfig) -> None:
    """Raise `OptionError` if the folder of a new run has files in it."""
    folder = config.folder
    if folder.is_dir() and any(folder.iterdir()):
        hint = "give another --name, or --resume to go on"
        raise OptionError("this run exists", span=Span(str(folder)), hint=hint)


def left_before_checkpoint(config: TrainConfig) -> bool:
    """Return whether a run was stopped before its first checkpoint, so that it starts again.

    It is logged. If the run had come further, its checkpoint was deleted, and this returns False.
    """
    folder, rows = config.folder, config.folder / "results.csv"
    if config.checkpoint.exists() or not folder.is_dir() or (folder / "report.html").exists():
        return False
    if rows.exists() and len(rows.read_text().splitlines()) > FIRST_ROW:
        return False
    logger.warning("%s: it was left before its first checkpoint, so it starts again", folder)
    return True


def create(config: TrainConfig) -> None:
    """Create the folder and write model.cfg and model.names. Raises `OptionError`."""
    try:
        config.folder.mkdir(parents=True, exist_ok=True)
        for incomplete in config.folder.glob("*.part"):  # of a run that was killed
            incomplete.unlink()
    except OSError as error:
        message, hint = f"cannot make it: {error.strerror}", "give a folder that can be written"
        raise OptionError(message, span=Span(str(config.folder)), hint=hint) from None
    replace(config.folder / "model.cfg", [dumps(config.network).encode()])
    names = "".join(f"{name}\n" for name in config.train.names)
    replace(config.folder / "model.names", [names.encode()])

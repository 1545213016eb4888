"""The folder of a run: its files, and checks before a run is started or resumed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ghostyolo
from ghostyolo import files
from ghostyolo.errors import OptionError, Span
from ghostyolo.files import make_folder, replace
from ghostyolo.network import dumps, run_record
from ghostyolo.network.model_files import BEST, CFG, LAST
from ghostyolo.network.run_record import SCHEMA
from ghostyolo.training.config import TrainConfig

FILES = ("report.html", CFG, BEST, LAST, "results.csv", "curve.png", "train_batch*.jpg")
FIRST_ROW = 2  # line of results.csv with the first validation, just before the first checkpoint

logger = logging.getLogger(__name__)


def check_unused(config: TrainConfig) -> None:
    """Raise `OptionError` if the folder of a new run is not empty."""
    folder = config.folder
    if not is_empty(folder):
        hint = "give another --name (folder= in Python), or --resume to continue it"
        raise OptionError("this run exists", span=Span(str(folder)), hint=hint)


def is_empty(folder: Path) -> bool:
    """Return whether a folder holds no more than a lock, or does not exist."""
    return not folder.is_dir() or all(path.name == files.LOCK for path in folder.iterdir())


def check_schema(config: TrainConfig) -> None:
    """Raise `OptionError` if the folder is of a later version of this program.

    A version before schema 1 has written no run.json; before checksums a warning is logged.
    """
    path = config.folder / run_record.NAME
    try:
        record = run_record.read(config.folder)
        schema = record.get("schema") if path.exists() else SCHEMA
    except (OSError, ValueError):
        schema = None
    if schema != SCHEMA:
        message = f"its schema is {schema}, this program reads {SCHEMA}"
        hint = "resume with the ghostyolo that wrote it"
        raise OptionError(message, span=Span(str(path)), hint=hint)
    parts = _parts(config)
    for option in ("limit", "tile") if config.checkpoint.exists() else ():
        if record.get(option) != parts.get(option):
            own, given = (each.get(option, "none") for each in (record, parts))
            words = f" --{option} {record[option]}" if option in record else f"out --{option}"
            message = f"the run has --{option} {own}, not {given}"
            raise OptionError(message, span=Span(str(path)), hint=f"resume with{words}")
    if config.checkpoint.exists() and run_record.SUMS not in record:
        message = "%s: its weights have no checksums, so changes of them cannot be noticed; "
        logger.warning(message + "an older version wrote them, new ones get checksums", path)


def left_before_checkpoint(config: TrainConfig) -> bool:
    """Return whether a run was stopped before its first checkpoint, so that it must start again.

    If so, a warning is logged. If there are later results, the checkpoint was deleted: False.
    """
    folder, rows = config.folder, config.folder / "results.csv"
    if config.checkpoint.exists() or is_empty(folder) or (folder / "report.html").exists():
        return False
    if rows.exists() and len(rows.read_text().splitlines()) > FIRST_ROW:
        return False
    logger.warning("%s: the run has no checkpoint yet, so it starts again", folder)
    return True


@contextmanager
def locked(config: TrainConfig) -> Iterator[None]:
    """Keep other processes from training in the folder of a run.

    The folder is made for it, with those above it; what was made and is empty at the end is
    removed. Raises `OptionError` if another process trains in it.
    """
    missing = [path for path in (config.folder, *config.folder.parents) if not path.exists()]
    folder = make_folder(config.folder)
    try:
        with files.locked(folder):
            yield
    finally:
        with suppress(OSError):  # one is not empty
            for path in missing:
                path.rmdir()


def _parts(config: TrainConfig) -> dict[str, Any]:
    """Return which part of the pictures is used and shown at once, for run.json."""
    found = {"limit": config.limit, "tile": config.tiles and str(config.tiles)}
    return {key: value for key, value in found.items() if value}


def create(config: TrainConfig, start: str) -> None:
    """Create the folder; write run.json, model.cfg, model.names and val.txt, a list of pictures.

    start: SHA-256 of the file of `config.weights`, if any. Raises `OptionError`.
    """
    folder = make_folder(config.folder)
    for incomplete in folder.glob("*.part"):  # of a run that was killed
        with suppress(OSError):  # a folder that cannot be written is refused below
            incomplete.unlink()
    replace(folder / CFG, [dumps(config.network).encode()])
    record = {"schema": SCHEMA, "ghostyolo": ghostyolo.__version__, "data": config.train.path}
    record |= {"split": config.train.split, "val_split": config.val.split if config.val else "none"}
    record |= _parts(config)
    before = run_record.read(folder)  # of a run that is resumed, perhaps without its --weights
    record |= {"start": before["start"]} if "start" in before else {}
    record |= {"start": {"weights": config.weights, "sha256": start}} if start else {}
    record[run_record.SUMS] = before.get(run_record.SUMS, {})
    run_record.write(folder, record)
    if config.val:
        paths = config.val.columns.all_paths()
        lines = [os.fsencode(f"{os.path.abspath(path)}\n") for path in paths]
        replace(folder / "val.txt", lines)
    names = "".join(f"{name}\n" for name in config.train.names)
    replace(folder / "model.names", [names.encode()])

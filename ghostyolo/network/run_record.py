"""The record of a training run, run.json in its folder, with the checksums of its weights.

A `.weights` file has no room for a checksum. The SHA-256 of each one that is written into the
folder of a run is in the record, and is compared before the file is used.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from typing import Any

from ghostyolo import files
from ghostyolo.errors import Span, WeightsError

NAME, SCHEMA = "run.json", 1  # the schema grows when a file of the folder changes its meaning
SUMS = "sha256"  # the key of the checksums: a list for the name of each weights file
MOST_BYTES = 1 << 20

logger = logging.getLogger(__name__)


def read(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the record in a folder, {} if there is none.

    Raises OSError if it cannot be read, ValueError if it is damaged.
    """
    try:
        found = json.loads(files.read(os.path.join(folder, NAME), MOST_BYTES))
    except FileNotFoundError:
        return {}
    except RecursionError:
        raise ValueError("nested too deep") from None
    sums = found.get(SUMS, {}) if isinstance(found, dict) else None
    if not isinstance(sums, dict) or not all(isinstance(known, list) for known in sums.values()):
        raise ValueError("not a record")
    return found


def write(folder: str | os.PathLike[str], record: dict[str, Any]) -> None:
    """Replace the record in a folder. Raises `OptionError` if it cannot be written."""
    files.replace(os.path.join(folder, NAME), [json.dumps(record, indent=2).encode(), b"\n"])


def check(path: str | os.PathLike[str]) -> None:
    """Raise `WeightsError` if a file differs from the weights that the run of its folder wrote.

    Nothing is known of files in other folders, of other names, and of runs of older versions.
    """
    folder, name = os.path.split(path)
    known = readable(folder).get(SUMS, {})
    if name not in known or not os.path.isfile(path):
        return
    found = files.digest(path)
    if not any(found in sums for sums in known.values()):
        message = (
            f"has changed since ghostyolo wrote it: its SHA-256 is {found[:12]}, in {NAME} "
            + " or ".join(str(each)[:12] for each in known[name])
        )
        hint = (
            "it is damaged, so take a copy or train again; if you replaced it yourself, give "
            "your file another name"
        )
        raise WeightsError(message, span=Span(str(path)), hint=hint)


def replace(path: str | os.PathLike[str], chunks: Iterable[bytes | memoryview]) -> None:
    """Replace a `.weights` file, completely or not at all; in the folder of a run record it.

    Until the new file has its name, the record has the checksums of both, so that a crash leaves a
    file that is in the record. Raises `OptionError` if a file cannot be written.
    """
    folder, name = os.path.split(path)
    record = readable(folder)
    if "ghostyolo" not in record:
        files.replace(path, chunks)
        return
    sums = dict(record.get(SUMS, {}))
    with files.writing(path) as file:
        digest = hashlib.sha256()
        for chunk in chunks:
            file.write(chunk)
            digest.update(chunk)
        new = digest.hexdigest()
        write(folder, record | {SUMS: {**sums, name: [new, *sums.get(name, ())]}})
    write(folder, record | {SUMS: {**sums, name: [new]}})


def readable(folder: str) -> dict[str, Any]:
    """Return the record in a folder, {} with a warning if it cannot be read."""
    try:
        return read(folder)
    except (OSError, ValueError):
        path = os.path.join(folder, NAME)
        logger.warning("%s: is no record of a run, so weights beside it are not checked", path)
        return {}

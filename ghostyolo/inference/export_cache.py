"""The cache of automatic exports: a cfg with its weights as an ONNX file, written once.

It makes `detect` on a CPU about twice as fast as torch. The files are in the folder
ghostyolo/exports of the user's cache, named by a hash of the cfg, the weights, the batch size and
the code that writes them. Each is written under another name and then renamed, so that processes
can share the cache. Above `MOST_BYTES` in all, the least recently used files are deleted.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
from contextlib import suppress
from functools import cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import ghostyolo
from ghostyolo.errors import OptionError, Span, WeightsError
from ghostyolo.files import cache_folder, least_recent, opened, replace
from ghostyolo.network import Network, dumps, run_record

MOST_BYTES = 2 << 30
CHUNK = 1 << 22
CODE = ("exporters", "layers", "model", "ops")  # the folders whose code determines a file

logger = logging.getLogger(__name__)


def exported(network: Network, weights: str | Path | None, batch: int) -> Path:
    """Return the ONNX file of a network for a batch size; write it if it is missing.

    weights: None for random ones, which are always the same. Raises the errors of reading and
    exporting, and `OptionError` if the cache cannot be written.
    """
    if weights:
        run_record.check(weights)
    path = folder() / f"{_key(network, weights, batch)}.onnx"
    if path.is_file():
        with suppress(OSError):  # another user owns the file
            os.utime(path)
        return path
    beside = path.with_name(f"{path.stem}.{os.getpid()}.onnx")
    log_preparation(path, network, weights)
    try:
        _export(beside, network, weights, batch)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    for old in least_recent(path.parent, "*.onnx", MOST_BYTES, kept=path):
        old.unlink(missing_ok=True)
        old.with_suffix(".json").unlink(missing_ok=True)
    return path


def log_preparation(path: Path, network: Network, weights: str | Path | None) -> None:
    """Log, at level INFO, that a file of the cache is to be written or compared with torch."""
    span = network[0].span if len(network) else None
    _log_once(path, str(weights or (span.path if span else "the network")))


@cache
def _log_once(path: Path, source: str) -> None:
    text = "preparing %s for other runtimes than torch, once; kept in %s"
    logger.info(text, source, path.parent)


def folder() -> Path:
    """Return the folder of the cache; make it if it is missing.

    Raises `OptionError` if it cannot be made.
    """
    path = cache_folder() / "exports"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message, hint = f"cannot make it: {error.strerror}", "set XDG_CACHE_HOME"
        raise OptionError(message, span=Span(str(path)), hint=hint) from None
    return path


def read_deviation(path: Path, runtime: str) -> float | None:
    """Return the relative deviation of a runtime's outputs from torch's, None if not measured."""
    return _deviations(path).get(runtime)


def write_deviation(path: Path, runtime: str, deviation: float) -> None:
    """Store the deviation of a runtime on this file."""
    text = json.dumps({**_deviations(path), runtime: deviation})
    replace(path.with_suffix(f".{os.getpid()}.json"), [text.encode()])
    os.replace(path.with_suffix(f".{os.getpid()}.json"), path.with_suffix(".json"))


def _deviations(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.with_suffix(".json").read_text())
        return {str(name): float(deviation) for name, deviation in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _export(path: Path, network: Network, weights: str | Path | None, batch: int) -> None:
    """Write the file. Imports torch and onnx."""
    export: Any = importlib.import_module("ghostyolo.exporters.export")
    settings: Any = importlib.import_module("ghostyolo.exporters.settings")
    pytorch: Any = importlib.import_module("ghostyolo.runtime.pytorch")
    model = pytorch.load_model(network, weights)
    export.write(model, path, settings.ExportSettings(batch=batch), "onnx")


def _key(network: Network, weights: str | Path | None, batch: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in (dumps(network), str(batch), ghostyolo.__version__, _code_version()):
        digest.update(text.encode() + b"\0")
    try:
        with opened(weights) if weights else BytesIO(b"random") as file:
            for chunk in iter(partial(file.read, CHUNK), b""):
                digest.update(chunk)
    except OSError as error:
        message, hint = f"cannot read: {error.strerror}", "give the path of a .weights file"
        raise WeightsError(message, span=Span(str(weights)), hint=hint) from None
    return digest.hexdigest()


def _code_version() -> str:
    """Return the sizes and times of the files of `CODE`."""
    root = Path(__file__).parents[1]
    files = sorted(file for part in CODE for file in (root / part).glob("*.py"))
    return " ".join(f"{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)

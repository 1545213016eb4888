"""Cfgs with weights as ONNX files, made once for the programs that read no cfg.

The files lie in ghostyolo/exports among the user's caches, named by a hash of all that is in them:
the cfg, the weights, the batch, and the code that writes them. Each is written beside its place and
renamed, so that processes may share them; beyond 2 GB the ones that lay idle longest are deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ghostyolo
from ghostyolo.errors import OptionError, Span, WeightsError
from ghostyolo.files import replace
from ghostyolo.network import Network, dumps

MOST = 2 << 30  # bytes of all files
CHUNK = 1 << 22
CODE = ("exporters", "layers", "model", "ops")  # parts of the package that decide what a file holds


def exported(network: Network, weights: str | Path | None, batch: int) -> Path:
    """Return the ONNX file of a network for inputs of so many pictures, written if there is none.

    weights: None for random ones, always the same. Raises the errors of reading and exporting, and
    `OptionError` where the cache cannot be written.
    """
    path = folder() / f"{_key(network, weights, batch)}.onnx"
    if path.is_file():
        with contextlib.suppress(OSError):  # of another user's file
            os.utime(path)
        return path
    beside = path.with_name(f"{path.stem}.{os.getpid()}.onnx")
    try:
        _write(beside, network, weights, batch)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    _prune(path)
    return path


def folder() -> Path:
    """Return where the files lie, which exists then. Source: XDG Base Directory Specification 0.8.

    Raises `OptionError` where it cannot be made.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(base) / "ghostyolo" / "exports"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message, hint = f"cannot make it: {error.strerror}", "set XDG_CACHE_HOME"
        raise OptionError(message, span=Span(str(path)), hint=hint) from None
    return path


def checked(path: Path, program: str) -> float | None:
    """Return how far the outputs of a program were from torch's, None where nobody looked."""
    return _checks(path).get(program)


def check(path: Path, program: str, share: float) -> None:
    """Keep how far a program's outputs are from torch's, as a share of the largest value."""
    text = json.dumps({**_checks(path), program: share})
    replace(path.with_suffix(f".{os.getpid()}.json"), [text.encode()])
    os.replace(path.with_suffix(f".{os.getpid()}.json"), path.with_suffix(".json"))


def _checks(path: Path) -> dict[str, float]:
    try:
        found = json.loads(path.with_suffix(".json").read_text())
        return {str(name): float(share) for name, share in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _write(path: Path, network: Network, weights: str | Path | None, batch: int) -> None:
    """Export, which takes torch and onnx: imported only now."""
    export: Any = importlib.import_module("ghostyolo.exporters.export")
    engine: Any = importlib.import_module("ghostyolo.runtime.pytorch")
    export.write(engine.model(network, weights), path, export.ExportSettings(batch=batch), "onnx")


def _key(network: Network, weights: str | Path | None, batch: int) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for text in (dumps(network), str(batch), ghostyolo.__version__, _code()):
        digest.update(text.encode() + b"\0")
    for chunk in _chunks(weights) if weights else [b"random"]:
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(path: str | Path) -> Iterator[bytes]:
    try:
        with open(path, "rb") as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        message, hint = f"cannot read: {error.strerror}", "give the path of a .weights file"
        raise WeightsError(message, span=Span(str(path)), hint=hint) from None


def _code() -> str:
    """Return the age and size of the code that decides what a file holds."""
    root = Path(__file__).parents[1]
    files = sorted(file for part in CODE for file in (root / part).glob("*.py"))
    return " ".join(f"{file.stat().st_size}:{file.stat().st_mtime_ns}" for file in files)


def _prune(kept: Path) -> None:
    """Delete the files that lay idle longest until the rest is small enough."""
    known = []
    for path in kept.parent.glob("*.onnx"):
        with contextlib.suppress(OSError):  # another process deletes too
            known.append((path.stat().st_mtime, path.stat().st_size, path))
    total = 0
    for _, size, path in sorted(known, reverse=True):
        total += size
        if total > MOST and path != kept:
            for each in (path, path.with_suffix(".json")):
                each.unlink(missing_ok=True)

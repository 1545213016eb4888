"""Files of named tensors: safetensors and torch's. No code in a file is ever executed."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ghostyolo.errors import Span, WeightsError
from ghostyolo.files import opened, replace

TORCH = (".pt", ".pth")
SUFFIXES = (".safetensors", *TORCH)
_WRAPPERS = ("state_dict", "model")  # keys of the state dict in files of training scripts
_PREFIXES = ("module.", "_orig_mod.", "model.")  # of wrapped modules: parallel, compiled
_ZIP = b"PK\x03\x04"  # torch saves a zip file, or in old versions a pickle
_DEPTH = 4  # of wrappers; a dict may contain itself


class NamedTensors(NamedTuple):
    """Tensors by name, and the length of their training."""

    tensors: dict[str, Tensor]
    seen: int = 0  # pictures in training
    iteration: int = 0  # of a checkpoint without a count of pictures


def recognise(path: str | Path) -> bool:
    """Return whether a file holds named tensors, judged by its content, or else by its suffix."""
    return _reader(path) is not None


def read(path: str | Path) -> NamedTensors:
    """Read a file that `recognise` knows. Raises `WeightsError`."""
    return (_reader(path) or _read_torch)(path)


def write(path: str | Path, tensors: dict[str, Tensor], seen: int, wrapped: bool) -> None:
    """Write tensors in the format of the path's suffix.

    wrapped: whether torch's format holds them under the key "model", as in a checkpoint.pt. Raises
    `WeightsError` if the file cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if str(path).endswith(".safetensors"):
        metadata = {"format": "pt", "seen": str(seen)}
        replace(path, [safetensors.torch.save(tensors, metadata)])
        return
    buffer = io.BytesIO()
    torch.save({"model": tensors, "seen": seen} if wrapped else tensors, buffer)
    replace(path, [buffer.getbuffer()])


def _reader(path: str | Path) -> Callable[[str | Path], NamedTensors] | None:
    try:
        with opened(path) as file:
            start = file.read(16)
    except OSError as error:
        hint = "give the path of a file with weights"
        raise _error(path, f"cannot read: {error.strerror}", hint) from None
    if start.startswith(_ZIP):
        return partial(_read_torch, mmap=True)
    if start[8:10] == b'{"' or str(path).endswith(".safetensors"):
        return _read_safetensors
    pickled = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    return _read_torch if pickled or str(path).endswith(TORCH) else None


def _read_safetensors(path: str | Path) -> NamedTensors:
    try:
        with safetensors.safe_open(path, "pt") as file:
            seen = (file.metadata() or {}).get("seen", "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise _error(path, f"not a safetensors file: {error}", "fetch it again") from None
    return NamedTensors(_unprefixed(tensors), _count(seen))


def _read_torch(path: str | Path, mmap: bool = False) -> NamedTensors:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        called = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"asks for {called[1]}" if called else "holds more than tensors"
        hint = "have its author save the state_dict() alone, or as .safetensors"
        raise _error(path, f"not loaded, as it may run code: it {what}", hint) from None
    except Exception as error:  # damaged files raise errors of many kinds
        message = f"not a file of torch.save: {type(error).__name__}"
        raise _error(path, message, "fetch it again") from None
    outer = content if isinstance(content, dict) else {}
    tensors = _unprefixed(_tensors(path, content))
    return NamedTensors(tensors, _count(outer.get("seen")), _count(outer.get("iteration")))


def _tensors(path: str | Path, content: Any) -> dict[str, Tensor]:
    """Return the state dict in the file of a training script."""
    for _ in range(_DEPTH):
        if not isinstance(content, dict):
            break
        inner = [content[name] for name in _WRAPPERS if isinstance(content.get(name), dict)]
        if not inner:
            break
        content = inner[0]
    hint = "save the model's state_dict()"
    if not isinstance(content, dict) or not content:
        raise _error(path, f"holds type {type(content).__name__} instead of tensors", hint)
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            message = f"{str(name)[:80]!r} has type {type(value).__name__} instead of Tensor"
            raise _error(path, message, hint)
    return dict(content)


def _unprefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
    return tensors


def _count(value: Any) -> int:
    """Return a count in a file, 0 if it is not a whole number."""
    text = str(value) if isinstance(value, int | str) else ""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


def _error(path: str | Path, message: str, hint: str) -> WeightsError:
    return WeightsError(" ".join(message.split()), span=Span(str(path)), hint=hint)

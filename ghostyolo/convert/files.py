"""Files of named tensors: safetensors and what torch saves. Nothing in a file is ever executed."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ghostyolo.errors import Span, WeightsError
from ghostyolo.files import replace

TORCH = (".pt", ".pth")
SUFFIXES = (".safetensors", *TORCH)
_WRAPPERS = ("state_dict", "model")  # keys under which training scripts keep a state dict
_PREFIXES = ("module.", "_orig_mod.", "model.")  # of wrapped modules: parallel, compiled
_DEPTH = 4  # of wrappers; a dict may contain itself


class Named(NamedTuple):
    """Tensors by name, and how far their training had come."""

    tensors: dict[str, Tensor]
    seen: int = 0  # pictures
    iteration: int = 0  # of a checkpoint that does not count pictures


def recognise(path: str | Path) -> bool:
    """Return whether a file holds named tensors, by its content, or else by its suffix."""
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except OSError as error:
        hint = "give the path of a file with weights"
        raise _error(path, f"cannot read: {error.strerror}", hint) from None
    return bool(_reader(path, start))


def read(path: str | Path) -> Named:
    """Read a file that `recognise` knows. Raises `WeightsError`."""
    with open(path, "rb") as file:
        reader = _reader(path, file.read(16)) or _read_torch
    return reader(path)


def write(path: str | Path, tensors: dict[str, Tensor], seen: int, wrapped: bool) -> None:
    """Write tensors in the format of the path's suffix.

    wrapped: whether torch's format holds them under "model" as our checkpoints do. Raises
    `WeightsError` when the file cannot be written.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if str(path).endswith(".safetensors"):
        metadata = {"format": "pt", "seen": str(seen)}
        replace(path, [safetensors.torch.save(tensors, metadata)])
        return
    buffer = io.BytesIO()
    torch.save({"model": tensors, "seen": seen} if wrapped else tensors, buffer)
    replace(path, [buffer.getbuffer()])


def _reader(path: str | Path, start: bytes) -> Callable[[str | Path], Named] | None:
    pickled = start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05")
    if pickled or start.startswith(b"PK\x03\x04"):
        return _read_torch
    if start[8:10] == b'{"' or str(path).endswith(".safetensors"):
        return _read_safetensors
    return _read_torch if str(path).endswith(TORCH) else None


def _read_safetensors(path: str | Path) -> Named:
    try:
        with safetensors.safe_open(path, "pt") as file:
            seen = (file.metadata() or {}).get("seen", "")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, OSError, RuntimeError, ValueError) as error:
        raise _error(path, f"not a safetensors file: {error}", "fetch it again") from None
    return Named(_unprefixed(tensors), _count(seen))


def _read_torch(path: str | Path) -> Named:
    with open(path, "rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        called = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"asks for {called[1]}" if called else "holds more than tensors"
        hint = "have its author save the state_dict() alone, or as .safetensors"
        raise _error(path, f"not loaded, as it may run code: it {what}", hint) from None
    except Exception as error:  # torch raises whatever the damage leads to
        message = f"not a file that torch saved: {type(error).__name__}"
        raise _error(path, message, "fetch it again") from None
    outer = content if isinstance(content, dict) else {}
    tensors = _unprefixed(_tensors(path, content))
    return Named(tensors, _count(outer.get("seen")), _count(outer.get("iteration")))


def _tensors(path: str | Path, content: Any) -> dict[str, Tensor]:
    """Return the state dict in what a training script saved."""
    for _ in range(_DEPTH):
        if not isinstance(content, dict):
            break
        inner = [content[name] for name in _WRAPPERS if isinstance(content.get(name), dict)]
        if not inner:
            break
        content = inner[0]
    hint = "save the model's state_dict()"
    if not isinstance(content, dict) or not content:
        raise _error(path, f"holds no tensors but a {type(content).__name__}", hint)
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            message = f"{str(name)[:80]!r} is no tensor but a {type(value).__name__}"
            raise _error(path, message, hint)
    return dict(content)


def _unprefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name[len(prefix) :]: tensor for name, tensor in tensors.items()}
    return tensors


def _count(value: Any) -> int:
    """Return a count of a file, 0 for what is none."""
    text = str(value) if isinstance(value, int | str) else ""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else 0


def _error(path: str | Path, message: str, hint: str) -> WeightsError:
    return WeightsError(" ".join(message.split()), span=Span(str(path)), hint=hint)

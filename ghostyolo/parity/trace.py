"""Traces: a network's input and its layers' outputs in one file, to be compared elsewhere.

An .npz without compression or pickles: `meta` (UTF-8 JSON as uint8), `input` and per layer
`layer_INDEX`, float32. The JSON holds the cfg, its hash, each layer's kind and shape, hashes of the
stored tensors, and the versions of what computed. With samples, a layer's array holds that many
of its values, then their least, greatest, mean and standard deviation over the whole layer.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import struct
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ghostyolo
from ghostyolo.errors import CfgError, DataError, Findings, Span
from ghostyolo.files import writing
from ghostyolo.model.model import Model
from ghostyolo.model.weights import stored
from ghostyolo.network import Network, dumps, loads
from ghostyolo.parity.measure import on_device_of

FORMAT = 1
_SPREAD = 2654435761  # a prime near 2**32 / the golden ratio: multiples of it spread evenly
_DAMAGES = (
    ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, struct.error,
    zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True)
class Trace:
    """What a network computed once.

    x: its input (1, C, H, W). outputs: by layer, (1, C, H, W), or a vector of `condensed` values
    where samples is not 0. digests: by layer, name and digest of each stored tensor. made: what
    computed it, in words by name.
    """

    network: Network
    x: np.ndarray
    outputs: Mapping[int, np.ndarray]
    digests: Mapping[int, Mapping[str, str]]
    samples: int
    made: Mapping[str, str]


def condensed(output: np.ndarray, samples: int) -> np.ndarray:
    """Return `samples` values of an output and least, greatest, mean and deviation of all."""
    values = output.ravel()
    at = np.arange(min(samples, values.size), dtype=np.uint64) * _SPREAD % values.size
    return np.array(
        [*values[at], values.min(), values.max(), values.mean(), values.std()], np.float32
    )


def digest(array: np.ndarray) -> str:
    """Return a digest of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()[:16]


def record(
    model: Model, x: np.ndarray, *, samples: int = 0, layers: Collection[int] | None = None
) -> Trace:
    """Run a model in inference and return its trace, of all layers or of those listed."""
    image = on_device_of(model, x)
    outputs = model.trace(image)
    kept = range(len(outputs)) if layers is None else sorted(layers)
    arrays = {index: outputs[index].float().cpu().numpy() for index in kept}
    made = {
        "ghostyolo": ghostyolo.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": str(image.device),
    }
    if samples:
        arrays = {index: condensed(array, samples) for index, array in arrays.items()}
    return Trace(model.network, x, arrays, digests(model), samples, made)


def digests(model: Model) -> dict[int, dict[str, str]]:
    """Return name and digest of every stored tensor, by layer."""
    tensors = model.tensors()
    return {
        node.index: {
            name: digest(tensors[node.index][name].detach().float().cpu().numpy())
            for name, _ in held
        }
        for node in model.network
        if (held := stored(model.network, node))
    }


def write(path: str | Path, trace: Trace) -> None:
    """Write a trace. Raises `OptionError` when the file cannot be written."""
    text = dumps(trace.network)
    meta = {
        "ghostyolo_trace": FORMAT,
        "made": dict(trace.made),
        "samples": trace.samples,
        "cfg": text,
        "cfg_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "layers": [
            {
                "kind": node.layer.kind,
                "shape": list(node.shape),
                "tensors": dict(trace.digests.get(node.index, {})),
            }
            for node in trace.network
        ],
    }
    arrays = {f"layer_{index}": array for index, array in trace.outputs.items()}
    words = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    with writing(path) as file:
        np.savez(file, meta=words, input=trace.x, **arrays)  # type: ignore[arg-type]


def read(path: str | Path) -> Trace:
    """Read a trace. Raises `DataError` for a file that is none, or a damaged one.

    Nothing is unpickled or decompressed, and nothing allocated beyond the size of the file.
    """
    span = Span(str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive, os.path.getsize(path))
    except OSError as error:
        hint = "give a file that 'ghostyolo trace' wrote"
        raise DataError(f"cannot read: {error.strerror}", span=span, hint=hint) from None
    except (*_DAMAGES, CfgError) as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        hint = "write it again with 'ghostyolo trace'"
        raise DataError(f"not a whole trace: {reason}", span=span, hint=hint) from None


def _read(archive: zipfile.ZipFile, size: int) -> Trace:
    members = archive.infolist()
    if any(item.compress_type != zipfile.ZIP_STORED for item in members):
        raise ValueError("a member is compressed")
    if sum(item.file_size for item in members) > size:
        raise ValueError("its members state more bytes than the file has")
    meta = json.loads(_array(archive, "meta", "u1").tobytes())
    if not isinstance(meta, dict) or meta.get("ghostyolo_trace") != FORMAT:
        raise ValueError(f"not of format {FORMAT}")
    network = loads(meta["cfg"], path="cfg in the trace", findings=Findings(quiet=True))
    x, samples = _array(archive, "input", "<f4"), int(meta["samples"])
    if x.shape != (1, *network.options.shape):
        raise ValueError(f"input {x.shape} for a network of {network.options.shape}")
    outputs = {
        node.index: _array(archive, f"layer_{node.index}", "<f4")
        for node in network
        if f"layer_{node.index}.npy" in archive.namelist()
    }
    for index, array in outputs.items():
        if not samples and array.shape != (1, *network[index].shape):
            raise ValueError(f"layer {index} is {array.shape}, not {network[index].shape}")
    held = {index: dict(layer["tensors"]) for index, layer in enumerate(meta["layers"])}
    made = {str(name): str(value) for name, value in dict(meta["made"]).items()}
    return Trace(network, x, outputs, held, samples, made)


def _array(archive: zipfile.ZipFile, name: str, kind: str) -> np.ndarray:
    """Return one member, whose header must state the type and the bytes that it has."""
    stream = io.BytesIO(archive.read(f"{name}.npy"))
    version: Any = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"{name} is of npy format {version}")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    rest = stream.getbuffer()[stream.tell() :]
    if by_columns or dtype != np.dtype(kind) or min(shape, default=1) < 1:
        raise ValueError(f"{name} is {dtype} {shape}")
    return np.frombuffer(rest, kind).reshape(shape)

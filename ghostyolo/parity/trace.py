"""Traces: a network's input and its layers' outputs in one file, to compare with another run.

An .npz without compression or pickles: `meta` (UTF-8 JSON as uint8), `input` and per layer
`layer_INDEX`, float32. The JSON holds the cfg, its hash, each layer's kind and shape, hashes of the
stored tensors, and the versions of the programs. With samples, a layer's array holds that many of
its values, then minimum, maximum, mean and standard deviation of the whole layer.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ghostyolo
from ghostyolo.errors import CfgError, DataError, Findings, OptionError, Span
from ghostyolo.files import opened, writing
from ghostyolo.model.model import Model
from ghostyolo.network import Network, dumps, loads
from ghostyolo.network.weights_file import stored

FORMAT = 1
_SPREAD = 2654435761  # a prime near 2**32 / the golden ratio: multiples of it spread evenly
_DAMAGE = (
    ValueError, KeyError, TypeError, AttributeError, EOFError, RuntimeError, struct.error,
    zipfile.BadZipFile,
)  # fmt: skip


@dataclass(frozen=True)
class Trace:
    """One run of a network.

    x: its input (1, C, H, W). outputs: by layer, (1, C, H, W), or a vector of `summary` values
    if samples is not 0. hashes: of the stored tensors, by layer and name. versions: of the programs
    that computed it, by name.
    """

    network: Network
    x: np.ndarray
    outputs: Mapping[int, np.ndarray]
    hashes: Mapping[int, Mapping[str, str]]
    samples: int
    versions: Mapping[str, str]


def summary(output: np.ndarray, samples: int) -> np.ndarray:
    """Return `samples` values of an output, then minimum, maximum, mean and standard deviation."""
    values = output.ravel()
    at = np.arange(min(samples, values.size), dtype=np.uint64) * _SPREAD % values.size
    return np.array(
        [*values[at], values.min(), values.max(), values.mean(), values.std()], np.float32
    )


def tensor_hash(array: np.ndarray) -> str:
    """Return a hash of an array's values."""
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()[:16]


def record(model: Model, x: np.ndarray, *, samples: int = 0, layers: str | None = None) -> Trace:
    """Run a model in inference and return its trace.

    samples: number of values to keep of each layer, in addition to its statistics; 0 for all.
    layers: the layers to keep, such as 0,4-8,outputs; all by default. Raises `OptionError` for a
    negative number, and for layers that do not exist.
    """
    if samples < 0:
        raise OptionError(f"--samples {samples}", hint="use 1 or more, or 0 for all values")
    kept = layer_indices(model, layers)
    image = torch.from_numpy(x).to(model.device)
    outputs = model.trace(image)
    arrays = {index: outputs[index].float().cpu().numpy() for index in kept}
    versions = {
        "ghostyolo": ghostyolo.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "device": str(image.device),
    }
    if samples:
        arrays = {index: summary(array, samples) for index, array in arrays.items()}
    return Trace(model.network, x, arrays, hashes(model), samples, versions)


def layer_indices(model: Model, text: str | None) -> list[int]:
    """Return the indices in a list such as 0,4-8,outputs; all if there is no list.

    Raises `OptionError` for another text, and for layers that do not exist.
    """
    last = len(model.network) - 1
    found = set[int]()
    for part in f"0-{last}".split(",") if text is None else text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        indices = range(int(match[1]), int(match[2] or match[1]) + 1) if match else []
        named = set(model.output_indices if part == "outputs" else indices)
        if not named or max(named) > last:
            hint = f"write indices and ranges of 0 to {last}, such as 0,2-3,outputs"
            raise OptionError(f"--layers {text}: '{part}'", hint=hint)
        found |= named
    return sorted(found)


def hashes(model: Model) -> dict[int, dict[str, str]]:
    """Return by layer and name the hash of every stored tensor."""
    return {
        node.index: {
            name: tensor_hash(tensors[name].detach().float().cpu().numpy()) for name, _ in held
        }
        for node, tensors in zip(model.network, model.tensors(), strict=True)
        if (held := stored(model.network, node))
    }


def write(path: str | Path, trace: Trace) -> None:
    """Write a trace. Raises `OptionError` if the file cannot be written."""
    text = dumps(trace.network)
    meta = {
        "ghostyolo_trace": FORMAT,
        "made": dict(trace.versions),
        "samples": trace.samples,
        "cfg": text,
        "cfg_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "layers": [
            {
                "kind": node.layer.kind,
                "shape": list(node.shape),
                "tensors": dict(trace.hashes.get(node.index, {})),
            }
            for node in trace.network
        ],
    }
    arrays = {f"layer_{index}": array for index, array in trace.outputs.items()}
    words = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    with writing(path) as file:
        np.savez(file, meta=words, input=trace.x, **arrays)  # type: ignore[arg-type]


def read(path: str | Path) -> Trace:
    """Read a trace. Raises `DataError` for a damaged file, or one that is no trace.

    Nothing is unpickled or decompressed, and no more memory is allocated than the file's size.
    """
    span = Span(str(path))
    try:
        with opened(path) as file, zipfile.ZipFile(file) as archive:
            return _read(archive, os.path.getsize(path))
    except OSError as error:
        hint = "give a file that 'ghostyolo trace' wrote"
        raise DataError(f"cannot read: {error.strerror}", span=span, hint=hint) from None
    except (*_DAMAGE, CfgError) as error:
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
    versions = {str(name): str(value) for name, value in dict(meta["made"]).items()}
    return Trace(network, x, outputs, held, samples, versions)


def _array(archive: zipfile.ZipFile, name: str, kind: str) -> np.ndarray:
    """Return one member; its header must state its actual type and size."""
    stream = io.BytesIO(archive.read(f"{name}.npy"))
    version: Any = np.lib.format.read_magic(stream)
    if version != (1, 0):
        raise ValueError(f"{name} is of npy format {version}")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    rest = stream.getbuffer()[stream.tell() :]
    if by_columns or dtype != np.dtype(kind) or min(shape, default=1) < 1:
        raise ValueError(f"{name} is {dtype} {shape}")
    return np.frombuffer(rest, kind).reshape(shape)

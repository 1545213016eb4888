"""Exported files in every program at hand, against the model: how far each output departs."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ghostyolo.errors import CfgError, Findings
from ghostyolo.exporters import export, onnx
from ghostyolo.exporters.formats import FORMATS, format_of
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.inference.verification import expected_outputs
from ghostyolo.model import weights
from ghostyolo.model.model import Model
from ghostyolo.network import Network, load, passes, weights_file
from ghostyolo.network.metadata import Metadata
from ghostyolo.runtime.interface import open_file
from support import goldens

SIZES = ((64, 96), (128, 128), (256, 256))  # tried in this order
Outputs = dict[str, np.ndarray]


def small(cfg: Path) -> Network:
    """Load a cfg as Darknet reads it, at the smallest of a few sizes that it can have."""
    network = load(cfg, findings=Findings(quiet=True, compat=True))
    for size in SIZES:
        try:
            found = passes.resize(network, size)
        except CfgError:
            continue
        fixed = [(network, node) for node in network], [(found, node) for node in found]
        before, after = ([weights_file.stored(*item) for item in items] for items in fixed)
        if before == after:
            return found
    return network


def model(network: Network) -> Model:
    """Return a network with the recipe's weights."""
    built = Model(network)
    items = [(node, *item) for node in network for item in weights_file.stored(network, node)]
    weights.File(weights_file.Header(), items, goldens.floats(network)).fill(built.tensors())
    return built.eval()


def opencv_outputs(path: Path, names: list[str], images: np.ndarray) -> Outputs:
    """Return the outputs of an ONNX file in the OpenCV that is imported."""
    net: Any = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(images)
    return dict(zip(names, net.forward(names), strict=True))


def other_opencv(folder: Path, path: Path, names: list[str], images: np.ndarray) -> Outputs:
    """Return the outputs of an ONNX file in the OpenCV of a folder, by a process of its own."""
    given, found = path.with_suffix(".in.npz"), path.with_suffix(".out.npz")
    np.savez(given, images=images)
    script = (
        "import sys, numpy, cv2\n"
        "path, given, found, *names = sys.argv[1:]\n"
        "net = cv2.dnn.readNetFromONNX(path)\n"
        "net.setInput(numpy.load(given)['images'])\n"
        "numpy.savez(found, *net.forward(names))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), str(given), str(found), *names],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error:" in line]
        raise RuntimeError((lines or done.stderr.splitlines() or ["it died"])[-1])
    with np.load(found) as stored:
        return {name: stored[f"arr_{place}"] for place, name in enumerate(names)}


def outputs(
    built: Model, settings: ExportSettings, folder: Path, opencv: Path | None = None
) -> Iterator[tuple[str, Outputs | Exception, Outputs]]:
    """Yield program, what it gives for a random picture or why not, and what the model gives.

    opencv: the folder of another OpenCV, a program more.
    """
    options = built.network.options
    images = np.random.default_rng(0).random((settings.batch, *options.shape), np.float32)
    want = expected_outputs(built, settings, images)
    names, file = list(want), folder / "x.onnx"
    proto = onnx.build(built, settings).SerializeToString()
    file.write_bytes(proto)
    runs: dict[str, Callable[[], Outputs]] = {
        "onnxruntime": lambda: run(file, images),
        "opencv": lambda: opencv_outputs(file, names, images),
    }
    if opencv:
        runs["opencv, the other"] = lambda: other_opencv(opencv, file, names, images)
    if importlib.util.find_spec("openvino"):
        metadata = settings.metadata(built.network)
        runs["openvino"] = lambda: _in_openvino(proto, metadata, file, images)
    runs["torchscript"] = lambda: _in_torch(built, settings, folder / "x.pt", images)
    for program, compute in runs.items():
        try:
            yield program, compute(), want
        except Exception as error:  # a line of the tally, whatever it is
            yield program, error, want


def run(path: Path, images: np.ndarray) -> Outputs:
    """Return the outputs by name of an exported file in the program of its format."""
    program = FORMATS[format_of(path)].runtime
    size, batch = images.shape[2:], len(images)
    with open_file(path, program, size, batch, 1, "cpu") as runtime:
        return dict(zip(runtime.metadata.output_names, runtime.run(images), strict=True))


def _in_openvino(proto: bytes, metadata: Metadata, file: Path, images: np.ndarray) -> Outputs:
    module, path = export.import_writer("openvino", "openvino"), file.with_suffix(".xml")
    module.save(module.from_onnx(proto, metadata), path)
    return run(path, images)


def _in_torch(built: Model, settings: ExportSettings, path: Path, images: np.ndarray) -> Outputs:
    export.write(built, path, settings, "torchscript")
    return run(path, images)


def share(got: Outputs, want: Outputs) -> float:
    """Return the largest difference of any output as a share of its largest magnitude."""
    shares = [
        float(np.abs(got[name].reshape(value.shape) - value).max() / np.abs(value).max())
        if got[name].size == value.size
        else np.inf
        for name, value in want.items()
    ]
    return max(shares)

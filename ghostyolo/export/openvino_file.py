"""OpenVINO IR: an .xml with the graph and a .bin with the weights, made from the ONNX form."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino.passes import ConstantFolding, Manager

from ghostyolo.errors import DataError, Span
from ghostyolo.export import onnx_file
from ghostyolo.export.form import Form
from ghostyolo.files import replace
from ghostyolo.metadata import Metadata
from ghostyolo.model import Model

SECTION = "ghostyolo"  # of rt_info


def write(model: Model, path: Path, form: Form) -> None:
    """Write a model as IR, in float32. Raises `OptionError` when it cannot be written."""
    save(build(model, form), path)


def build(model: Model, form: Form, *, joined: bool = False) -> Any:
    """Return the model as OpenVINO holds it, with metadata in `rt_info`."""
    proto = onnx_file.build(model, form, joined=joined)
    return of(proto.SerializeToString(), form.metadata(model.network))


def of(proto: bytes, metadata: Metadata) -> Any:
    """Return an ONNX file's model as OpenVINO holds it, with all that is constant computed.

    As it is read, every bias and depthwise weight hangs on ten operators that work out its shape.
    """
    built = openvino.Core().read_model(proto)
    folding = Manager()
    folding.register_pass(ConstantFolding())
    folding.run_passes(built)
    describe(built, metadata)
    return built


def describe(built: Any, metadata: Metadata) -> None:
    """Put the metadata into `rt_info`."""
    for key, value in metadata.properties().items():
        built.set_rt_info(value, [SECTION, key])


def save(built: Any, path: Path) -> None:
    """Write both files, the one with the weights first."""
    with tempfile.TemporaryDirectory() as folder:
        beside = Path(folder, path.name)
        openvino.save_model(built, beside, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            replace(path.with_suffix(suffix), [beside.with_suffix(suffix).read_bytes()])


def run(path: Path, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the outputs of a file on the CPU, in float32. Raises `DataError` if it is refused."""
    try:
        compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = compiled(images)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        hint = "export it again"
        raise DataError(f"OpenVINO: {reason}", span=Span(str(path)), hint=hint) from None
    # an output bears the names of all operators that hand it on
    return {name: np.array(value) for out, value in found.items() for name in out.get_names()}


def properties(path: Path) -> dict[str, str]:
    """Return the metadata of a file."""
    info = openvino.Core().read_model(path).get_rt_info()
    return {key: value.astype(str) for key, value in info[SECTION].items()}

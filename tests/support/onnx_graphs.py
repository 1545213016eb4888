"""Small networks as ONNX graphs, and whether two graphs compute the same."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnxruntime
from onnx import ModelProto

from ghostyolo.exporters import onnx
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.model.model import Model

CLOSE = 1e-6  # of the largest magnitude: what another order of sums leaves, in one layer


def conv(filters: int, size: int = 1, *more: str) -> str:
    lines = (f"filters={filters}", f"size={size}", "pad=1", "activation=relu", *more)
    return "\n".join(("[convolutional]", *lines, "\n"))


def section(kind: str, *lines: str) -> str:
    return "\n".join((f"[{kind}]", *lines, "\n"))


NET = section("net", "width=16", "height=24", "channels=3")


def outputs(proto: ModelProto, images: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    return session.run(None, {onnx.INPUT: images})


def kinds(proto: ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)


def both(model: Model, settings: ExportSettings) -> tuple[ModelProto, ModelProto]:
    """Return the file as it would be with all concatenations, and as it is."""
    return onnx.build(model, settings, joined=True), onnx.build(model, settings)


def assert_same(
    before: ModelProto, after: ModelProto, images: np.ndarray, close: float = CLOSE
) -> None:
    for want, got in zip(outputs(before, images), outputs(after, images), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=close * np.abs(want).max())
    assert [out.name for out in before.graph.output] == [out.name for out in after.graph.output]

"""One interface over the programs that compute a network: torch, onnxruntime, OpenVINO, OpenCV.

    with open_runtime("ghostnet.onnx") as runtime:
        detections = runtime.detector(thresh=0.4)([image])

Nothing is imported that the chosen program does not need; an exported file is computed without
torch by the three others.
"""

from __future__ import annotations

from ghostyolo.runtime.choice import ORDER, open_runtime, runtimes
from ghostyolo.runtime.opened import Runtime

__all__ = ["ORDER", "Runtime", "open_runtime", "runtimes"]

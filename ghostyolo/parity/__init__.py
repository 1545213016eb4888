"""Compare two runs of one network layer by layer: the first layer that differs, and why."""

from ghostyolo.parity.compare import TOLERANCE, LayerParity, Parity, compare, compare_with
from ghostyolo.parity.opencv_darknet import of_opencv
from ghostyolo.parity.peers import Peer, of_onnx, of_trace
from ghostyolo.parity.trace import Trace, record
from ghostyolo.parity.trace import read as read_trace
from ghostyolo.parity.trace import write as write_trace

__all__ = [
    "TOLERANCE", "LayerParity", "Parity", "Peer", "Trace", "compare", "compare_with", "of_onnx",
    "of_opencv", "of_trace", "read_trace", "record", "write_trace",
]  # fmt: skip

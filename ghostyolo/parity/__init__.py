"""Two runs of one network compared, layer by layer: where they depart first, and why."""

from __future__ import annotations

from ghostyolo.parity.compare import TOLERANCE, Parity, Row, compare
from ghostyolo.parity.peers import Side, of_onnx, of_opencv, of_trace
from ghostyolo.parity.trace import Trace, condensed, record
from ghostyolo.parity.trace import read as read_trace
from ghostyolo.parity.trace import write as write_trace

__all__ = [
    "TOLERANCE", "Parity", "Row", "Side", "Trace", "compare", "condensed", "of_onnx", "of_opencv",
    "of_trace", "read_trace", "record", "write_trace",
]  # fmt: skip

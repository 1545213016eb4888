"""Move weights between Darknet's files, ours, and the state dicts of other people."""

from ghostyolo.convert.conversion import Conversion, convert, load, load_backbone, save
from ghostyolo.convert.tensor_pairs import OWN

__all__ = ["OWN", "Conversion", "convert", "load", "load_backbone", "save"]

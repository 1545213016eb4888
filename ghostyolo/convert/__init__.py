"""Convert weights between Darknet's files, ghostyolo's, and the state dicts of other projects."""

from ghostyolo.convert.conversion import Conversion, convert, load, load_backbone, save
from ghostyolo.convert.tensor_pairs import OWN

__all__ = ["OWN", "Conversion", "convert", "load", "load_backbone", "save"]

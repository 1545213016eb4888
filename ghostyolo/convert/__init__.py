"""Move weights between Darknet's files, ours, and the state dicts of other people."""

from ghostyolo.convert.checkpoint import Report, load, save, start
from ghostyolo.convert.pairs import OWN

__all__ = ["OWN", "Report", "load", "save", "start"]

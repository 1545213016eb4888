"""How fast a network runs here in each installed runtime, against what the machine could do."""

from ghostyolo.bench.benchmark import Layer, Report, Row, Settings, measure

__all__ = ["Layer", "Report", "Row", "Settings", "measure"]

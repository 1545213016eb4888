"""How fast a network runs here in each installed runtime, against what the machine could do."""

from ghostyolo.bench.benchmark import LayerResult, Report, RuntimeResult, Settings, measure

__all__ = ["LayerResult", "Report", "RuntimeResult", "Settings", "measure"]

"""ghostyolo gencfg: write the cfg of a network, as python -m ghostyolo.gencfg does."""

from ghostyolo.gencfg import EXAMPLES, options, run

__all__ = ["EXAMPLES", "options", "run"]

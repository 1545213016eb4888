"""The names of a network's classes, found beside its weights."""

from __future__ import annotations

from pathlib import Path

from ghostyolo.data.sample import read_names
from ghostyolo.network import Network
from ghostyolo.network.outputs import class_counts


def names_beside(network: Network, weights: str | Path) -> tuple[str, ...]:
    """Return the names in the one .names file of the folder that fits the network, else none."""
    classes = {count for _, count in class_counts(network)}
    files = [read_names(path) for path in sorted(Path(weights).parent.glob("*.names"))]
    fitting = [names for names in files if {len(names)} == classes]
    return fitting[0] if len(fitting) == 1 else ()

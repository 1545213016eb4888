"""A network as a graph of layers: nodes with shapes, read from cfg text and written as such."""

from ghostyolo.network.graph import IMAGE, Network, Node, dumps, loads
from ghostyolo.network.model_files import load

__all__ = ["IMAGE", "Network", "Node", "dumps", "load", "loads"]

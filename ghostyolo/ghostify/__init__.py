"""Ghostify: a network whose convolutions are replaced by ghost modules.

A ghost module makes n maps as m by convolution and n - m by cheap d x d filters, each on one of
the m. Source: Han et al., GhostNet: More Features from Cheap Operations, CVPR 2020, section 3.
"""

from ghostyolo.ghostify.options import GhostOptions
from ghostyolo.ghostify.rewrite import Ghostified, GhostModule, ghostify

__all__ = ["GhostModule", "GhostOptions", "Ghostified", "ghostify"]

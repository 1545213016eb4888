"""Ghostify: replace convolutions of a network by ghost modules.

A ghost module makes m of its n maps by convolution, and the other n - m by cheap d x d filters that
each read one of the m. Source: Han et al., GhostNet: More Features from Cheap Operations, CVPR
2020, section 3.
"""

from ghostyolo.ghostify.options import GhostOptions
from ghostyolo.ghostify.rewrite import Ghostified, GhostModule, ghostify

__all__ = ["GhostModule", "GhostOptions", "Ghostified", "ghostify"]

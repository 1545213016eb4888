"""Ghostify: a network whose convolutions are replaced by ghost modules.

A ghost module makes n maps as m by convolution and n - m by cheap d x d filters, each on one of
the m. Source: Han et al., GhostNet: More Features from Cheap Operations, CVPR 2020, section 3.
"""

from ghostyolo.ghostify.choice import Wish
from ghostyolo.ghostify.rewrite import Ghost, Ghostified, ghostify

__all__ = ["Ghost", "Ghostified", "Wish", "ghostify"]

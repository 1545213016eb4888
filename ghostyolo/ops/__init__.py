"""Torch modules of the layers that torch does not have, as Darknet computes them.

They do not depend on cfgs. All feature maps are float tensors of shape (N, C, H, W).
"""

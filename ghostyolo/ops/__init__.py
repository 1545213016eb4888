"""Torch modules that layers need and torch lacks, as Darknet computes them; knows no cfg.

Maps are (N, C, H, W) float tensors throughout.
"""

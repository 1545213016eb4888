"""A network in torch, its weights files, and the detector or classifier on top of it.

`weights`, `detector` and `classifier` load no torch.
"""

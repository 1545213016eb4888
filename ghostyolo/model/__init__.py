"""A network as a torch module, its weights files, and the detector or classifier that uses it.

`weights`, `detector` and `classifier` load no torch.
"""

"""The text of a cfg: lines become sections, values become typed keys.

It knows lines, not layers.
"""

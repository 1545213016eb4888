"""Modules that need no other form in inference, nor in a file for another runtime."""

from __future__ import annotations

from torch import nn


class Plain(nn.Module):
    """A module without statistics to fold, made of operators that every runtime has."""

    def folded(self) -> nn.Module:
        """Return the module that stands for this one in inference: itself."""
        return self

"""The base of modules that are exported as they are."""

from __future__ import annotations

from torch import nn


class Plain(nn.Module):
    """A module without batch norm to fold, whose operators every runtime has."""

    def folded(self) -> nn.Module:
        """Return the module to be used in inference: this one."""
        return self

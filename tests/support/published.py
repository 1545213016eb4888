"""Where files of others lie: published cfgs and their goldens, data sets, checkpoints.

None of them is part of this repository. Each is a folder beside the clone, `../shared/NAME`, or
the one that an environment variable names. A test that needs a file that is not there is skipped.

    darknet      GHOSTYOLO_PUBLISHED_CFGS   cfg/*.cfg, weights/*, oracle/FAMILY/*: more goldens
    data         GHOSTYOLO_DATA             images/*.jpg, bccd/
    checkpoints  GHOSTYOLO_CHECKPOINTS      *.json: the goldens of PyTorch models
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from support import ROOT


class Folder(NamedTuple):
    """A folder beside the clone, and the environment variable that names another."""

    name: str
    variable: str

    @property
    def path(self) -> Path:
        given = os.environ.get(self.variable)
        return Path(given).resolve() if given else ROOT.parent / "shared" / self.name

    def get(self, name: str) -> Path:
        """Return a file or folder in it; skip the test that asks if there is none."""
        if not (self.path / name).exists():
            pytest.skip(self.lacks(name))
        return self.path / name

    def all(self, pattern: str) -> list[Path]:
        """Return the files that a pattern matches, sorted; skip if there is none."""
        return self.glob(pattern) or pytest.skip(self.lacks(pattern))

    def glob(self, pattern: str) -> list[Path]:
        """Return the files that a pattern matches, sorted; none without the folder."""
        return sorted(self.path.glob(pattern))

    def lacks(self, name: str) -> str:
        """Return why a test is skipped, and what to do."""
        return f"no {self.path / name}; name the folder that holds {name} in {self.variable}"


CFGS = Folder("darknet", "GHOSTYOLO_PUBLISHED_CFGS")
DATA = Folder("data", "GHOSTYOLO_DATA")
CHECKPOINTS = Folder("checkpoints", "GHOSTYOLO_CHECKPOINTS")

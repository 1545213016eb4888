"""A fixture for tests of whole jobs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """Set the number of torch's threads back, which the runtime torch sets."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)

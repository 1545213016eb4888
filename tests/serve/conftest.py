"""A server for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Serve a tiny network; see `support.serving.Site`."""
    from support.serving import tiny_site  # which needs the libraries of the server

    with tiny_site(tmp_path_factory.mktemp("site")) as served:
        yield served

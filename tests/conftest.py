"""Fixtures for every test: commands, and caches that are not the user's."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator

os.environ["OMP_NUM_THREADS"] = "1"  # before torch loads: bits depend on it, and tests share cores

import pytest

from ghostyolo import cli


@pytest.fixture
def invoke(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs a command and returns its exit code, output and errors.

    pytest takes the place of the handler that `cli.main` would set up for warnings.
    """

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        handler = logging.StreamHandler(sys.stderr)
        handler.setLevel(logging.WARNING)
        handler.setFormatter(cli.LogFormatter(cli.LOG_FORMAT))
        logging.getLogger().addHandler(handler)
        try:
            code = cli.main([str(word) for word in words])
        finally:
            logging.getLogger().removeHandler(handler)
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope="session", autouse=True)
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what the tests cache out of the user's caches."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield

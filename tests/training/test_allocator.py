"""Memory that a process keeps."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from ghostyolo.training import allocator

BLOCKS, MEGABYTES = 10, 48  # a block over 32 MB always goes back unless malloc is told otherwise
SETTERS = "MALLOC_", "GLIBC_TUNABLES"
PROBE = f"""
import resource, torch
from ghostyolo.training import allocator
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
if {{keep}}:
    print(allocator.keep_freed())
for _ in range({BLOCKS}):  # until malloc's small leftovers lie where they stay
    torch.ones({MEGABYTES} << 18)
before = faults()
for _ in range({BLOCKS}):
    torch.ones({MEGABYTES} << 18)
print(faults() - before)
"""


def probe(keep: bool) -> list[str]:
    """Return what a process of its own prints, whose malloc nothing else sets."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(SETTERS)}
    command = [sys.executable, "-c", PROBE.format(keep=keep)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=others)
    return done.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told")
def test_freed_memory_is_kept_in_the_process() -> None:
    kept, faults = probe(keep=True)
    (given_back,) = probe(keep=False)
    assert kept == "True"
    assert int(faults) * 10 < int(given_back)


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_malloc_settings_of_the_environment_are_respected(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    assert not allocator.keep_freed()

"""What users are told when memory runs out: what was asked for, what is free, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ghostyolo.errors import GhostyoloError, OptionError, in_bytes

try:
    import resource
except ImportError:  # on Windows
    resource = None  # type: ignore[assignment]

HINT = "give a smaller --batch or --size (batch= and size= in Python), or free some memory"
# What numpy, torch, oneDNN, CUDA, OpenCV, onnxruntime and OpenVINO say, and how many bytes they
# asked for.
RAN_OUT = re.compile(
    "(out of|not enough|insufficient) memory|bad_?alloc|(t|cannot|unable to|failed to) allocate"
    "|could not create a primitive",
    re.IGNORECASE,
)
ASKED = re.compile(r"allocate (?:memory for requested buffer of size )?([\d.]+) ?([KMGT]i?B)?")
FREE_ON_GPU = re.compile(r"of which ([\d.]+) ([KMGT]i?B) is free")
POWERS = {"K": 10, "M": 20, "G": 30, "T": 40}  # of 2
CGROUP = Path("/sys/fs/cgroup")


@contextmanager
def told(**asked: Any) -> Iterator[None]:
    """Raise `OptionError` if memory runs out. asked: the values, by name, that determine its need.

    Those that are None are not told.
    """
    try:
        yield
    except GhostyoloError:
        raise
    except Exception as error:
        if lack := lack_of_memory(error, **asked):
            raise lack from error
        raise


def lack_of_memory(error: Exception, **asked: Any) -> OptionError | None:
    """Return what to tell of an error if it is a lack of memory, else None. asked: see `told`."""
    text = str(error)
    if not isinstance(error, MemoryError) and not RAN_OUT.search(text):
        return None
    on_gpu, more = FREE_ON_GPU.search(text), ASKED.search(text)
    message = f"memory ran out{_with(asked)}"
    if more:
        message += f": {in_bytes(_bytes(more))} more were asked for"
    room = _bytes(on_gpu) if on_gpu else free()
    if room is not None:
        message += f", {in_bytes(room)} are free"
    return OptionError(message, hint=HINT)


def check(need: int, **asked: Any) -> None:
    """Raise `OptionError` if more bytes of main memory are needed than are free."""
    room = free()
    if room is not None and need > room:
        message = f"memory is too small{_with(asked)}: at least {in_bytes(need)} are needed"
        raise OptionError(f"{message}, {in_bytes(room)} are free", hint=HINT)


def free() -> int | None:
    """Return the bytes of main memory that this process can still take, None if not known."""
    found = []
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvail")]
        found[-1] += sum(1024 * int(line.split()[1]) for line in lines if line[:9] == "SwapFree:")
    with suppress(OSError, ValueError):  # no limit is the word max
        limit, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        found.append(limit - used)
    with suppress(OSError, ValueError, AttributeError):
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            found.append(limit - pages * resource.getpagesize())
    return max(0, min(found)) if found else None


def _with(asked: dict[str, Any]) -> str:
    given = {name: value for name, value in asked.items() if value is not None}
    sizes = {name: "x".join(map(str, v[::-1])) for name, v in given.items() if isinstance(v, tuple)}
    words = [f"{name}={value}" for name, value in {**given, **sizes}.items()]
    return f" with {', '.join(words)}" if words else ""


def _bytes(found: re.Match[str]) -> int:
    return int(float(found[1]) * 2 ** POWERS.get((found[2] or " ")[0], 0))

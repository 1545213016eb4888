"""Mutations of bytes and of lines, and what a reader may do with what they make."""

from __future__ import annotations

import math
import random
import resource
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from ghostyolo.errors import GhostyoloError

SECONDS = 10  # the most time of the processor for one input
RIGHT = ("read", "refused")
GROWTH = 512 << 20  # bytes by which the process may grow for a small file
NUMBERS = (
    "0", "-1", "-0", "1", "3", "255", "65536", "2147483647", "2147483648", "-2147483649",
    "99999999999999999999", "9" * 5000, "1e9", "1e308", "1e999", "-1e999", "nan", "inf", "-inf",
    "0x10", "1_000", "\u0663", "\uff11", ".5", "-.5", "+", "-", "1,2,3", ",", ",,,,", "-1,-2", "",
)  # fmt: skip
ODD_BYTES = (
    b"\x00", b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"=", b"[", b"]", b"#", b";", b"\r", b"\n",
)  # fmt: skip
Mutation = Callable[[random.Random, bytes], bytes]


def flip(rng: random.Random, data: bytes) -> bytes:
    """Change some bytes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        out[rng.randrange(len(out))] = rng.randrange(256)
    return bytes(out)


def splice(rng: random.Random, data: bytes) -> bytes:
    """Insert unusual bytes."""
    place = rng.randrange(len(data))
    return data[:place] + rng.choice(ODD_BYTES) * rng.choice((1, 1, 3)) + data[place:]


def drop(rng: random.Random, data: bytes) -> bytes:
    """Delete some lines, or all after one."""
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    if rng.random() < 0.1:
        return b"\n".join(lines[:place])[: rng.randrange(1, max(2, len(data)))]
    del lines[place : place + rng.choice((1, 1, 1, 2, 10))]
    return b"\n".join(lines)


def repeat(rng: random.Random, data: bytes) -> bytes:
    """Repeat a line."""
    lines = data.split(b"\n")
    place = rng.randrange(len(lines))
    lines[place:place] = [lines[place]] * rng.choice((1, 2, 300))
    return b"\n".join(lines)


def problem(
    call: Callable[[], None], refusal: type[GhostyoloError], growth: float = math.inf
) -> str:
    """Return the result of a call: "read" and "refused" are right, everything else is a bug.

    growth: bytes by which the process may grow.
    """
    start, before = time.process_time(), peak()
    result = _result(call, refusal)
    seconds, grown = time.process_time() - start, peak() - before
    if grown > growth:
        return f"took {grown >> 20} MB"
    return f"took {seconds:.1f} s" if result in RIGHT and seconds >= SECONDS else result


def _result(call: Callable[[], None], refusal: type[GhostyoloError]) -> str:
    try:
        call()
    except refusal as error:
        return "refused" if error.diagnostic.span else f"refused without a line: {error}"
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        name = Path(last.filename).name
        return f"{type(error).__name__} in {name}:{last.lineno}: {ascii(str(error))[:120]}"
    return "read"


def add(results: Counter[str], result: str, file: Path, data: bytes) -> None:
    """Count a result; write the input of the first one that is this bug to a file."""
    results[result] += 1
    if result not in RIGHT and results[result] == 1:
        file.write_bytes(data)


def peak() -> int:
    """Return the most bytes that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

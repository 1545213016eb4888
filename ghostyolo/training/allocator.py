"""How this process's memory is had from the system, and given back."""

from __future__ import annotations

import ctypes
import os
import platform

# Source: glibc's malloc.h and the mallopt(3) manual page.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER = 2**31 - 1  # bytes free at the end of the heap that are too many


def keep_freed() -> bool:
    """Keep memory that is freed for what is allocated next; return whether that can be asked for.

    A training step allocates and frees the same hundreds of megabytes each time. glibc gives blocks
    of that size back at once, and the system clears each page when it hands it out again: a third
    of the time of a step. Kept, a tenth more memory is held at the peak. Other C libraries are left
    as they are, and so are environments that set glibc's malloc themselves.
    """
    told = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    if told or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))

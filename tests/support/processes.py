"""Several processes of a command as torchrun starts them, but forked: nothing is imported again.

The process that forks must have no threads.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from ghostyolo import cli

# What the commands import; else each process would import it.
IMPORTED = (
    "torch._dynamo",
    "ghostyolo.inference.choice",
    "ghostyolo.jobs.val",
    "ghostyolo.prediction.job",
    "ghostyolo.runtime.pytorch",
    "ghostyolo.training.run",
)
SECONDS = 60.0  # after which processes that have not ended hang


def start(words: Sequence[object], count: int, said: Path) -> list[int]:
    """Start the processes and return their numbers, by rank.

    A rank writes to the files `said`.0.out and .err, `said`.1.out ...
    """
    for name in IMPORTED:
        importlib.import_module(name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count)}
    children = []
    for rank in range(count):
        if child := os.fork():
            children.append(child)
            continue
        if count > 1:
            os.environ.update(place, RANK=str(rank), LOCAL_RANK=str(rank))
        for stream, ending in ((1, "out"), (2, "err")):
            path = f"{said}.{rank}.{ending}"
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        os._exit(cli.main([*map(str, words)]))
    return children


def codes(children: Sequence[int]) -> list[int]:
    """Wait for processes and return their exit codes, minus the signal of killed ones.

    Raises `TimeoutError`, after killing them, when some do not end.
    """
    found: dict[int, int] = {}
    end = time.monotonic() + SECONDS
    while len(found) < len(children):
        for child in set(children) - found.keys():
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                found[child] = os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            for child in set(children) - found.keys():
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
            raise TimeoutError(f"{len(children) - len(found)} processes did not end")
        time.sleep(0.01)
    return [found[child] for child in children]

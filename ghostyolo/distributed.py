"""Several processes that train one detector: who they are, and what they tell each other.

Every process holds the whole network and sees its share of each batch. Gradients are sums, so the
sum over the processes, divided by the sum of what their losses counted, is the gradient of the
whole batch; it is added up here in one message rather than by `DistributedDataParallel`, whose mean
over processes would have to be undone. `torchrun` starts the processes and ends all when one fails.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed

from ghostyolo.errors import GhostyoloError, OptionError

LOST = "another process of this run has gone"


class PeerError(GhostyoloError):
    """Another process does not answer any more."""


@dataclass(frozen=True)
class World:
    """The processes of a run. rank: this one's number, from 0; the first writes and speaks."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Return whether this process writes the files."""
        return self.rank == 0

    def total(self, tensors: Sequence[Tensor]) -> None:
        """Put into tensors their sums over all processes, in one message. Raises `PeerError`."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _answered():
            distributed.all_reduce(flat)
        pieces = flat.split([tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.copy_(piece.view(tensor.shape))

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Put into tensors their means over all processes. Raises `PeerError`."""
        if self.size > 1 and tensors:
            self.total(tensors)
            torch._foreach_div_(list(tensors), self.size)

    def gather(self, value: Any) -> list[Any]:
        """Return every process's value, by rank, in all of them. Raises `PeerError`."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _answered():
            distributed.all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait until every process has come here. Raises `PeerError`."""
        self.gather(None)

    def any(self, flag: bool) -> bool:
        """Return whether a flag is up in some process. Raises `PeerError`."""
        if self.size == 1:
            return flag
        up = torch.tensor(
            float(flag), device="cuda" if distributed.get_backend() == "nccl" else "cpu"
        )
        self.total([up])
        return bool(up.item())


@contextmanager
def joined(device: str, environment: Mapping[str, str] = os.environ) -> Iterator[World]:
    """Join the processes that torchrun started, if it did, and leave them in the end.

    device: where this process computes, see `own_device`. Raises `OptionError`, `PeerError`.
    """
    size = _number(environment, "WORLD_SIZE", 1)
    if size == 1:
        yield World()
        return
    own = torch.device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    with _answered():
        distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
    yield World(distributed.get_rank(), size)
    # Only after success: in a failed run the others may wait for what never comes.
    distributed.destroy_process_group()


def own_device(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the device of this process: of several on a machine, each has a GPU of its own.

    Raises `OptionError` where there are more processes than GPUs.
    """
    if _number(environment, "WORLD_SIZE", 1) == 1 or device != "cuda":
        return device
    local, there = _number(environment, "LOCAL_RANK", 0), torch.cuda.device_count()
    if local >= there:
        message, hint = f"process {local + 1} of {there} GPUs", f"start {there} on this machine"
        raise OptionError(message, hint=f"{hint} with --nproc-per-node {there}")
    return f"cuda:{local}"


@contextmanager
def _answered() -> Iterator[None]:
    """Turn what torch raises when a process has died into a line for people."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # gloo, NCCL and the store have classes below this
        raise PeerError(LOST, hint="look for its error above, then --resume") from error


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        message = f"the variable {name} is '{text}', not a number"
        raise OptionError(message, hint="start the processes with torchrun")
    return int(text)

"""The processes of one run, their ranks, and the device that each computes on.

Every process holds the whole network and computes on its part of each batch. Gradients are sums, so
the sum over all ranks, divided by the sum of what their losses counted, is the gradient of the
whole batch. It is added up in one all-reduce rather than by `DistributedDataParallel`, whose mean
over the ranks would have to be undone. `torchrun` starts the processes and ends all when one fails.

A single process needs no torch for this, so torch is imported only where several are at work.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ghostyolo.errors import GhostyoloError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

AUTO = "auto"  # the device: an accelerator where torch finds one, else the CPU
LOST = "another process of this run has gone"


class PeerError(GhostyoloError):
    """Another process of the run does not answer."""


@dataclass(frozen=True)
class World:
    """The processes of a run, as one of them sees them.

    rank: the number of this process, 0 to size - 1; rank 0 writes files and prints. size: the world
    size. device: what this process computes on, as `ghostyolo.distributed.pick_device` takes it.
    """

    rank: int = 0
    size: int = 1
    device: str = AUTO

    @property
    def first(self) -> bool:
        """Return whether this process has rank 0, which writes the files."""
        return self.rank == 0

    def total(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all ranks, in one message. Raises `PeerError`."""
        if self.size == 1 or not tensors:
            return
        torch, distributed = _torch()
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with _answered():
            distributed.all_reduce(flat)
        pieces = flat.split([tensor.numel() for tensor in tensors])
        for tensor, piece in zip(tensors, pieces, strict=True):
            tensor.copy_(piece.view(tensor.shape))

    def mean(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their means over all ranks. Raises `PeerError`."""
        if self.size > 1 and tensors:
            self.total(tensors)
            _torch()[0]._foreach_div_(list(tensors), self.size)

    def gather(self, value: Any) -> list[Any]:
        """Return the value of every rank, in order, on all of them. Raises `PeerError`."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _answered():
            _torch()[1].all_gather_object(values, value)
        return values

    def wait(self) -> None:
        """Wait until every rank has called this. Raises `PeerError`."""
        self.gather(None)

    def any(self, flag: bool) -> bool:
        """Return whether a flag is true on any rank. Raises `PeerError`."""
        if self.size == 1:
            return flag
        torch, distributed = _torch()
        up = torch.tensor(
            float(flag), device="cuda" if distributed.get_backend() == "nccl" else "cpu"
        )
        self.total([up])
        return bool(up.item())


ALONE = World()  # a run of one process


@contextmanager
def joined(device: str = AUTO, environment: Mapping[str, str] = os.environ) -> Iterator[World]:
    """Join the processes that torchrun started, if it did, and leave them in the end.

    device: as `pick_device` takes it; each of several processes gets one of its own, see
    `own_device`. Raises `OptionError`, `PeerError`.
    """
    if _number(environment, "WORLD_SIZE", 1) == 1:
        yield World(device=device)
        return
    torch, distributed = _torch()
    device = own_device(pick_device(device), environment)
    own = torch.device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    with _answered():
        distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
    yield World(distributed.get_rank(), distributed.get_world_size(), device)
    # Only after success: after a failure the other ranks may wait for a message that never comes.
    distributed.destroy_process_group()


def own_device(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the device of this process; of several on one machine each has a GPU of its own.

    Raises `OptionError` where there are more processes than GPUs.
    """
    if _number(environment, "WORLD_SIZE", 1) == 1 or device != "cuda":
        return device
    local, there = _number(environment, "LOCAL_RANK", 0), _torch()[0].cuda.device_count()
    if local >= there:
        message, hint = f"process {local + 1} of {there} GPUs", f"start {there} on this machine"
        raise OptionError(message, hint=f"{hint} with --nproc-per-node {there}")
    return f"cuda:{local}"


@contextmanager
def _answered() -> Iterator[None]:
    """Turn what torch raises when a process has died into `PeerError`."""
    try:
        yield
    except _torch()[0].OutOfMemoryError:
        raise
    except RuntimeError as error:  # gloo, NCCL and the store have classes below this
        raise PeerError(LOST, hint="look for its error above, then --resume") from error


def pick_device(name: str) -> str:
    """Return a device of torch, such as "cpu" or "cuda:1"; "auto" takes an accelerator if any.

    Raises `OptionError` for a device that is not there.
    """
    torch, _ = _torch()
    if name == AUTO:
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        return next((device for device, found in there.items() if found), "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        raise OptionError(f"--device {name} is not there", hint="use cpu or auto") from None
    return name


def _torch() -> tuple[Any, Any]:
    """Return torch and torch.distributed, imported now."""
    return importlib.import_module("torch"), importlib.import_module("torch.distributed")


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        message = f"the variable {name} is '{text}', not a number"
        raise OptionError(message, hint="start the processes with torchrun")
    return int(text)

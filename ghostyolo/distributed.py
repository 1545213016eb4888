"""The processes of a distributed run, their ranks and devices.

Every process holds the whole network and computes a part of each batch. Gradients are sums, so the
gradient of the whole batch is the sum over all ranks divided by the sum of their normalisers. One
all-reduce computes it; `DistributedDataParallel` would return the mean over the ranks, which would
have to be undone. `torchrun` starts the processes, and ends all of them when one fails.

A single process does not need torch here, so torch is imported only if there are several.
"""

from __future__ import annotations

import importlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ghostyolo.errors import GhostyoloError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
AUTO = "auto"  # the device: an accelerator if torch finds one, else the CPU
LOST = "another process of this run has stopped"
LOST_HINT = "look for its error above, and start again; a training goes on with --resume"


class PeerError(GhostyoloError):
    """Another process of the run does not respond."""


def local_processes() -> int:
    """Return the number of processes of this run on this machine. Raises `OptionError`."""
    return _number(os.environ, "LOCAL_WORLD_SIZE", 1)


def rank_and_size(environment: Mapping[str, str] = os.environ) -> tuple[int, int]:
    """Return the rank of this process and the world size, as torchrun tells them; 0 and 1 alone.

    Raises `OptionError` if they are not numbers.
    """
    return _number(environment, "RANK", 0), _number(environment, "WORLD_SIZE", 1)


@dataclass(frozen=True)
class World:
    """This process's rank and device, the world size, and the collective operations.

    rank: 0 to size - 1; rank 0 writes files and prints. size: the world size. device: the device of
    this process, a name that `ghostyolo.distributed.pick_device` accepts.
    """

    rank: int = 0
    size: int = 1
    device: str = AUTO

    @property
    def first(self) -> bool:
        """Return whether this process has rank 0, which writes the files."""
        return self.rank == 0

    def total(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all ranks, in one all-reduce. Raises `PeerError`."""
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
        """Return the values of all ranks, in their order, on every rank. Raises `PeerError`."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        with _answered():
            _torch()[1].all_gather_object(values, value)
        return values

    def once(self, read: Callable[[], T], environment: Mapping[str, str] = os.environ) -> T:
        """Return `read()` of the first process of each machine on all of its processes.

        Raises its error, a `GhostyoloError`, on all of them, and `PeerError`.
        """
        if self.size == 1:
            return read()
        local = _number(environment, "LOCAL_RANK", 0)
        found: tuple[T | None, GhostyoloError | None] = None, None
        if local == 0:
            try:
                found = read(), None
            except GhostyoloError as error:
                found = None, error
        found = self.gather(found)[self.rank - local]
        if found[1]:
            raise found[1]
        return cast("T", found[0])

    def wait(self) -> None:
        """Wait until every rank has called this. Raises `PeerError`."""
        self.gather(None)

    def any(self, flag: bool) -> bool:
        """Return whether a flag is true on any rank. Raises `PeerError`."""
        if self.size == 1:
            return flag
        torch, distributed = _torch()
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        count = torch.tensor(float(flag), device=device)
        self.total([count])
        return bool(count.item())


ALONE = World()  # a run of one process


@contextmanager
def joined(device: str = AUTO, environment: Mapping[str, str] = os.environ) -> Iterator[World]:
    """Join the process group if torchrun started several processes, and leave it at the end.

    device: a name that `pick_device` accepts; several processes get one GPU each, see `own_device`.
    Inside the block of several processes SIGTERM raises KeyboardInterrupt, as Ctrl-C does: torchrun
    sends it when another process has failed, and no file is to be left half written.
    Raises `OptionError`, `PeerError`.
    """
    if rank_and_size(environment)[1] == 1:
        yield World(device=device)
        return
    torch, distributed = _torch()
    device = own_device(pick_device(device), environment)
    own = torch.device(device)
    if own.type == "cuda":
        torch.cuda.set_device(own)
    with _answered():
        distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
    with interrupted_by_sigterm():
        yield World(distributed.get_rank(), distributed.get_world_size(), device)
    # Not after a failure: it could wait for other ranks forever.
    distributed.destroy_process_group()


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Raise KeyboardInterrupt with the number of the signal at SIGTERM; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process, before = os.getpid(), signal.getsignal(signal.SIGTERM)

    def interrupt(number: int, _: object) -> None:
        if os.getpid() == process:
            raise KeyboardInterrupt(number)
        signal.signal(number, signal.SIG_DFL)  # a worker process, which its parent terminates
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def own_device(device: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the device of this process; several processes on one machine get one GPU each.

    Raises `OptionError` if there are more processes than GPUs.
    """
    if rank_and_size(environment)[1] == 1 or device != "cuda":
        return device
    local, there = _number(environment, "LOCAL_RANK", 0), _torch()[0].cuda.device_count()
    if local >= there:
        message, hint = f"process {local + 1} of {there} GPUs", f"start {there} on this machine"
        raise OptionError(message, hint=f"{hint} with --nproc-per-node {there}")
    return f"cuda:{local}"


@contextmanager
def _answered() -> Iterator[None]:
    """Raise `PeerError` in place of the errors that torch raises when another process has died."""
    try:
        yield
    except _torch()[0].OutOfMemoryError:
        raise
    except RuntimeError as error:  # base class of the errors of gloo, NCCL and the store
        raise PeerError(LOST, hint=LOST_HINT) from error


def pick_device(name: str) -> str:
    """Return the name of a torch device, such as "cpu" or "cuda:1"; "auto" prefers an accelerator.

    Raises `OptionError` for a device that is not available.
    """
    torch, _ = _torch()
    if name == AUTO:
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        return next((device for device, found in there.items() if found), "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        raise OptionError(f"--device {name} is not available", hint="use cpu or auto") from None
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

"""Data parallel training: `torchrun` starts the processes, each computes its part of every batch, and gradients are summed.

A batch does not depend on the number of processes, and its parts are weighted by their size. A run can therefore be resumed with another
number of processes. Exceptions: batch norm and the losses of regions and of label maps use only the samples of their process.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from stages.errors import UsageError

COLLECTIVE_TIMEOUT = timedelta(hours=1)
"""How long the other processes wait for the main process, which validates, saves and may download weights."""
T = TypeVar("T")


@dataclass(frozen=True)
class ProcessGroup:
    """This process's rank in a group of `size`; `local_rank` is its index on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes files and messages."""
        return self.rank == 0

    def part(self, batch: int) -> range:
        """Indices of the samples of a batch that this process computes. Raises UsageError when there are fewer samples than processes."""
        if batch < self.size:
            facts = {"batch": batch}
            raise UsageError(f"a batch of {batch} cannot be shared by {self.size} processes", code="batch-too-small", facts=facts)
        return range(self.rank * batch // self.size, (self.rank + 1) * batch // self.size)

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Sum the gradients over all processes in one flat all-reduce. Parameters that have no gradient on any rank keep None."""
        if self.size == 1:
            return
        trained = list(parameters)
        used = self.sum(torch.tensor([float(p.grad is not None) for p in trained], device=trained[0].device)).tolist()
        shared = [p for p, count in zip(trained, used, strict=True) if count]
        flat = self.sum(torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in shared]))
        for parameter, gradient in zip(shared, flat.split([p.numel() for p in shared]), strict=True):
            parameter.grad = gradient.view_as(parameter)

    def wait(self) -> None:
        """Wait until all processes have called this."""
        if self.size > 1:
            dist.barrier()

    def broadcast(self, value: T) -> T:
        """The value of the main process, in all processes."""
        if self.size == 1:
            return value
        values: list[Any] = [value]
        dist.broadcast_object_list(values)
        result: T = values[0]
        return result


def join(device: str) -> ProcessGroup:
    """The process group of torchrun (RANK, WORLD_SIZE and LOCAL_RANK in the environment), or a group of this process alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ProcessGroup()
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    world = ProcessGroup(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    if on_gpu:
        torch.cuda.set_device(world.local_rank)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=COLLECTIVE_TIMEOUT)
    return world


def leave(world: ProcessGroup) -> None:
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()


def local_device(world: ProcessGroup, device: str) -> str:
    """`device`, or with several processes "cuda:N" in place of "cuda" and "auto", so that each process has its own GPU."""
    if world.size > 1 and torch.cuda.is_available() and device in ("auto", "cuda"):
        return f"cuda:{world.local_rank}"
    return device

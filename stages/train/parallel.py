"""Data parallel training: `torchrun` starts the processes, each makes its part of every batch, gradients are summed.

A batch is the same whatever the number of processes, and its parts are weighted by their size; so a run may go on with another number.
Batch norm and region discriminators see their part only, and differ in that.
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

PATIENCE = timedelta(hours=1)
"""The others wait so long for the first process, which judges, saves and may fetch weights."""
T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among `size`, as number `rank`; `local_rank` counts on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0

    def part(self, batch: int) -> range:
        """The samples of a batch that are this process's. UsageError when there are more processes than samples."""
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
        """Gradients become their sums over all processes, in one message; a parameter that nobody used keeps none."""
        if self.size == 1:
            return
        trained = list(parameters)
        used = self.sum(torch.tensor([float(p.grad is not None) for p in trained], device=trained[0].device)).tolist()
        shared = [p for p, count in zip(trained, used, strict=True) if count]
        flat = self.sum(torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in shared]))
        for parameter, gradient in zip(shared, flat.split([p.numel() for p in shared]), strict=True):
            parameter.grad = gradient.view_as(parameter)

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            dist.barrier()

    def share(self, value: T) -> T:
        """The first process's value, for all."""
        if self.size == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box)
        shared: T = box[0]
        return shared


def join(device: str) -> World:
    """The world that torchrun has started (RANK, WORLD_SIZE, LOCAL_RANK in the environment), or this process alone."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return World()
    on_gpu = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    world = World(int(os.environ["RANK"]), size, int(os.environ.get("LOCAL_RANK", "0")))
    if on_gpu:
        torch.cuda.set_device(world.local_rank)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if on_gpu else "gloo", timeout=PATIENCE)
    return world


def leave(world: World) -> None:
    if world.size > 1 and dist.is_initialized():
        dist.destroy_process_group()


def own_device(world: World, device: str) -> str:
    """Every process of a machine has a GPU of its own: "cuda" and "auto" become "cuda:N" where there are several processes."""
    if world.size > 1 and torch.cuda.is_available() and device in ("auto", "cuda"):
        return f"cuda:{world.local_rank}"
    return device

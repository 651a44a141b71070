"""Moving rarely used weights out of memory, to a file on disk."""

from __future__ import annotations

import tempfile

import numpy as np
import torch
from torch import nn

MIN_BYTES = 2**30
"""Networks with fewer bytes of weights are not moved. Of the shipped presets only those of vid2vid have as many."""


@torch.no_grad()
def move_to_disk(network: nn.Module) -> bool:
    """Move the float32 weights of a large network from the CPU's memory to a memory-mapped temporary file. Returns whether they were moved.

    The network remains usable, and its results are the same. The system can reclaim the memory into which weights are read. The file has
    no name, so it disappears with the network or the process; its folder is that of `tempfile` (`TMPDIR`). If the file cannot be written,
    the weights stay in memory.
    """
    weights = [parameter for parameter in network.parameters() if parameter.device.type == "cpu" and parameter.dtype == torch.float32]
    if 4 * sum(weight.numel() for weight in weights) < MIN_BYTES:
        return False
    try:
        with tempfile.TemporaryFile() as file:
            for weight in weights:
                file.write(weight.contiguous().numpy().data)
            file.flush()
            stored = torch.from_numpy(np.memmap(file, np.float32, "c"))
    except OSError:
        return False
    for weight, values in zip(weights, stored.split([weight.numel() for weight in weights]), strict=True):
        weight.data = values.view(weight.shape)
    return True

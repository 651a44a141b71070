"""Modules whose activations can be computed again for the gradients instead of being kept, to save memory (checkpointing)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint


class Recomputing(nn.Module):
    """A module that passes its parts to `run`. If `recomputes` is set, only the inputs of each part are kept for the gradients."""

    recomputes = False

    def run(self, part: Callable[..., Any], *inputs: Any) -> Any:
        return checkpoint(part, *inputs, use_reentrant=False) if self.recomputes else part(*inputs)

"""Fixtures for the tests of training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from stages.train.batch import Batch


@pytest.fixture
def tensors_of() -> Callable[[Batch], list[Tensor]]:
    """tensors_of(batch): all tensors of a batch."""

    def collect(batch: Batch) -> list[Tensor]:
        tensors: list[Tensor] = []

        def keep(tensor: Tensor) -> Tensor:
            tensors.append(tensor)
            return tensor

        batch.map(keep)
        assert len(tensors) == 11
        return tensors

    return collect

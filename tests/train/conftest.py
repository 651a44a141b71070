"""What the tests of training share."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor

from stages.train.batch import Batch


@pytest.fixture
def tensors_of() -> Callable[[Batch], list[Tensor]]:
    """All tensors of a batch."""

    def listed(batch: Batch) -> list[Tensor]:
        found: list[Tensor] = []

        def keep(tensor: Tensor) -> Tensor:
            found.append(tensor)
            return tensor

        batch.map(keep)
        assert len(found) == 11
        return found

    return listed

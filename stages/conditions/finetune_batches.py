"""Batches for finetuning: randomly transformed examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from stages.conditions.framing import Example, frame_of
from stages.conditions.view import View
from stages.networks.common.tuning import FinetuneBatch

MAX_SHIFT = 1 / 16
"""Largest shift of an example, as a share of its width or height; the value of the public code."""
MAX_ROTATION = 6.0
"""Largest rotation of source images, in degrees."""
MAX_LOG_SCALE = 0.06
"""Largest absolute logarithm of the scale of source images."""
MAX_SOURCES = 3
"""Largest number of source images of a target; each makes a step slower."""


def finetune_batches(examples: Sequence[Example], batch: int, seed: int, device: torch.device) -> Iterator[FinetuneBatch]:
    """An endless iterator of batches of `batch` targets each; the same seed gives the same batches.

    Each target is a shifted example. Its sources are other examples (the same one if there is no other), shifted, rotated and scaled. A
    target and its sources are either all mirrored or not at all.
    """
    rng = np.random.default_rng(seed)
    while True:
        drawn = [_draw_target(examples, rng) for _ in range(batch)]
        targets = frame_of([target.sample for target, _ in drawn], device)
        sources = frame_of([source.sample for _, sources in drawn for source in sources], device)
        yield FinetuneBatch(targets, sources.map(lambda x: x.unflatten(0, (batch, -1))))


def _draw_target(examples: Sequence[Example], rng: np.random.Generator) -> tuple[Example, list[Example]]:
    """A random target and its sources."""
    chosen = int(rng.integers(len(examples)))
    target, others = examples[chosen], [*examples[:chosen], *examples[chosen + 1 :]] or list(examples)
    others = [others[index] for index in rng.permutation(len(others))[:MAX_SOURCES]]
    height, width = target.view.height, target.view.width
    mirrored = bool(rng.random() < 0.5)
    shifted = target.through(shifted_view(height, width, rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2), mirrored))
    return shifted, [other.through(random_view(height, width, rng, mirrored)) for other in others]


def shifted_view(height: int, width: int, shift: np.ndarray, mirrored: bool) -> View:
    """A view that mirrors an image if asked, then shifts it by `shift` (x, y), in shares of its size.

    The shift is rounded to whole pixels, because interpolation would blur the target, and the generator would learn to blur.
    """
    right, down = np.round(shift * (width, height))
    x_row = [-1, 0, width - 1 + right] if mirrored else [1, 0, right]
    return View(np.array([x_row, [0, 1, down]]), height, width)


def random_view(height: int, width: int, rng: np.random.Generator, mirrored: bool) -> View:
    """A view that mirrors an image if asked, and shifts, rotates and scales it at random."""
    scale, degrees = np.exp(MAX_LOG_SCALE * rng.uniform(-1, 1)), MAX_ROTATION * rng.uniform(-1, 1)
    shift = rng.uniform(-MAX_SHIFT, MAX_SHIFT, 2) * (width, height)
    return View.rotated((height, width), height, width, scale=scale, degrees=degrees, shift=shift, mirrored=mirrored)

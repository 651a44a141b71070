"""What finetuning is shown: the examples, each time seen a little differently."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from stages.conditions.framing import Example, frame_of
from stages.conditions.view import View
from stages.networks.common.tuning import FinetuneBatch

LARGEST_SHIFT = 1 / 16
"""An example is shown shifted by up to this share of its size (the public code's)."""
LARGEST_TURN = 6.0
"""Degrees by which the images are turned that a target is made from."""
LARGEST_ZOOM = 0.06
"""And the share by which they are larger or smaller."""
MAX_SOURCES = 3
"""A target is made from so many others at most: a step costs more with each of them."""


def finetune_batches(examples: Sequence[Example], batch: int, seed: int, device: torch.device) -> Iterator[FinetuneBatch]:
    """FinetuneBatch after lesson, without end; the same ones for the same seed.

    Each target is a shifted example, made from others (from itself when it is the only one), which are shifted, turned and zoomed; all
    mirrored or none.
    """
    draw = np.random.default_rng(seed)
    while True:
        drawn = [_draw(examples, draw) for _ in range(batch)]
        targets = frame_of([target.sample for target, _ in drawn], device)
        together = frame_of([source.sample for _, sources in drawn for source in sources], device)
        yield FinetuneBatch(targets, together.map(lambda x: x.unflatten(0, (batch, -1))))


def _draw(examples: Sequence[Example], draw: np.random.Generator) -> tuple[Example, list[Example]]:
    """A target, and what it is to be made from."""
    chosen = int(draw.integers(len(examples)))
    target, others = examples[chosen], [*examples[:chosen], *examples[chosen + 1 :]] or list(examples)
    others = [others[index] for index in draw.permutation(len(others))[:MAX_SOURCES]]
    height, width = target.view.height, target.view.width
    mirrored = bool(draw.random() < 0.5)
    moved = target.through(shifted_view(height, width, draw.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, 2), mirrored))
    return moved, [other.through(moved_view(height, width, draw, mirrored)) for other in others]


def shifted_view(height: int, width: int, shift: np.ndarray, mirrored: bool) -> View:
    """An image moved by the shares `shift` (x, y) of its size, perhaps mirrored at its middle first.

    It moves by whole pixels, which keeps it as sharp as it is: from blurred targets a generator would learn to blur.
    """
    right, down = np.round(shift * (width, height))
    across = [-1, 0, width - 1 + right] if mirrored else [1, 0, right]
    return View(np.array([across, [0, 1, down]]), height, width)


def moved_view(height: int, width: int, draw: np.random.Generator, mirrored: bool) -> View:
    """An image shifted, turned around its middle and zoomed at random, perhaps mirrored."""
    scale, degrees = np.exp(LARGEST_ZOOM * draw.uniform(-1, 1)), LARGEST_TURN * draw.uniform(-1, 1)
    shift = draw.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, 2) * (width, height)
    return View.turned((height, width), height, width, scale=scale, degrees=degrees, shift=shift, mirrored=mirrored)

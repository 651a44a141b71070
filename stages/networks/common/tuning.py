"""Finetuning on the examples (few-shot vid2vid, section 3, inference): a part of the generator learns to reconstruct them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator
from stages.networks.common.objective import PerceptualDistance


@dataclass(frozen=True)
class TuneOptions:
    """Options of finetuning."""

    steps: int = 60
    batch: int = 2
    learning_rate: float = 1e-4
    """At the first step; it falls linearly to 0. With a constant rate, the last few batches determine the colours."""
    perceptual: float = 2.0
    """Weight of the perceptual term: the mean of the perceptual distances of the frame and of h_t."""
    l1: float = 1.0
    """Weight of the L1 term: the L1 distance of the frame plus half of that of h_t.

    A larger weight blurs what cannot be known from the other examples.
    """
    seed: int = 0


@dataclass(frozen=True)
class FinetuneBatch:
    """The input of one step: target frames, and for each target the K examples from which the network must make it."""

    targets: Frame
    """[B, ...] with their images."""
    examples: Frame
    """[B, K, ...]."""


def tune(
    generator: Generator,
    batches: Iterable[FinetuneBatch],
    options: TuneOptions,
    perceptual: PerceptualDistance | None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> list[str]:
    """Finetune `generator` in place, with one step for each of the first `options.steps` batches.

    perceptual: None to leave this term out. on_step gets the number of the step, from 1, and the loss. Returns the names of the tuned
    parameters.
    """
    tuned = {name: p for name, p in generator.named_parameters() if name.startswith(generator.tuned)}
    generator.requires_grad_(False)
    for parameter in tuned.values():
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(tuned.values())
    for step, batch in enumerate(islice(batches, options.steps), 1):
        optimizer.param_groups[0]["lr"] = options.learning_rate * (1 - (step - 1) / options.steps)
        loss = _loss(generator, batch, options, perceptual)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        on_step(step, loss.item())
    generator.requires_grad_(False)
    return sorted(tuned)


def _loss(generator: Generator, batch: FinetuneBatch, options: TuneOptions, perceptual: PerceptualDistance | None) -> Tensor:
    truth = batch.targets.required_image
    with torch.autocast(truth.device.type, torch.bfloat16):
        code = generator.encode_examples(batch.examples)
        synthesis = generator.synthesize(code, batch.targets)
        loss = options.l1 * (F.l1_loss(synthesis.frame, truth) + 0.5 * F.l1_loss(synthesis.raw, truth))
        if perceptual is not None:
            loss = loss + options.perceptual * (perceptual(synthesis.frame, truth) + perceptual(synthesis.raw, truth)).mean() / 2
    return loss

"""Finetuning on the examples: the weight generator and the image branch learn, everything about flow stays (section 3, inference)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.networks.generator import FewShotGenerator
from stages.networks.objective import PerceptualDistance

TUNED = ("weight_generator.", "blocks.", "to_image.")
"""Prefixes of the parameters that are tuned: E_P and the image branch of H."""
LARGEST_SHIFT = 1 / 16
"""Targets are examples rolled by up to this share of their size, and mirrored, as the public code does."""


@dataclass(frozen=True)
class TuneOptions:
    """A short adaptation."""

    steps: int = 60
    batch: int = 2
    learning_rate: float = 1e-4
    perceptual: float = 1.0
    l1: float = 5.0
    seed: int = 0


def tune(
    generator: FewShotGenerator,
    images: Tensor,
    semantics: Tensor,
    options: TuneOptions,
    perceptual: PerceptualDistance | None,
    on_step: Callable[[int, float], None] = lambda step, loss: None,
) -> list[str]:
    """Adapt `generator` in place to K examples: images [K, 3, H, W] in [-1, 1], semantics [K, S, H, W].

    Each step makes a shifted and perhaps mirrored example from another one (or from itself when there is only one). Returns the names of
    the tuned parameters.
    """
    tuned = {name: p for name, p in generator.named_parameters() if name.startswith(TUNED)}
    generator.requires_grad_(False)
    for parameter in tuned.values():
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(tuned.values(), options.learning_rate, (0.5, 0.999))
    draw = torch.Generator().manual_seed(options.seed)
    for step in range(options.steps):
        targets, labels, sources = _draw(images, semantics, options.batch, draw)
        with torch.autocast(images.device.type, torch.bfloat16):
            code = generator.encode_examples(images[sources][:, None], semantics[sources][:, None])
            made = generator.synthesize(code, labels)
            loss = options.l1 * (F.l1_loss(made.frame, targets) + 0.5 * F.l1_loss(made.raw, targets))
            if perceptual is not None:
                loss = loss + options.perceptual * perceptual(made.raw, targets).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        on_step(step + 1, loss.item())
    generator.requires_grad_(False)
    return sorted(tuned)


def _draw(images: Tensor, semantics: Tensor, batch: int, draw: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Targets [B, 3, H, W], their semantic images, and the indices [B] of the examples that they are made from."""
    count, height, width = len(images), *images.shape[-2:]
    targets: list[Tensor] = []
    labels: list[Tensor] = []
    chosen = torch.randint(count, (batch,), generator=draw)
    others = (chosen + torch.randint(1, max(count, 2), (batch,), generator=draw)) % count
    for index in chosen:
        reach = [int(side * LARGEST_SHIFT) for side in (height, width)]
        shift = [int(torch.randint(-r, r + 1, (), generator=draw)) for r in reach]
        mirrored = bool(torch.rand((), generator=draw) < 0.5)
        for source, into in ((images, targets), (semantics, labels)):
            moved = source[index].roll(shift, (-2, -1))
            into.append(moved.flip(-1) if mirrored else moved)
    return torch.stack(targets), torch.stack(labels), others.to(images.device)

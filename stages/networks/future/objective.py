"""What training the predictor minimises for one label map.

There is no adversarial term: one-hot maps and probabilities differ in their values alone, so that a discriminator would tell them apart
by those, and not by where labels are.
"""

from __future__ import annotations

from torch import Tensor

from stages.flow.warp import warp
from stages.networks.common import losses
from stages.networks.common.discriminator_inputs import Past
from stages.networks.common.generator import Synthesis
from stages.networks.common.objective import Discriminators, LossWeights, PerceptualDistance, Target

LEAST = 1e-4
"""Smallest probability that cross-entropy sees: a label that comes from nowhere costs 9, and not infinitely much."""


def label_losses(
    synthesis: Synthesis,
    target: Target,
    weights: LossWeights,
    perceptual: PerceptualDistance | None,
    discriminators: Discriminators | None,
    past: Past,
) -> dict[str, Tensor]:
    """Each weighted term of the objective; the target's image is its label map, one-hot [B, S, H, W]. Void pixels count for nothing."""
    truth = target.image
    terms = {"labels": cross_entropy(synthesis.frame, truth), "raw": cross_entropy(synthesis.raw, truth)}
    if synthesis.previous is not None and synthesis.previous_mask is not None:
        terms["mask"] = mask_loss(synthesis.previous_mask, synthesis.previous.image, truth)
        if target.flow is not None and target.flow_confidence is not None:
            carried = warp(past.real[-1], synthesis.previous.flow)  # the true map: W is not to blame for what was predicted
            terms["warp"] = cross_entropy(carried, truth)
            terms["flow"] = losses.flow_loss(synthesis.previous.flow, target.flow, target.flow_confidence)
    return {name: value * getattr(weights, name) for name, value in terms.items() if getattr(weights, name)}


def cross_entropy(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Mean over the pixels of a label. probabilities and truth: [B, S, H, W], the truth one-hot or, where it is void, zeros."""
    return -(truth * probabilities.clamp(min=LEAST).log()).sum() / truth.sum().clamp(min=1)


def mask_loss(mask: Tensor, moved: Tensor, truth: Tensor) -> Tensor:
    """Pushes the mask [B, 1, H, W] to 0 where the moved label is the true one, and to 1 where it is not."""
    right = (moved * truth).sum(1, keepdim=True).detach()
    known = truth.sum(1, keepdim=True)
    wrong: Tensor = (known * (mask * right + (1 - mask) * (1 - right))).sum() / known.sum().clamp(min=1)
    return wrong

"""The objective of the predictor for one label map.

There is no adversarial term: real maps are one-hot and generated ones are not, so that a discriminator would look at values only, and not
at the position of labels.
"""

from __future__ import annotations

from torch import Tensor

from stages.flow.warp import warp
from stages.networks.common import losses
from stages.networks.common.discriminator_inputs import History
from stages.networks.common.generator import Synthesis
from stages.networks.common.objective import Discriminators, LossWeights, PerceptualDistance, Target

MIN_PROBABILITY = 1e-4
"""Smaller probabilities are clamped in the cross-entropy, which therefore is at most 9.2."""


def label_losses(
    synthesis: Synthesis,
    target: Target,
    weights: LossWeights,
    perceptual: PerceptualDistance | None,
    discriminators: Discriminators | None,
    past: History,
) -> dict[str, Tensor]:
    """Name -> weighted term of the objective. The target's image is its label map, one-hot [B, S, H, W]. Void pixels are ignored."""
    truth = target.image
    terms = {"labels": cross_entropy(synthesis.frame, truth), "raw": cross_entropy(synthesis.raw, truth)}
    if synthesis.previous is not None and synthesis.previous_mask is not None:
        terms["mask"] = mask_loss(synthesis.previous_mask, synthesis.previous.image, truth)
        if target.flow is not None and target.flow_confidence is not None:
            warped_real = warp(past.real[-1], synthesis.previous.flow)  # of the true map, so that errors of the predicted one do not count
            terms["warp"] = cross_entropy(warped_real, truth)
            terms["flow"] = losses.flow_loss(synthesis.previous.flow, target.flow, target.flow_confidence)
    return {name: value * getattr(weights, name) for name, value in terms.items() if getattr(weights, name)}


def cross_entropy(probabilities: Tensor, truth: Tensor) -> Tensor:
    """Mean over all pixels that are not void. probabilities [B, S, H, W]; truth [B, S, H, W], one-hot, zeros in void pixels."""
    return -(truth * probabilities.clamp(min=MIN_PROBABILITY).log()).sum() / truth.sum().clamp(min=1)


def mask_loss(mask: Tensor, warped: Tensor, truth: Tensor) -> Tensor:
    """Pushes the mask [B, 1, H, W] to 0 where the warped label is the true one, and to 1 elsewhere; labels [B, S, H, W]."""
    correct = (warped * truth).sum(1, keepdim=True).detach()
    known = truth.sum(1, keepdim=True)
    loss: Tensor = (known * (mask * correct + (1 - mask) * (1 - correct))).sum() / known.sum().clamp(min=1)
    return loss

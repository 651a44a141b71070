"""What instances of each label look like in a dataset, as mixtures of Gaussians over E's features (vid2vid, multimodal synthesis)."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from stages.conditions.framing import frame_of
from stages.conditions.regions import features_of
from stages.models.mixtures import fit_mixture
from stages.networks.common.generator import Generator
from stages.train.data import Dataset

FRAMES = 160
"""Number of training frames whose instances are looked at."""
MIN_AREA = 1 / 2000
"""Share of the image that an instance covers at least to count, unless all instances of its label are smaller."""


@torch.no_grad()
def fit_appearance(generator: Generator, data: Dataset, device: torch.device) -> dict[str, Any]:
    """The mixture of each label that the dataset shows, by its name, as a model's header has it; {} for a model without an appearance."""
    config = generator.config
    if not config.appearance:
        return {}
    names = data.label_names()
    labels, shares, features = [], [], []
    for sample in data.survey(config.size, FRAMES):
        appearance = generator.appearance_of(frame_of([sample], device))[0].float().cpu().numpy()
        assert sample.regions is not None
        found = features_of(sample.regions, sample.semantic[: len(names)], appearance)
        labels.append(found.labels)
        shares.append(found.areas / sample.regions.size)
        features.append(found.features)
    label, share, points = np.concatenate(labels), np.concatenate(shares), np.concatenate(features)
    mixtures = {}
    for number, name in enumerate(names):
        large = (label == number) & (share >= MIN_AREA)
        chosen = large if large.any() else label == number
        if chosen.any():
            mixtures[name] = fit_mixture(points[chosen]).to_json()
    return mixtures

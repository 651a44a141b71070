"""The appearance of the instances of a dataset: for each label a mixture of Gaussians of E's features (vid2vid, multimodal synthesis)."""

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
"""Number of training frames whose instances are used."""
MIN_AREA = 1 / 2000
"""Instances that cover a smaller share of the image are ignored, unless all instances of their label are smaller."""


@torch.no_grad()
def fit_appearance(generator: Generator, data: Dataset, device: torch.device) -> dict[str, Any]:
    """Name of a label in the dataset -> its mixture, as in the header of a model; {} for a model without an appearance."""
    config = generator.config
    if not config.appearance:
        return {}
    names = data.label_names()
    labels, shares, features = [], [], []
    for sample in data.survey(config.size, FRAMES):
        appearance = generator.appearance_of(frame_of([sample], device))[0].float().cpu().numpy()
        assert sample.regions is not None
        regions = features_of(sample.regions, sample.semantic[: len(names)], appearance)
        labels.append(regions.labels)
        shares.append(regions.areas / sample.regions.size)
        features.append(regions.features)
    all_labels, all_shares, all_features = np.concatenate(labels), np.concatenate(shares), np.concatenate(features)
    mixtures = {}
    for label, name in enumerate(names):
        large = (all_labels == label) & (all_shares >= MIN_AREA)
        chosen = large if large.any() else all_labels == label
        if chosen.any():
            mixtures[name] = fit_mixture(all_features[chosen]).to_json()
    return mixtures

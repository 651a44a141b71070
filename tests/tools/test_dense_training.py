"""The training loop of the small dense networks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from dense_training import FitOptions, color_jitter, fit
from torch.nn import functional as F

from stages.networks.common.images import image_tensor
from stages.networks.dense import DenseConfig, DenseNet

TINY = DenseConfig(outputs=2, stride=4, width=8)


def halves(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch for an easy segmentation: (images with a bright left and a dark right part, the label of each cell)."""
    random = np.random.default_rng(step)
    bright = np.zeros((4, 32, 32), np.int64)
    for mask in bright:
        mask[:, : random.integers(8, 24)] = 1
    noisy = 60 + 120 * bright[..., None] + random.normal(0, 10, (4, 32, 32, 3))
    return image_tensor(noisy.clip(0, 255).astype(np.uint8)), torch.from_numpy(bright[:, ::4, ::4].copy())


def loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(outputs, labels)


def test_training_learns_an_easy_segmentation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = DenseNet(TINY)
    trained = fit(network, halves, loss, FitOptions(60, rate=3e-3, encoder_rate=1.0, average=0.8, warm_up=5), tmp_path / "state")
    images, labels = halves(1000)
    assert (trained(images).argmax(1) == labels).float().mean() > 0.9


def test_an_interrupted_training_resumes_with_the_same_weights(tmp_path: Path) -> None:
    def batches_until(last: int):
        def batch(step: int):
            if step >= last:
                raise KeyboardInterrupt
            return halves(step)

        return batch

    torch.manual_seed(0)
    undisturbed = fit(DenseNet(TINY), halves, loss, FitOptions(6), tmp_path / "undisturbed")
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        fit(DenseNet(TINY), batches_until(4), loss, FitOptions(6, save_seconds=0), tmp_path / "resumed")
    resumed = fit(DenseNet(TINY), halves, loss, FitOptions(6), tmp_path / "resumed")
    assert all(torch.equal(a, b) for a, b in zip(undisturbed.state_dict().values(), resumed.state_dict().values(), strict=True))


def test_colour_jitter_keeps_the_shape_and_the_type() -> None:
    image = np.random.default_rng(0).integers(0, 255, (8, 9, 3), np.uint8)
    jittered = color_jitter(image, np.random.default_rng(1))
    assert jittered.shape == image.shape and jittered.dtype == np.uint8 and not np.array_equal(jittered, image)

"""The small dense networks: their files, and the loop that trains them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stages.dense import Fit, fit, load_dense, relit, save_dense
from stages.errors import InputError
from stages.networks.common.images import image_tensor
from stages.networks.dense import DenseConfig, DenseNet

TINY = DenseConfig(outputs=2, stride=4, width=8)


def halves(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures with one bright half, and which half of each place it is: the easiest thing to segment."""
    random = np.random.default_rng(step)
    bright = np.zeros((4, 32, 32), np.int64)
    for image in bright:
        image[:, : random.integers(8, 24)] = 1
    noisy = 60 + 120 * bright[..., None] + random.normal(0, 10, (4, 32, 32, 3))
    return image_tensor(noisy.clip(0, 255).astype(np.uint8)), torch.from_numpy(bright[:, ::4, ::4].copy())


def loss(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(outputs, labels)


@pytest.mark.parametrize(("stride", "size"), [(2, (32, 48)), (4, (64, 32))])
def test_a_map_is_so_many_times_smaller_than_the_picture(stride: int, size: tuple[int, int]) -> None:
    network = DenseNet(DenseConfig(5, stride, 16)).eval()
    assert network(torch.zeros(1, 3, *size)).shape == (1, 5, size[0] // stride, size[1] // stride)


def test_training_learns_and_a_file_gives_the_same_network_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = DenseNet(TINY)
    trained = fit(network, halves, loss, Fit(60, rate=3e-3, encoder_rate=1.0, average=0.8, warm_up=5), tmp_path / "state")
    images, labels = halves(1000)
    assert (trained(images).argmax(1) == labels).float().mean() > 0.9

    save_dense(tmp_path / "net.safetensors", trained, {"names": ["dark", "bright"]})
    loaded, info = load_dense(tmp_path / "net.safetensors", "cpu")
    assert info["names"] == ["dark", "bright"] and loaded.config == TINY
    assert torch.allclose(loaded(images), trained(images), atol=0.1), "float16 in the file"


def test_training_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    def batches_until(last: int):
        def batch(step: int):
            if step >= last:
                raise KeyboardInterrupt
            return halves(step)

        return batch

    torch.manual_seed(0)
    whole = fit(DenseNet(TINY), halves, loss, Fit(6), tmp_path / "whole")
    torch.manual_seed(0)
    with pytest.raises(KeyboardInterrupt):
        fit(DenseNet(TINY), batches_until(4), loss, Fit(6, save_seconds=0), tmp_path / "parts")
    parts = fit(DenseNet(TINY), halves, loss, Fit(6), tmp_path / "parts")
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True))


def test_squeezenets_weights_are_a_start(shared: Path) -> None:
    from safetensors.torch import load_file

    network = DenseNet(TINY)
    weights = load_file(shared / "weights/squeezenet1_0_imagenet.safetensors")
    network.start_from(weights)
    assert torch.equal(network.features[0].weight, weights["features.0.weight"].float())


def test_another_file_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    for name in ("other", "broken", "absent"):
        with pytest.raises(InputError, match="not the file of a small network"):
            load_dense(tmp_path / f"{name}.safetensors", "cpu")


def test_another_light_keeps_the_shape_and_the_range() -> None:
    image = np.random.default_rng(0).integers(0, 255, (8, 9, 3), np.uint8)
    lit = relit(image, np.random.default_rng(1))
    assert lit.shape == image.shape and lit.dtype == np.uint8 and not np.array_equal(lit, image)

"""The small dense networks and their files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from stages.errors import InputError
from stages.models.dense import load_dense, save_dense
from stages.networks.dense import DenseConfig, DenseNet

TINY = DenseConfig(outputs=2, stride=4, width=8)


@pytest.mark.parametrize(("stride", "size"), [(2, (32, 48)), (4, (64, 32))])
def test_the_output_is_smaller_than_the_image_by_the_stride(stride: int, size: tuple[int, int]) -> None:
    network = DenseNet(DenseConfig(5, stride, 16)).eval()
    assert network(torch.zeros(1, 3, *size)).shape == (1, 5, size[0] // stride, size[1] // stride)


def test_a_network_can_be_saved_and_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, images = DenseNet(TINY).eval(), torch.rand(2, 3, 32, 32)
    save_dense(tmp_path / "net.safetensors", network, {"names": ["dark", "bright"]})

    loaded, info = load_dense(tmp_path / "net.safetensors", "cpu")
    assert info["names"] == ["dark", "bright"] and loaded.config == TINY
    assert torch.allclose(loaded(images), network(images), atol=0.01), "files store float16"


def test_the_weights_of_squeezenet_initialise_the_encoder(shared: Path) -> None:
    from safetensors.torch import load_file

    network = DenseNet(TINY)
    weights = load_file(shared / "weights/squeezenet1_0_imagenet.safetensors")
    network.initialise_from(weights)
    assert torch.equal(network.get_parameter("features.0.weight"), weights["features.0.weight"].float())


def test_a_file_that_is_not_a_small_network_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    for name in ("other", "broken", "absent"):
        with pytest.raises(InputError, match="not the file of a small network"):
            load_dense(tmp_path / f"{name}.safetensors", "cpu")

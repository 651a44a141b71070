"""LPIPS with AlexNet, loaded from two files: torchvision's network and the linear weights of the authors of LPIPS."""

from __future__ import annotations

import pytest
import torch

from stages.networks.features.alexnet import CHANNELS, lpips

CONVOLUTIONS = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}
"""Index in torchvision's `features` -> (outputs, inputs, kernel)."""


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """(network, linear weights) with the names and shapes of the published files; the unused classifier is small."""
    rng, folder = torch.Generator().manual_seed(0), tmp_path_factory.mktemp("alexnet")
    network = {"classifier.1.weight": torch.zeros(2, 2), "classifier.6.bias": torch.zeros(2)}
    for index, (outputs, inputs, kernel) in CONVOLUTIONS.items():
        network[f"features.{index}.weight"] = torch.randn(outputs, inputs, kernel, kernel, generator=rng) * (2 / inputs) ** 0.5 / kernel
        network[f"features.{index}.bias"] = torch.zeros(outputs)
    linear = {f"lin{index}.model.1.weight": torch.rand(1, width, 1, 1, generator=rng) for index, width in enumerate(CHANNELS)}
    torch.save(network, folder / "network.pth")
    torch.save(linear, folder / "linear.pth")
    return torch.load(folder / "network.pth", weights_only=True), torch.load(folder / "linear.pth", weights_only=True)


def test_the_distance_equals_the_formula_of_lpips(published):
    network, linear = published
    distance = lpips(network, linear)
    one, others = torch.rand(1, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1
    expected = torch.zeros(2)
    for index, (a, b) in enumerate(zip(distance.maps(one), distance.maps(others), strict=True)):
        a, b = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
        weighted = torch.einsum("bchw,c->bhw", (a - b) ** 2, linear[f"lin{index}.model.1.weight"].flatten())
        expected += weighted.mean((1, 2))
    assert torch.allclose(distance(one, others), expected, rtol=1e-4)
    assert distance(others, others).tolist() == [0, 0]


def test_features_are_relu1_to_relu5_of_the_normalised_image(published):
    maps = lpips(*published).maps(torch.zeros(1, 3, 64, 64))
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 15, 15), (192, 7, 7), (384, 3, 3), (256, 3, 3), (256, 3, 3)]
    normalised = torch.tensor([(0.5 - mean) / deviation for mean, deviation in ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))])
    weight = published[0]["features.0.weight"]
    expected = torch.einsum("oikl,i->o", weight, normalised).relu()
    assert torch.allclose(maps[0][0, :, 7, 7], expected, atol=1e-3), "of a grey image, at a position without padding"


def test_files_of_another_network_are_refused(published):
    network, linear = published
    with pytest.raises(RuntimeError, match="features.10.bias"):
        lpips({name: value for name, value in network.items() if name != "features.10.bias"}, linear)
    with pytest.raises(RuntimeError, match="linear.4"):
        lpips(network, {name: value for name, value in linear.items() if not name.startswith("lin4")})
    with pytest.raises(RuntimeError, match="size mismatch for linear.0"):
        lpips(network, {**linear, "lin0.model.1.weight": torch.zeros(1, 3, 1, 1)})

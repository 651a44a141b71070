"""VGG-19, loaded from torchvision's file without torchvision."""

from __future__ import annotations

import pytest
import torch

from stages.models.perceptual import PerceptualDistance
from stages.networks.features.vgg import TAP_WEIGHTS, TAPS, Vgg19, l1_distance, vgg19

CONVOLUTIONS = {
    0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256), 16: (256, 256),
    19: (512, 256), 21: (512, 512), 23: (512, 512), 25: (512, 512), 28: (512, 512), 30: (512, 512), 32: (512, 512), 34: (512, 512),
}  # fmt: skip
"""Index of a convolution in torchvision's `features` -> its channels (outputs, inputs)."""


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A state with the published names and shapes; the unused classifier is small."""
    rng = torch.Generator().manual_seed(0)
    state = {"classifier.0.weight": torch.zeros(2, 2), "classifier.0.bias": torch.zeros(2)}
    for index, (outputs, inputs) in CONVOLUTIONS.items():
        state[f"features.{index}.weight"] = torch.randn(outputs, inputs, 3, 3, generator=rng) * (2 / (9 * inputs)) ** 0.5
        state[f"features.{index}.bias"] = torch.zeros(outputs)
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(state, path)
    return torch.load(path, weights_only=True)


def test_the_published_file_fits_and_gives_relu1_1_to_relu5_1(published):
    maps = vgg19(published)(torch.rand(2, 3, 64, 64) * 2 - 1)
    assert [tuple(m.shape[1:]) for m in maps] == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4)]
    assert all(m.min() >= 0 for m in maps)
    assert isinstance(vgg19(published).features[TAPS[-1]], torch.nn.ReLU)


def test_a_file_of_another_network_is_refused(published):
    with pytest.raises(RuntimeError, match="features.28.weight"):
        vgg19({name: value for name, value in published.items() if name != "features.28.weight"})
    with pytest.raises(RuntimeError, match="head.weight"):
        vgg19({**published, "head.weight": torch.zeros(1)})


def test_colours_are_normalised_as_for_imagenet():
    net = Vgg19()
    with torch.no_grad():
        net.get_parameter("features.0.weight").zero_()
        net.get_parameter("features.0.weight")[0, 1, 1, 1] = 1  # green
        net.get_parameter("features.0.bias").zero_()
    green = net(torch.full((1, 3, 16, 16), 1.0))[0]
    assert torch.allclose(green[0, 0, 8, 8], torch.tensor((1 - 0.456) / 0.224))


def test_the_distance_is_the_weighted_sum_of_its_layers_and_has_a_gradient(published):
    image, other = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1
    distance = PerceptualDistance(vgg19(published), l1_distance, TAP_WEIGHTS)
    assert distance(image, image).tolist() == [0, 0]

    features = [vgg19(published)(x) for x in (image, other)]
    expected = sum(w * (a - b).abs().mean((1, 2, 3)) for w, a, b in zip(TAP_WEIGHTS, *features, strict=True))
    image.requires_grad_()
    actual = distance(image, other)
    assert torch.allclose(actual, expected, rtol=1e-4)
    actual.sum().backward()
    assert image.grad is not None and image.grad.abs().max() > 0


def test_recomputed_activations_change_neither_the_distance_nor_its_gradient(published):
    image, other = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1
    results = []
    for recomputes in (False, True):
        varied = image.clone().requires_grad_()
        network = PerceptualDistance(vgg19(published), l1_distance, TAP_WEIGHTS, 2)
        network.recomputes = recomputes
        distance = network(varied, other)
        distance.sum().backward()
        assert varied.grad is not None
        results.append(torch.cat([distance.detach(), varied.grad.flatten()]))
    assert torch.equal(*results)

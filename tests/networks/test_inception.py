"""TensorFlow's Inception v3 of 2015-12-05, loaded from the file of pytorch-fid without torchvision."""

from __future__ import annotations

import pytest
import torch

from stages.networks.features.inception import FEATURES, Inception, inception, resize_as_tensorflow

CONVOLUTIONS = {
    "Conv2d_1a_3x3": (32, 3, 3, 3), "Conv2d_2a_3x3": (32, 32, 3, 3), "Conv2d_2b_3x3": (64, 32, 3, 3), "Conv2d_3b_1x1": (80, 64, 1, 1),
    "Conv2d_4a_3x3": (192, 80, 3, 3), "Mixed_5b.branch_pool": (32, 192, 1, 1), "Mixed_5c.branch5x5_2": (64, 48, 5, 5),
    "Mixed_5d.branch3x3dbl_3": (96, 96, 3, 3), "Mixed_6a.branch3x3": (384, 288, 3, 3), "Mixed_6b.branch7x7_2": (128, 128, 1, 7),
    "Mixed_6b.branch7x7dbl_5": (192, 128, 1, 7), "Mixed_6c.branch7x7dbl_2": (160, 160, 7, 1), "Mixed_6e.branch7x7_3": (192, 192, 7, 1),
    "Mixed_7a.branch7x7x3_4": (192, 192, 3, 3), "Mixed_7b.branch3x3_2a": (384, 384, 1, 3), "Mixed_7c.branch3x3dbl_1": (448, 2048, 1, 1),
    "Mixed_7c.branch_pool": (192, 2048, 1, 1),
}  # fmt: skip
"""Some convolutions of the published file and their shapes."""


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict[str, torch.Tensor]:
    """A state with the published names and shapes; random weights keep the scale of the activations."""
    rng, state = torch.Generator().manual_seed(0), {}
    for name, value in Inception().state_dict().items():
        if name.endswith("conv.weight"):
            state[name] = torch.randn(value.shape, generator=rng) * (2 / value[0].numel()) ** 0.5
        elif not name.endswith("num_batches_tracked"):
            state[name] = value
    state |= {"fc.weight": torch.zeros(1008, FEATURES), "fc.bias": torch.zeros(1008)}
    path = tmp_path_factory.mktemp("inception") / "inception.pth"
    torch.save(state, path)
    return torch.load(path, weights_only=True)


def test_the_names_and_shapes_are_those_of_the_published_file(published):
    for name, shape in CONVOLUTIONS.items():
        assert tuple(published[f"{name}.conv.weight"].shape) == shape
        assert {f"{name}.bn.{part}" for part in ("weight", "bias", "running_mean", "running_var")} <= published.keys()
    assert len([name for name in published if name.endswith("conv.weight")]) == 94
    assert sum(value.numel() for name, value in published.items() if "running" not in name and not name.startswith("fc.")) == 21_785_568


def test_the_published_file_fits_and_gives_2048_features_of_a_frame_of_any_size(published):
    network = inception(published)
    for size in ((64, 64), (70, 90)):
        features = network(torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8))
        assert features.shape == (1, FEATURES) and features.min() >= 0 and features.max() > 0


def test_a_file_of_another_network_is_refused(published):
    with pytest.raises(RuntimeError, match="Mixed_6e.branch_pool.conv.weight"):
        inception({name: value for name, value in published.items() if name != "Mixed_6e.branch_pool.conv.weight"})


def test_colours_are_scaled_as_in_the_graph():
    network, inputs = Inception(), []
    network.Conv2d_1a_3x3.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    network(torch.full((1, 3, 80, 80), 255, dtype=torch.uint8))
    assert inputs[0].shape[-2:] == (299, 299)
    assert torch.allclose(inputs[0], torch.tensor(127 / 128))


def test_average_pooling_ignores_the_padding_and_the_last_block_uses_the_maximum(published):
    network = inception(published)
    inputs: dict[str, torch.Tensor] = {}
    for name in ("Mixed_7b", "Mixed_7c"):
        block = getattr(network, name)
        block.register_forward_pre_hook(lambda module, arguments, name=name: inputs.setdefault(name, arguments[0]))
        block.branch_pool.register_forward_pre_hook(lambda module, arguments, name=name: inputs.setdefault(name + " pooled", arguments[0]))
    network(torch.randint(0, 256, (1, 3, 80, 80), dtype=torch.uint8))
    assert torch.allclose(inputs["Mixed_7b pooled"][..., 0, 0], inputs["Mixed_7b"][..., :2, :2].mean((2, 3)), atol=1e-4)
    assert torch.equal(inputs["Mixed_7c pooled"][..., 0, 0], inputs["Mixed_7c"][..., :2, :2].amax((2, 3)))


def test_resizing_is_that_of_tensorflow():
    """Computed by hand: output[i] = input[i * inputs / outputs], the last pixel is repeated, and nothing is smoothed before shrinking."""
    row = torch.tensor([0.0, 30, 60]).view(1, 1, 1, 3).expand(1, 1, 3, 3)
    assert torch.allclose(resize_as_tensorflow(row, 6)[0, 0, 0], torch.tensor([0.0, 15, 30, 45, 60, 60]))
    stripes = torch.arange(8).remainder(2).float().view(1, 1, 8, 1).expand(1, 1, 8, 8)
    assert torch.equal(resize_as_tensorflow(stripes, 4), torch.zeros(1, 1, 4, 4))
    image = torch.rand(2, 3, 20, 31)
    assert torch.allclose(resize_as_tensorflow(image, 299)[..., 0, 0], image[..., 0, 0])

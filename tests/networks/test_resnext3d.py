"""3D ResNeXt-101, loaded from a file with the structure of its authors' file."""

from __future__ import annotations

import pytest
import torch

from stages.networks.features.resnext3d import FEATURES, MEAN, ResNeXt3d, preprocess, resnext3d

SHAPES = {
    "conv1.weight": (64, 3, 7, 7, 7), "layer1.0.conv1.weight": (128, 64, 1, 1, 1), "layer1.0.downsample.0.weight": (256, 64, 1, 1, 1),
    "layer1.2.conv2.weight": (128, 4, 3, 3, 3), "layer2.0.downsample.1.running_mean": (512,), "layer2.3.conv3.weight": (512, 256, 1, 1, 1),
    "layer3.22.conv2.weight": (512, 16, 3, 3, 3), "layer4.0.conv2.weight": (1024, 32, 3, 3, 3), "layer4.2.bn3.weight": (2048,),
}  # fmt: skip
"""Some tensors of the authors' code with resnet_shortcut B and a cardinality of 32, and their shapes."""


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict:
    """A checkpoint with the structure of the authors' file; random weights keep the scale of the activations."""
    rng, state = torch.Generator().manual_seed(0), {}
    for name, value in ResNeXt3d().state_dict().items():
        if value.ndim == 5:
            value = torch.randn(value.shape, generator=rng) * (1 / value[0].numel()) ** 0.5
        if not name.endswith("num_batches_tracked"):  # the file is older than these buffers
            state[f"module.{name}"] = value
    state |= {"module.fc.weight": torch.zeros(400, FEATURES), "module.fc.bias": torch.zeros(400)}
    path = tmp_path_factory.mktemp("resnext") / "resnext.pth"
    torch.save({"arch": "resnext-101", "epoch": 1, "state_dict": state}, path)
    return torch.load(path, weights_only=True)


def test_the_names_and_shapes_are_those_of_the_authors_code(published):
    state = published["state_dict"]
    assert {name: tuple(state[f"module.{name}"].shape) for name in SHAPES} == SHAPES
    assert len([value for value in state.values() if value.ndim == 5]) == 1 + 3 * (3 + 4 + 23 + 3) + 4
    assert "module.layer1.1.downsample.0.weight" not in state


def test_sixteen_frames_give_the_mean_features_before_the_classifier(published):
    network, outputs = resnext3d(published), []
    network.layer4.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.inference_mode():
        features = network(torch.randn(1, 3, 16, 112, 112) * 50)
    assert features.shape == (1, FEATURES) and outputs[0].shape == (1, FEATURES, 1, 4, 4)
    assert torch.allclose(features, outputs[0].mean((2, 3, 4))) and features.max() > 0


def test_a_file_of_another_network_is_refused(published):
    state = {name: value for name, value in published["state_dict"].items() if "layer3.11.conv2" not in name}
    with pytest.raises(RuntimeError, match="layer3.11.conv2.weight"):
        resnext3d({"state_dict": state})


def test_frames_are_resized_to_112_pixels_and_the_mean_is_subtracted():
    resized = preprocess(torch.full((2, 3, 50, 80), 255, dtype=torch.uint8))
    assert resized.shape == (2, 3, 112, 112)
    assert torch.allclose(resized[0, :, 5, 5], 255 - torch.tensor(MEAN))

"""I3D, loaded from the file that VideoGPT publishes."""

from __future__ import annotations

import pytest
import torch

from stages.networks.features.i3d import CLASSES, FEATURES, I3d, Unit, _pool, i3d, preprocess

SHAPES = {
    "Conv3d_1a_7x7.conv3d.weight": (64, 3, 7, 7, 7), "Conv3d_2b_1x1.bn.running_var": (64,),
    "Conv3d_2c_3x3.conv3d.weight": (192, 64, 3, 3, 3), "Mixed_3b.b0.conv3d.weight": (64, 192, 1, 1, 1),
    "Mixed_3c.b2b.conv3d.weight": (96, 32, 3, 3, 3),
    "Mixed_4b.b3b.conv3d.weight": (64, 480, 1, 1, 1), "Mixed_4e.b1b.conv3d.weight": (288, 144, 3, 3, 3),
    "Mixed_4f.b0.conv3d.weight": (256, 528, 1, 1, 1), "Mixed_5c.b1a.conv3d.weight": (192, 832, 1, 1, 1),
    "logits.conv3d.weight": (400, 1024, 1, 1, 1), "logits.conv3d.bias": (400,),
}  # fmt: skip
"""Some tensors of the published file and their shapes."""


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> dict[str, torch.Tensor]:
    """A state with the published names and shapes; random weights keep the scale of the activations."""
    rng, state = torch.Generator().manual_seed(0), I3d().state_dict()
    for name, value in state.items():
        if name.endswith("conv3d.weight"):
            state[name] = torch.randn(value.shape, generator=rng) * (2 / value[0].numel()) ** 0.5
    path = tmp_path_factory.mktemp("i3d") / "i3d.pt"
    torch.save(state, path)
    return torch.load(path, weights_only=True)


def test_the_names_and_shapes_are_those_of_the_published_file(published):
    assert {name: tuple(published[name].shape) for name in SHAPES} == SHAPES
    assert len([name for name in published if name.endswith("conv3d.weight")]) == 58
    weights = sum(value.numel() for name, value in published.items() if "running" not in name and "num_batches" not in name)
    assert weights == 12_697_264


def test_sixteen_frames_give_features_and_logits(published):
    network, outputs = i3d(published), []
    network.Mixed_5c.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    with torch.inference_mode():
        features, logits = network(torch.rand(1, 3, 16, 224, 224) * 2 - 1)
    assert features.shape == (1, FEATURES) and logits.shape == (1, CLASSES)
    assert outputs[0].shape == (1, FEATURES, 2, 7, 7)
    assert torch.allclose(features, outputs[0].mean((2, 3, 4)), rtol=1e-4)
    weight, bias = published["logits.conv3d.weight"].flatten(1), published["logits.conv3d.bias"]
    assert torch.allclose(logits, features @ weight.T + bias, rtol=1e-3, atol=1e-3)


def test_a_file_of_another_network_is_refused(published):
    with pytest.raises(RuntimeError, match="Mixed_4f.b2a.conv3d.weight"):
        i3d({name: value for name, value in published.items() if name != "Mixed_4f.b2a.conv3d.weight"})


def test_padding_is_that_of_tensorflows_same():
    """Computed by hand: for 224 values, a kernel of 7 and a stride of 2, it adds 2 zeros before and 3 after."""
    unit = Unit(1, 1, 7, 2, plain=True)
    with torch.no_grad():
        unit.conv3d.weight.zero_()
        unit.conv3d.weight[0, 0, 2, 2, 2] = 1
        unit.get_parameter("conv3d.bias").zero_()
    video = torch.rand(1, 1, 16, 224, 224)
    output = unit(video)
    assert output.shape == (1, 1, 8, 112, 112) and torch.allclose(output, video[..., ::2, ::2, ::2])
    assert _pool(video, (3, 3, 3), (2, 2, 2)).shape == (1, 1, 8, 112, 112)
    assert torch.equal(_pool(video, (3, 3, 3), (2, 2, 2))[0, 0, 0, 0, 0], video[0, 0, :3, :3, :3].max())
    assert _pool(video[..., :27, :27], (2, 2, 2), (2, 2, 2)).shape == (1, 1, 8, 14, 14)


def test_frames_are_resized_to_224_pixels_and_scaled_to_minus_one_to_one():
    frames = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 3, 50, 80)
    assert preprocess(frames).shape == (2, 3, 224, 224)
    assert torch.allclose(preprocess(frames)[:, 0, 0, 0], torch.tensor([-1.0, 1.0]))

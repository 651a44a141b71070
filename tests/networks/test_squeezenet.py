"""SqueezeNet, the fixed network whose features the perceptual loss and the perceptual metric compare."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import skimage.data
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from stages.models.perceptual import PerceptualDistance, choose_distance
from stages.networks.features.squeezenet import TAPS, WEIGHTS, WEIGHTS_11, SqueezeNet, SqueezeNet11, squeezenet, squeezenet11, unit_distance
from weights import registry

CATS, CUPS = {281, 282, 285}, {504, 505, 967, 968}  # ImageNet class ids


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    if not registry.available(WEIGHTS):
        pytest.skip(f"{WEIGHTS} is neither cached nor in FSV2V_WEIGHTS_MIRROR")
    return load_file(registry.path(WEIGHTS))


@pytest.fixture(scope="module")
def network(state: dict[str, Tensor]) -> SqueezeNet:
    return squeezenet(state)


def as_tensor(photo: np.ndarray, side: int = 227) -> Tensor:
    """The middle square of an image, [1, 3, side, side] in [-1, 1]."""
    image = torch.from_numpy(photo.copy()).movedim(-1, 0)[None].float() / 127.5 - 1
    square = min(image.shape[-2:])
    top, left = (image.shape[-2] - square) // 2, (image.shape[-1] - square) // 2
    return F.interpolate(image[..., top : top + square, left : left + square], (side, side), mode="area")


@pytest.mark.parametrize(("photo", "classes"), [("chelsea", CATS), ("coffee", CUPS)])
def test_the_network_recognises_photographs(state, network, photo, classes):
    deepest = network(as_tensor(getattr(skimage.data, photo)()))[-1]
    scores = F.conv2d(deepest, state["classifier.1.weight"].float(), state["classifier.1.bias"].float()).relu().mean((2, 3))
    assert scores.argmax().item() in classes


def test_features_have_six_depths_and_falling_resolution(network):
    shapes = [tuple(features.shape[1:]) for features in network(torch.zeros(2, 3, 256, 192))]
    assert len(shapes) == len(TAPS)
    assert shapes == [(96, 125, 93), (128, 62, 46), (256, 62, 46), (384, 31, 23), (512, 31, 23), (512, 15, 11)]


def test_the_distance_is_zero_for_equal_images_symmetric_and_grows_with_blur(network):
    sharp = as_tensor(skimage.data.astronaut(), 128)
    slightly_blurred, blurred = (F.interpolate(F.avg_pool2d(sharp, n), (128, 128), mode="bilinear") for n in (2, 8))
    distance = PerceptualDistance(network, unit_distance)
    assert distance(sharp, sharp).item() == 0
    assert distance(sharp, slightly_blurred).item() == pytest.approx(distance(slightly_blurred, sharp).item())
    assert 0 < distance(sharp, slightly_blurred).item() < distance(sharp, blurred).item()


def test_gradients_reach_the_image_and_not_the_weights(network):
    image = as_tensor(skimage.data.astronaut(), 64).requires_grad_()
    PerceptualDistance(network, unit_distance)(image, torch.zeros(1, 3, 64, 64)).sum().backward()
    assert image.grad is not None and torch.isfinite(image.grad).all() and image.grad.abs().sum() > 0
    assert all(p.grad is None for p in network.parameters())


def test_bfloat16_autocast_gives_nearly_the_same_distance(network):
    a, b = as_tensor(skimage.data.astronaut(), 128), as_tensor(skimage.data.chelsea(), 128)
    distance = PerceptualDistance(network, unit_distance)
    exact = distance(a, b).item()
    with torch.autocast("cpu", torch.bfloat16):
        half = distance(a, b).item()
    assert half == pytest.approx(exact, rel=0.02)


def test_a_missing_tensor_is_named(state):
    with pytest.raises(RuntimeError, match="features.0.weight"):
        squeezenet({name: value for name, value in state.items() if name != "features.0.weight"})


def test_an_image_too_small_for_features_is_refused(network):
    with pytest.raises(ValueError, match="32 pixels"):
        network(torch.zeros(1, 3, 31, 256))


FIRES_11 = {3: (64, 16, 64), 4: (128, 16, 64), 6: (128, 32, 128), 7: (256, 32, 128), 9: (256, 48, 192), 10: (384, 48, 192),
            11: (384, 64, 256), 12: (512, 64, 256)}  # fmt: skip
"""Index of a fire module in torchvision's `features` of SqueezeNet 1.1 -> its channels (inputs, squeezed, expanded)."""


@pytest.fixture
def random_weights_11() -> dict[str, Tensor]:
    """Random weights with the names and shapes of torchvision's file."""
    state = {"features.0.weight": torch.randn(64, 3, 3, 3), "features.0.bias": torch.zeros(64)}
    for index, (inputs, squeezed, expanded) in FIRES_11.items():
        shapes = {"squeeze": (squeezed, inputs, 1, 1), "expand1x1": (expanded, squeezed, 1, 1), "expand3x3": (expanded, squeezed, 3, 3)}
        for name, shape in shapes.items():
            state[f"features.{index}.{name}.weight"] = torch.randn(shape) * 0.1
            state[f"features.{index}.{name}.bias"] = torch.zeros(shape[0])
    return {**state, "classifier.1.weight": torch.zeros(1000, 512, 1, 1), "classifier.1.bias": torch.zeros(1000)}


class TestSqueezeNet11:
    def test_torchvisions_file_fits_and_gives_the_maps_of_lpips(self, random_weights_11, tmp_path):
        torch.save(random_weights_11, tmp_path / WEIGHTS_11)
        network = squeezenet11(torch.load(tmp_path / WEIGHTS_11, weights_only=True))
        maps = network(torch.rand(2, 3, 256, 256) * 2 - 1)
        assert [tuple(features.shape[1:]) for features in maps] == [
            (64, 127, 127), (128, 63, 63), (256, 31, 31), (384, 15, 15), (384, 15, 15), (512, 15, 15), (512, 15, 15)
        ]  # fmt: skip

    def test_colours_are_normalised_as_in_torchvision(self):
        network = SqueezeNet11()
        with torch.no_grad():
            network.get_parameter("features.0.weight").zero_()
            network.get_parameter("features.0.weight")[0, 1, 1, 1] = 1  # green
            network.get_parameter("features.0.bias").zero_()
        assert network(torch.ones(1, 3, 32, 32))[0][0, 0, 3, 3] == pytest.approx((1 - 0.456) / 0.224)

    def test_a_file_of_another_network_is_refused(self, state):
        with pytest.raises(RuntimeError, match="features"):
            squeezenet11(state)

    @pytest.mark.parametrize(
        ("available", "chosen"), [((), "none"), ((WEIGHTS_11,), "squeezenet-1.1"), ((WEIGHTS, WEIGHTS_11), "squeezenet")]
    )
    def test_auto_chooses_the_best_available_network(self, available, chosen, tmp_path, monkeypatch):
        sums = {name: hashlib.sha256(name.encode()).hexdigest() for name in available}
        for name in available:
            (tmp_path / name).write_bytes(name.encode())
        known = registry.manifest().items()
        offline = {name: replace(entry, sha256=(sums[name],) if name in sums else entry.sha256, url="") for name, entry in known}
        monkeypatch.setattr(registry, "manifest", lambda: offline)
        monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(tmp_path))
        monkeypatch.setenv("FSV2V_WEIGHTS", str(tmp_path / "cache"))
        assert choose_distance("auto") == chosen and choose_distance("vgg19") == "vgg19"

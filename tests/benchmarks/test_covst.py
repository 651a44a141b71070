"""COVST, a baseline of vid2vid's table 1: features are warped and blended, and the mask learns without a discriminator."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from by_loops import convolve, sample_bilinear
from torch import Tensor

from stages.clip import Clip, Producer, create_clip, open_clip
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.models import load_model, save_model
from stages.networks.common.discriminator_inputs import History
from stages.networks.common.frame import Frame
from stages.networks.common.inference import InferenceOptions, Renderer
from stages.networks.common.objective import LossWeights, Target
from stages.networks.families import find
from stages.networks.pix2pixhd.config import Pix2PixHDConfig
from stages.networks.pix2pixhd.generator import Pix2PixHD

PAPERS = Path(__file__).resolve().parents[2] / "benchmarks" / "papers"
LABELS, SIZE = 3, (32, 32)


@pytest.fixture(scope="module", autouse=True)
def baselines() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PAPERS))
        yield import_module("baselines")


def tiny_config() -> Any:
    return import_module("baselines").CovstConfig(semantic_channels=LABELS + 2, size=SIZE, filters=4, downs=2, blocks=1, mask_filters=2)


def build_network() -> Any:
    """A network whose masks have values between 0 and 1."""
    torch.manual_seed(0)
    network: Any = find("covst").build(tiny_config()).eval()
    with torch.no_grad():
        for parameter in network.mask.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return network


def labels(seed: int) -> Tensor:
    """Random label maps in blocks of 4x4 pixels, one-hot, [1, LABELS, H, W]."""
    rng = torch.Generator().manual_seed(seed)
    ids = torch.randint(LABELS, (1, SIZE[0] // 4, SIZE[1] // 4), generator=rng).repeat_interleave(4, 1).repeat_interleave(4, 2)
    return torch.nn.functional.one_hot(ids, LABELS).permute(0, 3, 1, 2).float()


def driving_frame(seed: int, flow: Tensor | None = None) -> Frame:
    """A driving frame with random labels. Without `flow`, its flow is random and smooth."""
    rng = torch.Generator().manual_seed(seed + 100)
    smooth = torch.nn.functional.interpolate(torch.randn(1, 2, 4, 4, generator=rng) * 4, SIZE, mode="bicubic")
    return Frame(torch.cat([labels(seed), smooth if flow is None else flow], 1), torch.zeros(1, 0, 3))


def blend_by_loops(network: Any, own: Tensor, before: Tensor, flow: Tensor) -> Tensor:
    """Fo [C, h, w] from F_t, Fo_{t-1} and the flow in pixels of the image, one position after the other.

    The centre of feature i is the pixel 4 i; the flow there is a mean of its neighbours, with the weights of two 3x3 means.
    """
    moved = torch.zeros_like(own)
    for i in range(own.shape[1]):
        for j in range(own.shape[2]):
            dx, dy = (float(value) / 4 for value in mean_flow(flow, i, j))
            moved[:, i, j] = sample_bilinear(before, j + dx, i + dy)
    x = (own - moved).abs()
    for layer in network.mask[:-1:2]:
        x = convolve(x, layer).clamp(min=0)
    mask = 1 / (1 + torch.exp(-convolve(x, network.mask[-1])))
    return (1 - mask) * own + mask * moved


def mean_flow(flow: Tensor, i: int, j: int) -> Tensor:
    """The flow [2] at feature (i, j): two 3x3 means of the flow [2, H, W], each at half the size."""

    def halve(values: Any, row: int, column: int, height: int, width: int) -> Tensor:
        near = [(y, x) for y in range(2 * row - 1, 2 * row + 2) for x in range(2 * column - 1, 2 * column + 2)]
        inside = [values(y, x) for y, x in near if 0 <= y < height and 0 <= x < width]
        return torch.stack(inside).mean(0)

    height, width = flow.shape[1:]
    finer = lambda y, x: halve(lambda v, u: flow[:, v, u], y, x, height, width)  # noqa: E731
    return halve(finer, i, j, height // 2, width // 2)


def test_features_and_gradients_over_three_frames_are_those_of_a_loop():
    network = build_network().double()
    frames = [driving_frame(t) for t in range(3)]
    frames = [replace(frame, semantic=frame.semantic.double()) for frame in frames]
    past: Frame | None = None
    expected = network.encode(frames[0].semantic[:, :LABELS])[0]
    for t, driving in enumerate(frames):
        synthesis = network.synthesize(None, driving, past)
        past = network.remember(driving, synthesis, past)
        if t > 0:
            own = network.encode(driving.semantic[:, :LABELS])[0]
            expected = blend_by_loops(network, own, expected, driving.semantic[0, LABELS:])
        assert torch.allclose(synthesis.state[0][0], expected, atol=1e-5)
        assert torch.allclose(synthesis.frame, torch.tanh(network.to_image(decode(network, expected[None]))).float(), atol=1e-5)

    weight = torch.linspace(-1, 1, expected.numel(), dtype=torch.double).view_as(expected)
    parameters = list(network.mask.parameters())
    actual_gradients, expected_gradients = (torch.autograd.grad((x * weight).sum(), parameters) for x in (synthesis.state[0][0], expected))
    for actual, expected_gradient in zip(actual_gradients, expected_gradients, strict=True):
        assert expected_gradient.abs().max() > 1e-3 and torch.allclose(actual, expected_gradient, rtol=1e-3, atol=1e-4)


def decode(network: Any, features: Tensor) -> Tensor:
    """The features after the second part of the network of pix2pixHD."""
    for layer in list(network.coarse)[network.split_index :]:
        features = layer(features)
    return features


def test_with_a_mask_of_zero_each_frame_is_that_of_pix2pixhd():
    network = build_network()
    with torch.no_grad():
        network.mask[-1].weight.zero_()
        network.mask[-1].bias.fill_(-200.0)
        stylizer = Pix2PixHD(Pix2PixHDConfig(semantic_channels=LABELS, size=SIZE, filters=4, downs=2, blocks=1)).eval()
        stylizer.load_state_dict({name: value for name, value in network.state_dict().items() if not name.startswith("mask")})
        past: Frame | None = None
        for t in range(3):
            frame, past = network.step(None, driving_frame(t), past)
            alone = stylizer.synthesize(stylizer.encode_examples(None), Frame(labels(t), torch.zeros(1, 0, 3))).frame
            assert torch.allclose(frame, alone, atol=1e-5)


def test_frames_of_a_still_video_are_all_the_same():
    network, still = build_network(), driving_frame(0, torch.zeros(1, 2, *SIZE))
    with torch.no_grad():
        first, past = network.step(None, still)
        second, _ = network.step(None, still, past)
    assert torch.allclose(first, second, atol=1e-5)


def test_a_flow_of_four_pixels_moves_features_by_one_position():
    network = build_network()
    flow = torch.zeros(1, 2, *SIZE)
    flow[:, 0] = 4.0
    assert torch.equal(network.shrink_flow(flow)[:, 0], torch.ones(1, 8, 8)) and not network.shrink_flow(flow)[:, 1].any()
    ramp = torch.arange(32.0).expand(1, 2, 32, 32)  # the flow at the centre of feature i, pixel 4 i, is 4 i
    assert torch.equal(network.shrink_flow(ramp)[..., 1:], torch.arange(1.0, 8).expand(1, 2, 8, 7))


def test_a_given_previous_frame_is_encoded_from_its_label_map():
    network = build_network()
    with torch.no_grad():
        _, past = network.step(None, driving_frame(0))
        given = replace(driving_frame(0), image=torch.zeros(1, 3, *SIZE))
        assert torch.equal(network.step(None, driving_frame(1), past)[0], network.step(None, driving_frame(1), given)[0])


# training


def test_only_the_mask_learns_and_by_the_two_terms_of_the_paper():
    network = build_network().train()
    first = network.synthesize(None, driving_frame(0))
    synthesis = network.synthesize(None, driving_frame(1), network.remember(driving_frame(0), first, None))
    flow, consistent = (
        driving_frame(1).semantic[:, LABELS:],
        (torch.rand(1, 1, *SIZE, generator=torch.Generator().manual_seed(0)) > 0.5).float(),
    )
    target = Target(replace(driving_frame(1), image=torch.zeros(1, 3, *SIZE)), driving_frame(1), flow, consistent)
    terms = find("covst").objective(synthesis, target, LossWeights(), None, None, History([first.frame], [first.frame], []))
    coherence = fidelity = 0.0
    frame, before, alone = (image.detach()[0] for image in (synthesis.frame, first.frame, synthesis.raw))
    for i in range(SIZE[0]):
        for j in range(SIZE[1]):
            moved = sample_bilinear(before, j + float(flow[0, 0, i, j]), i + float(flow[0, 1, i, j]))
            sure = float(consistent[0, 0, i, j])
            coherence += sure * float((frame[:, i, j] - moved).square().sum())
            fidelity += (1 - sure) * float((frame[:, i, j] - alone[:, i, j]).square().sum())
    count = 3 * SIZE[0] * SIZE[1]
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {"coherence": 5 * coherence / count, "fidelity": fidelity / count}, rel=1e-4
    )
    torch.stack(list(terms.values())).sum().backward()
    assert {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.any()} == {"mask"}


def test_the_weights_of_a_pix2pixhd_fit_all_but_the_mask():
    stylizer = Pix2PixHD(Pix2PixHDConfig(semantic_channels=LABELS, size=SIZE, filters=4, downs=2, blocks=1)).state_dict()
    own = build_network().state_dict()
    assert {name: value.shape for name, value in own.items() if not name.startswith("mask")} == {
        name: value.shape for name, value in stylizer.items()
    }


def test_a_saved_covst_is_loaded_and_its_fast_form_renders_the_same_video(tmp_path: Path):
    network = build_network()
    save_model(tmp_path / "baseline.safetensors", network.state_dict(), tiny_config(), {"step": 0})
    assert load_model(tmp_path / "baseline.safetensors").config == tiny_config()
    renderer = Renderer(network, InferenceOptions("fp32"))
    fast_past: Frame | None = None
    exact_past: Frame | None = None
    for t in range(3):
        frame, fast_past = renderer.step(None, driving_frame(t), fast_past)
        with torch.no_grad():
            other, exact_past = network.step(None, driving_frame(t), exact_past)
        assert torch.allclose(frame, other, atol=1e-4)


def test_a_covst_with_enhancers_is_refused():
    with pytest.raises(ValueError, match="cannot have enhancers"):
        find("covst").build(replace(tiny_config(), enhancers=1))


# the driving kind


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """A texture that moves three pixels to the right and one up in each frame, in front of a label map."""
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (96, 128, 3)).astype(np.float32), (0, 0), 1.5)
    texture = np.clip((texture - texture.mean()) * 6 + 128, 0, 255).astype(np.uint8)
    frames = (texture[16 + t : 80 + t, 32 - 3 * t : 96 - 3 * t] for t in range(3))
    clip = open_clip(create_clip(tmp_path_factory.mktemp("street") / "street.clip", frames, fps=Fraction(17), storage="png").path)
    meta = {"table": "camvid", "names": ["sky", "road"], "palette": [[0, 0, 0], [9, 9, 9]], "ids": [0, 1]}
    with clip.writing("segment", Producer("test", "test", {}), {}, meta) as layer:
        for _ in range(3):
            layer.image(np.repeat([[0], [1]], 32, 0).repeat(64, 1).astype(np.uint8))
    return open_clip(clip.path)


def test_the_flow_points_from_each_frame_to_the_previous_one_in_pixels_of_the_view(street: Clip):
    track = open_track(street, "segment+flow")
    whole, half = View.scaled(64, 64, 64, 64), View.scaled(64, 64, 32, 32)
    assert track.channels == 4 and not track.semantic(0, whole)[2:].any()
    for view, share in ((whole, 1.0), (half, 0.5)):
        planes = track.semantic(2, view)
        assert planes.dtype == np.float32 and np.array_equal(planes[:2], open_track(street, "segment").semantic(2, view))
        assert np.allclose(np.median(planes[2:], (1, 2)), (-3 * share, share), atol=0.15)


def test_a_mirrored_view_mirrors_the_flow(street: Clip):
    track = open_track(street, "segment+flow")
    mirrored = replace(View.scaled(64, 64, 64, 64), matrix=np.array([[-1.0, 0, 63], [0, 1, 0]]))
    assert mirrored.mirrored and np.allclose(np.median(track.semantic(1, mirrored)[2:], (1, 2)), (3, 1), atol=0.15)

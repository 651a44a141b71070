"""vid2vid (2018): equations 4 and 9, the past of each scale, coarse-to-fine training, and the dimensions of the public code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from by_loops import sample_bilinear
from torch import Tensor

from stages.errors import InputError, UsageError
from stages.models import load_model, save_model
from stages.networks import families
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator, Synthesis
from stages.networks.common.inference import InferenceOptions, Precision, Renderer
from stages.networks.common.residual import MIN_WINOGRAD_CHANNELS, AffineInstanceNorm, Conv3x3, half_size
from stages.networks.vid2vid import PRESETS, Vid2Vid, Vid2VidConfig
from stages.networks.vid2vid.generator import Past

TINY = PRESETS["tiny-vid2vid"]
WITH_FOREGROUND = replace(TINY, foreground=(1, 3))
CITYSCAPES_CHANNELS = 36
"""Channels of s_t: the labels of Cityscapes and the edges between instances."""


def make_network(config: Vid2VidConfig = TINY, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return Vid2Vid(config).eval()


def random_frame(config: Vid2VidConfig = TINY, seed: int = 0, batch: int = 1, size: tuple[int, int] | None = None) -> Frame:
    """A frame with a one-hot label map of random 8x8 blocks and a random image."""
    rng = torch.Generator().manual_seed(seed)
    height, width = size or config.size
    labels = torch.randint(config.semantic_channels, (batch, height // 8, width // 8), generator=rng)
    labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
    semantic = torch.nn.functional.one_hot(labels, config.semantic_channels).permute(0, 3, 1, 2).float()
    return Frame(semantic, torch.zeros(batch, 0, 3), torch.rand(batch, 3, height, width, generator=rng) * 2 - 1)


def make_frames(network: Generator | Renderer, count: int) -> tuple[list[Tensor], list[Any]]:
    """`count` frames, and the past after each of them."""
    past: Frame | None = None
    frames, pasts = [], []
    with torch.no_grad():
        for t in range(count):
            frame, past = network.step(network.encode_examples(None), replace(random_frame(seed=t), image=None), past)
            frames.append(frame)
            pasts.append(past)
    return frames, pasts


# dimensions


@pytest.mark.parametrize(
    ("preset", "foreground", "millions", "gmac"),
    [
        ("vid2vid-street-512", False, 365.3, 910),
        ("vid2vid-street-512", True, 365.3 + 45.9, 910 + 147),
        ("vid2vid-street-1024", False, 365.3 + 2.44, 910 + 468),
        ("vid2vid-street-2048", True, 415, 2530),
    ],
)
def test_the_presets_have_the_size_and_cost_of_the_public_code(preset, foreground, millions, gmac):
    from torch.utils.flop_counter import FlopCounterMode

    config = replace(PRESETS[preset], semantic_channels=CITYSCAPES_CHANNELS, foreground=(26,) if foreground else ())
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = Vid2Vid(config)
        frame = Frame(torch.zeros(1, CITYSCAPES_CHANNELS, *config.size), torch.zeros(1, 0, 3), torch.zeros(1, 3, *config.size))
        network.synthesize(network.encode_examples(None), frame, frame)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmac, rel=0.01)


# the renderer


@pytest.mark.parametrize("size", [(8, 12), (7, 9)])
def test_winograds_algorithm_computes_the_same_convolution(size):
    torch.manual_seed(0)
    layer, x = Conv3x3(MIN_WINOGRAD_CHANNELS, MIN_WINOGRAD_CHANNELS + 1), torch.randn(2, MIN_WINOGRAD_CHANNELS, *size)
    with torch.no_grad():
        direct = layer(x)
        layer.fold()
        layer.fold()  # a second call changes nothing
        assert layer.weight.shape == (16, MIN_WINOGRAD_CHANNELS, MIN_WINOGRAD_CHANNELS + 1)
        torch.testing.assert_close(layer(x), direct, rtol=0, atol=1e-5)


def test_narrow_convolutions_stay_unchanged():
    layer = Conv3x3(8, 8)
    layer.fold()
    assert layer.weight.shape == (8, 8, 3, 3)


@pytest.mark.parametrize(
    "config", [TINY, WITH_FOREGROUND, replace(WITH_FOREGROUND, motion=False)], ids=["plain", "foreground", "no motion"]
)
def test_the_renderer_skips_empty_label_maps_and_makes_the_same_frames(config):
    network = make_network(config)
    driving = random_frame(config)
    used_labels = driving.semantic[:, 2:4]
    driving = replace(driving, semantic=torch.cat([0 * driving.semantic[:, :2], used_labels, 0 * driving.semantic[:, 4:]], 1), image=None)
    renderer, past = Renderer(network, InferenceOptions("fp32")), None
    with torch.no_grad():
        for _ in range(3):
            actual, _ = renderer.step(renderer.encode_examples(None), driving, past)
            expected, past = network.step(network.encode_examples(None), driving, past)
            torch.testing.assert_close(actual, expected, rtol=0, atol=1e-4)


# equations 4 and 9


def compose_by_loops(before: Tensor, flow: Tensor, mask: Tensor, background: Tensor, foreground: Tensor, foreground_mask: Tensor) -> Tensor:
    """Equation 9 for one image, pixel by pixel. foreground_mask is 1 - m_B."""
    height, width = before.shape[-2:]
    rows = []
    for y in range(height):
        pixels = []
        for x in range(width):
            warped = sample_bilinear(before, x + float(flow[0, y, x]), y + float(flow[1, y, x]))
            painted = foreground_mask[0, y, x] * foreground[:, y, x] + (1 - foreground_mask[0, y, x]) * background[:, y, x]
            pixels.append((1 - mask[0, y, x]) * warped + mask[0, y, x] * painted)
        rows.append(torch.stack(pixels, 1))
    return torch.stack(rows, 1)


@pytest.mark.parametrize("foreground", [(), (1, 3)])
def test_a_frame_and_its_gradients_are_those_of_equation_9_or_without_foreground_equation_4(foreground):
    config = replace(TINY, size=(32, 32), enhancers=0, foreground=foreground)
    network = make_network(config).double()
    driving, past = random_frame(config, 1), random_frame(config, 2)
    driving, past = replace(driving, semantic=driving.semantic.double()), past.map(Tensor.double)
    before = past.required_image.requires_grad_(True)
    output = network.synthesize(network.encode_examples(None), driving, past)
    assert output.previous is not None and output.previous_mask is not None

    features = network.scales[0](torch.cat([driving.semantic, past.semantic, past.semantic], 1), torch.cat([before, 0 * before], 1), None)
    heads = network.scales[0].heads
    background = torch.tanh(heads.image(features.image).float())
    foreground_mask = driving.semantic[:, list(foreground)].sum(1, keepdim=True)
    painted = torch.tanh(heads.foreground(features.foreground).float()) if foreground else background
    flow, mask = output.previous.flow.detach(), output.previous_mask.detach()
    expected = compose_by_loops(before[0], flow[0], mask[0], background[0], painted[0], foreground_mask[0])
    assert torch.allclose(output.frame[0].double(), expected, atol=1e-5)

    weight = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(3)).double()
    parameters = [heads.image.weight, heads.foreground.weight if foreground else heads.image.bias]
    gradients = torch.autograd.grad((output.frame[0] * weight).sum(), parameters, retain_graph=True)
    references = torch.autograd.grad((expected * weight).sum(), parameters)
    for gradient, reference in zip(gradients, references, strict=True):
        assert torch.allclose(gradient, reference, rtol=1e-3, atol=1e-4)


def test_in_a_frame_without_foreground_equation_9_is_equation_4():
    network, without_foreground = make_network(WITH_FOREGROUND), make_network()
    without_foreground.load_state_dict({name: value for name, value in network.state_dict().items() if "foreground" not in name})
    driving = random_frame(seed=1)
    driving.semantic[:, [1, 3]] = 0
    one, other = (net.synthesize(net.encode_examples(None), driving, random_frame(seed=2)) for net in (network, without_foreground))
    assert torch.equal(one.frame, other.frame) and torch.equal(one.raw, other.raw)


def test_the_foreground_network_sees_labels_alone_and_learns_from_the_foreground_alone():
    network = make_network(WITH_FOREGROUND)
    driving = random_frame(WITH_FOREGROUND, 1)
    mask = driving.semantic[:, [1, 3]].sum(1, keepdim=True)
    one, other = (
        network.synthesize(network.encode_examples(None), driving, replace(random_frame(WITH_FOREGROUND, 2), image=x))
        for x in random_images(2)
    )
    assert torch.allclose(one.raw * mask, other.raw * mask) and not torch.allclose(one.raw, other.raw)
    (one.frame * (1 - mask)).sum().backward()
    assert all(p.grad is None or not p.grad.any() for name, p in network.named_parameters() if name.startswith("scales.1.heads.foreground"))


def random_images(count: int) -> list[Tensor]:
    return [random_frame(seed=40 + i).required_image for i in range(count)]


def test_the_composite_of_the_public_code_never_warps_the_foreground():
    paper, public_code = make_network(WITH_FOREGROUND), make_network(replace(WITH_FOREGROUND, composite="after"))
    public_code.load_state_dict(paper.state_dict())
    driving, past = random_frame(WITH_FOREGROUND, 1), random_frame(WITH_FOREGROUND, 2)
    mask = driving.semantic[:, [1, 3]].sum(1, keepdim=True)
    as_paper, as_code = (net.synthesize(net.encode_examples(None), driving, past) for net in (paper, public_code))
    assert torch.allclose(as_code.frame * mask, as_code.raw * mask, atol=1e-6)
    assert torch.allclose(as_paper.frame * (1 - mask), as_code.frame * (1 - mask), atol=1e-6)
    assert not torch.allclose(as_paper.frame, as_code.frame)


# the past


def test_a_frame_depends_on_the_two_frames_before_it():
    network = make_network()
    frames, pasts = make_frames(network, 4)
    past = pasts[3]
    assert isinstance(past, Past)
    newest, before = past.frames()
    assert torch.equal(newest.required_image, frames[3]) and torch.equal(before.required_image, frames[2])
    driving = replace(random_frame(seed=9), image=None)
    unchanged = network.step(None, driving, past)[0]
    for changed in (replace(past, image=-frames[3]), replace(past, older=replace(before, image=-frames[2]))):
        assert not torch.equal(network.step(None, driving, changed)[0], unchanged)


def test_every_scale_continues_its_own_images():
    network = make_network()
    _, pasts = make_frames(network, 2)
    driving = replace(random_frame(seed=9), image=None)
    with_own_past = network.synthesize(None, driving, pasts[1])
    with_halved_past = network.synthesize(None, driving, replace(pasts[1], coarser=(half_size(pasts[1].required_image),)))
    assert pasts[1].coarser[0].shape == (1, 3, 32, 32) and not torch.equal(pasts[1].coarser[0], half_size(pasts[1].required_image))
    assert not torch.equal(with_own_past.coarser[0], with_halved_past.coarser[0])


def test_the_past_of_a_coarser_scale_is_the_real_frame_at_half_the_size():
    network = make_network()
    real = random_frame(seed=5)
    past = network.remember(real, Synthesis(real.required_image, real.required_image), None)
    assert torch.equal(past.required_image, real.required_image) and torch.equal(past.coarser[0], half_size(real.required_image))
    assert torch.equal(network.step(None, random_frame(), past)[0], network.step(None, random_frame(), real)[0])


def test_the_first_frame_is_synthesized_without_a_warp():
    output = make_network().synthesize(None, random_frame(), None)
    assert output.previous is None and torch.equal(output.frame, output.raw) and output.frame.abs().max() <= 1


def test_the_gradient_of_the_first_frame_does_not_explode():
    """The past images are zeros, and so are all features of their encoder until its biases have learned something, the last ones first.

    An instance norm of constants multiplies the gradient by up to 300, and there are two in each residual block.
    """
    network = make_network(replace(TINY, blocks=12))
    with torch.no_grad():
        for module in network.scales[0].past[-5:].modules():
            if isinstance(module, AffineInstanceNorm):
                module.bias.normal_(std=0.1)
    network.synthesize(network.encode_examples(None), random_frame(network.config)).frame.square().mean().backward()
    norms = {name: weight.grad.norm() for name, weight in network.named_parameters() if weight.grad is not None}
    assert torch.stack(list(norms.values())).norm() < 10
    assert norms["scales.0.labels.0.weight"] > 0


def test_without_motion_frames_are_not_warped_but_depend_on_the_past():
    network = make_network(replace(TINY, motion=False))
    one, other = (network.synthesize(None, random_frame(), replace(random_frame(seed=2), image=x)) for x in random_images(2))
    assert one.previous is None and torch.equal(one.frame, one.raw) and not torch.equal(one.frame, other.frame)


def test_cast_and_map_apply_to_every_frame_of_the_past():
    _, pasts = make_frames(make_network(), 3)
    packed, grey = (past.cast(torch.bfloat16) for past in (pasts[2], pasts[2].map(lambda x: x / 2)))
    assert [frame.semantic.dtype for frame in packed.frames()] == [torch.bool] * 2, "label maps stay packed"
    assert [frame.semantic.dtype for frame in grey.frames()] == [torch.bfloat16] * 2
    assert [frame.required_image.dtype for frame in grey.frames()] == [torch.float32] * 2
    doubled = pasts[2].map(lambda x: x * 2)
    for after, before in zip(doubled.frames(), pasts[2].frames(), strict=True):
        assert torch.equal(after.required_image, 2 * before.required_image) and torch.equal(after.coarser[0], 2 * before.coarser[0])


# coarse to fine


def test_frames_of_half_the_size_are_made_by_the_coarse_scale_alone():
    network = make_network(WITH_FOREGROUND).train()
    small = random_frame(WITH_FOREGROUND, size=(32, 32))
    network.synthesize(None, small, random_frame(WITH_FOREGROUND, 1, size=(32, 32))).frame.sum().backward()
    scales_with_gradient = {name.split(".")[1] for name, p in network.named_parameters() if p.grad is not None}
    assert scales_with_gradient == {"0"}
    coarse = make_network(replace(WITH_FOREGROUND, size=(32, 32), enhancers=0))
    coarse.load_state_dict({name: value for name, value in network.state_dict().items() if name.startswith("scales.0")})
    assert torch.equal(coarse.synthesize(None, small).frame, network.eval().synthesize(None, small).frame)


def test_every_weight_of_the_finest_scale_and_of_the_features_below_it_gets_a_gradient():
    network = make_network(WITH_FOREGROUND).train()
    network.synthesize(None, random_frame(WITH_FOREGROUND), random_frame(WITH_FOREGROUND, 1)).frame.square().mean().backward()
    without_gradient = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    assert {name for name in without_gradient if not name.startswith("scales.0.heads") and not name.endswith(".bias")} == set()


def test_the_samples_of_a_batch_are_independent():
    network = make_network(WITH_FOREGROUND)
    driving, past = random_frame(WITH_FOREGROUND, 1, batch=2), random_frame(WITH_FOREGROUND, 2, batch=2)
    both = network.synthesize(None, driving, past).frame
    alone = network.synthesize(None, driving.map(lambda x: x[1:]), past.map(lambda x: x[1:])).frame
    assert torch.allclose(both[1:], alone, atol=1e-3)


# half precision and packed label maps


def test_the_renderer_makes_the_same_video():
    network = make_network(WITH_FOREGROUND)
    expected, _ = make_frames(network, 4)
    precisions: list[tuple[Precision, float]] = [("fp32", 1e-4), ("bf16", 0.03)]
    for precision, tolerance in precisions:
        renderer = Renderer(network, InferenceOptions(precision))
        actual, pasts = make_frames(renderer, 4)
        assert max((a - b).abs().mean() for a, b in zip(expected[:2], actual[:2], strict=True)) < tolerance
        assert len(list(pasts[3].frames())) == TINY.past_frames


@pytest.mark.parametrize("degenerate", [False, True])
def test_past_label_maps_take_a_quarter_of_the_memory_and_change_no_frame(degenerate, monkeypatch):
    """Also if half precision fails and frames are made again in fp32."""
    network = make_network(WITH_FOREGROUND)
    monkeypatch.setattr("stages.networks.common.inference.degenerate", lambda frame, raw: degenerate)
    videos: list[list[torch.Tensor]] = []
    for packed in (True, False):
        if not packed:
            monkeypatch.setattr(Frame, "packed", lambda self: self)
        renderer, past = Renderer(network, InferenceOptions("bf16")), None
        videos.append([])
        for seed in range(3):
            frame, past = renderer.step(renderer.encode_examples(None), replace(random_frame(WITH_FOREGROUND, seed), image=None), past)
            videos[-1].append(frame)
            assert past.semantic.element_size() == (1 if packed else 4)
        assert renderer.fallbacks == 3 * degenerate
    assert all(torch.equal(a, b) for a, b in zip(*videos, strict=True))


def test_only_label_maps_of_zeros_and_ones_are_packed():
    frame = random_frame()
    assert torch.equal(frame.packed().cast(torch.float32).semantic, frame.semantic)
    soft = replace(frame, semantic=frame.semantic * 0.5)
    assert soft.packed() is soft


# the configuration


@pytest.mark.parametrize("foreground", [("car",), (TINY.semantic_channels,)])
def test_a_foreground_that_is_not_a_channel_is_refused(foreground, tmp_path):
    save_model(
        tmp_path / "m.safetensors", make_network(WITH_FOREGROUND).state_dict(), replace(WITH_FOREGROUND, foreground=foreground), {"step": 1}
    )
    with pytest.raises(InputError, match="foreground has no channel"):
        load_model(tmp_path / "m.safetensors")


def test_names_of_foreground_labels_become_channels():
    named = replace(TINY, foreground=("car", "person"))
    assert named.for_labels(["sky", "person", "road", "car"]).foreground == (3, 1)
    assert families.config_from_json(named.to_json()) == named
    with pytest.raises(UsageError, match="has no tram, only sky, car"):
        replace(TINY, foreground=("tram",)).for_labels(["sky", "car"])

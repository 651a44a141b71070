"""vid2vid (2018): equations 4 and 9, the past of each scale, coarse to fine, and the dimensions of the public code."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from by_loops import sampled
from torch import Tensor

from stages.errors import InputError, UsageError
from stages.models import load_model, save_model
from stages.networks import families
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator, Synthesis
from stages.networks.common.inference import Precision, Renderer, Speed
from stages.networks.common.residual import WINOGRAD_FROM, Conv3x3, half_size
from stages.networks.vid2vid import PRESETS, Vid2Vid, Vid2VidConfig
from stages.networks.vid2vid.generator import Past

TINY = PRESETS["tiny-vid2vid"]
PRIOR = replace(TINY, foreground=(1, 3))
CITYSCAPES = 36
"""The labels of the paper's data, and the edges between instances."""


def network_of(config: Vid2VidConfig = TINY, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return Vid2Vid(config).eval()


def moment(config: Vid2VidConfig = TINY, seed: int = 0, batch: int = 1, size: tuple[int, int] | None = None) -> Frame:
    """A frame with a label map of one channel for each label, and an image."""
    draw = torch.Generator().manual_seed(seed)
    height, width = size or config.size
    labels = torch.randint(config.semantic_channels, (batch, height // 8, width // 8), generator=draw)
    labels = labels.repeat_interleave(8, 1).repeat_interleave(8, 2)
    semantic = torch.nn.functional.one_hot(labels, config.semantic_channels).permute(0, 3, 1, 2).float()
    return Frame(semantic, torch.zeros(batch, 0, 3), torch.rand(batch, 3, height, width, generator=draw) * 2 - 1)


def recursion(network: Generator | Renderer, frames: int) -> tuple[list[Tensor], list[Any]]:
    """Frames, and the past after each of them."""
    past: Frame | None = None
    made, pasts = [], []
    with torch.no_grad():
        for t in range(frames):
            frame, past = network.step(network.encode_examples(None), replace(moment(seed=t), image=None), past)
            made.append(frame)
            pasts.append(past)
    return made, pasts


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
def test_it_has_the_size_and_cost_of_the_public_code(preset, foreground, millions, gmac):
    from torch.utils.flop_counter import FlopCounterMode

    config = replace(PRESETS[preset], semantic_channels=CITYSCAPES, foreground=(26,) if foreground else ())
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = Vid2Vid(config)
        frame = Frame(torch.zeros(1, CITYSCAPES, *config.size), torch.zeros(1, 0, 3), torch.zeros(1, 3, *config.size))
        network.synthesize(network.encode_examples(None), frame, frame)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)
    assert counter.get_total_flops() / 2e9 == pytest.approx(gmac, rel=0.01)


# the fast form


@pytest.mark.parametrize("size", [(8, 12), (7, 9)])
def test_winograds_form_is_the_same_convolution(size):
    torch.manual_seed(0)
    layer, x = Conv3x3(WINOGRAD_FROM, WINOGRAD_FROM + 1), torch.randn(2, WINOGRAD_FROM, *size)
    with torch.no_grad():
        plain = layer(x)
        layer.fold()
        layer.fold()  # a second call changes nothing
        assert layer.weight.shape == (16, WINOGRAD_FROM, WINOGRAD_FROM + 1)
        torch.testing.assert_close(layer(x), plain, rtol=0, atol=1e-5)


def test_narrow_convolutions_stay_as_they_are():
    layer = Conv3x3(8, 8)
    layer.fold()
    assert layer.weight.shape == (8, 8, 3, 3)


@pytest.mark.parametrize("config", [TINY, PRIOR, replace(PRIOR, motion=False)], ids=["plain", "foreground", "no motion"])
def test_the_fast_form_leaves_empty_maps_out_and_makes_the_same_frames(config):
    network = network_of(config)
    driving = moment(config)
    shown = driving.semantic[:, 2:4]
    driving = replace(driving, semantic=torch.cat([0 * driving.semantic[:, :2], shown, 0 * driving.semantic[:, 4:]], 1), image=None)
    fast, past = Renderer(network, Speed("fp32")), None
    with torch.no_grad():
        for _ in range(3):
            other, _ = fast.step(fast.encode_examples(None), driving, past)
            frame, past = network.step(network.encode_examples(None), driving, past)
            torch.testing.assert_close(other, frame, rtol=0, atol=1e-4)


# equations 4 and 9


def composed_by_loops(before: Tensor, flow: Tensor, mask: Tensor, background: Tensor, foreground: Tensor, front: Tensor) -> Tensor:
    """Equation 9 for one image, pixel by pixel. front is 1 - m_B."""
    height, width = before.shape[-2:]
    rows = []
    for y in range(height):
        row = []
        for x in range(width):
            moved = sampled(before, x + float(flow[0, y, x]), y + float(flow[1, y, x]))
            painted = front[0, y, x] * foreground[:, y, x] + (1 - front[0, y, x]) * background[:, y, x]
            row.append((1 - mask[0, y, x]) * moved + mask[0, y, x] * painted)
        rows.append(torch.stack(row, 1))
    return torch.stack(rows, 1)


@pytest.mark.parametrize("foreground", [(), (1, 3)])
def test_a_frame_is_equation_9_or_without_a_prior_equation_4_also_in_its_gradients(foreground):
    config = replace(TINY, size=(32, 32), enhancers=0, foreground=foreground)
    network = network_of(config).double()
    driving, past = moment(config, 1), moment(config, 2)
    driving, past = replace(driving, semantic=driving.semantic.double()), past.map(Tensor.double)
    before = past.required_image.requires_grad_(True)
    made = network.synthesize(network.encode_examples(None), driving, past)
    assert made.previous is not None and made.previous_mask is not None

    features = network.scales[0](torch.cat([driving.semantic, past.semantic, past.semantic], 1), torch.cat([before, 0 * before], 1), None)
    heads = network.scales[0].heads
    background = torch.tanh(heads.image(features.image).float())
    front = driving.semantic[:, list(foreground)].sum(1, keepdim=True)
    own = torch.tanh(heads.foreground(features.foreground).float()) if foreground else background
    flow, mask = made.previous.flow.detach(), made.previous_mask.detach()
    expected = composed_by_loops(before[0], flow[0], mask[0], background[0], own[0], front[0])
    assert torch.allclose(made.frame[0].double(), expected, atol=1e-5)

    weight = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(3)).double()
    parameters = [heads.image.weight, heads.foreground.weight if foreground else heads.image.bias]
    ours = torch.autograd.grad((made.frame[0] * weight).sum(), parameters, retain_graph=True)
    theirs = torch.autograd.grad((expected * weight).sum(), parameters)
    for got, wanted in zip(ours, theirs, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-3, atol=1e-4)


def test_where_there_is_no_foreground_equation_9_is_equation_4():
    network, plain = network_of(PRIOR), network_of()
    plain.load_state_dict({name: value for name, value in network.state_dict().items() if "foreground" not in name})
    driving = moment(seed=1)
    driving.semantic[:, [1, 3]] = 0
    ours, theirs = (net.synthesize(net.encode_examples(None), driving, moment(seed=2)) for net in (network, plain))
    assert torch.equal(ours.frame, theirs.frame) and torch.equal(ours.raw, theirs.raw)


def test_the_foreground_is_painted_from_labels_alone_and_its_network_learns_of_the_foreground_alone():
    network = network_of(PRIOR)
    driving = moment(PRIOR, 1)
    front = driving.semantic[:, [1, 3]].sum(1, keepdim=True)
    one, other = (network.synthesize(network.encode_examples(None), driving, replace(moment(PRIOR, 2), image=x)) for x in images(2))
    assert torch.allclose(one.raw * front, other.raw * front) and not torch.allclose(one.raw, other.raw)
    (one.frame * (1 - front)).sum().backward()
    assert all(p.grad is None or not p.grad.any() for name, p in network.named_parameters() if name.startswith("scales.1.heads.foreground"))


def images(count: int) -> list[Tensor]:
    return [moment(seed=40 + i).required_image for i in range(count)]


def test_the_public_codes_composite_never_warps_the_foreground():
    paper, code = network_of(PRIOR), network_of(replace(PRIOR, composite="after"))
    code.load_state_dict(paper.state_dict())
    driving, past = moment(PRIOR, 1), moment(PRIOR, 2)
    front = driving.semantic[:, [1, 3]].sum(1, keepdim=True)
    ours, theirs = (net.synthesize(net.encode_examples(None), driving, past) for net in (paper, code))
    assert torch.allclose(theirs.frame * front, theirs.raw * front, atol=1e-6)
    assert torch.allclose(ours.frame * (1 - front), theirs.frame * (1 - front), atol=1e-6)
    assert not torch.allclose(ours.frame, theirs.frame)


# the past


def test_a_frame_is_made_from_the_two_frames_before_it_and_no_earlier_one():
    network = network_of()
    made, pasts = recursion(network, 4)
    past = pasts[3]
    assert isinstance(past, Past)
    newest, before = past.frames()
    assert torch.equal(newest.required_image, made[3]) and torch.equal(before.required_image, made[2])
    next_one = replace(moment(seed=9), image=None)
    whole = network.step(None, next_one, past)[0]
    for changed in (replace(past, image=-made[3]), replace(past, older=replace(before, image=-made[2]))):
        assert not torch.equal(network.step(None, next_one, changed)[0], whole), "both count"


def test_every_scale_continues_its_own_images():
    network = network_of()
    _, pasts = recursion(network, 2)
    driving = replace(moment(seed=9), image=None)
    own = network.synthesize(None, driving, pasts[1])
    same = network.synthesize(None, driving, replace(pasts[1], coarser=(half_size(pasts[1].required_image),)))
    assert pasts[1].coarser[0].shape == (1, 3, 32, 32) and not torch.equal(pasts[1].coarser[0], half_size(pasts[1].required_image))
    assert not torch.equal(own.coarser[0], same.coarser[0])


def test_given_frames_have_their_own_halves_as_the_past_of_coarser_scales():
    network = network_of()
    given = moment(seed=5)
    past = network.remember(given, Synthesis(given.required_image, given.required_image), None)
    assert torch.equal(past.required_image, given.required_image) and torch.equal(past.coarser[0], half_size(given.required_image))
    assert torch.equal(network.step(None, moment(), past)[0], network.step(None, moment(), given)[0])


def test_the_first_frame_is_painted_whole():
    made = network_of().synthesize(None, moment(), None)
    assert made.previous is None and torch.equal(made.frame, made.raw) and made.frame.abs().max() <= 1


def test_without_motion_frames_are_painted_but_see_the_past():
    network = network_of(replace(TINY, motion=False))
    one, other = (network.synthesize(None, moment(), replace(moment(seed=2), image=x)) for x in images(2))
    assert one.previous is None and torch.equal(one.frame, one.raw) and not torch.equal(one.frame, other.frame)


def test_the_past_changes_its_precision_and_moves_as_a_whole():
    _, pasts = recursion(network_of(), 3)
    half = pasts[2].cast(torch.bfloat16)
    assert [frame.semantic.dtype for frame in half.frames()] == [torch.bfloat16] * 2
    assert [frame.required_image.dtype for frame in half.frames()] == [torch.float32] * 2
    doubled = pasts[2].map(lambda x: x * 2)
    for ours, theirs in zip(doubled.frames(), pasts[2].frames(), strict=True):
        assert torch.equal(ours.required_image, 2 * theirs.required_image) and torch.equal(ours.coarser[0], 2 * theirs.coarser[0])


# coarse to fine


def test_half_the_size_is_made_by_the_coarse_scale_alone():
    network = network_of(PRIOR).train()
    small = moment(PRIOR, size=(32, 32))
    network.synthesize(None, small, moment(PRIOR, 1, size=(32, 32))).frame.sum().backward()
    learnt = {name.split(".")[1] for name, p in network.named_parameters() if p.grad is not None}
    assert learnt == {"0"}
    coarse = network_of(replace(PRIOR, size=(32, 32), enhancers=0))
    coarse.load_state_dict({name: value for name, value in network.state_dict().items() if name.startswith("scales.0")})
    assert torch.equal(coarse.synthesize(None, small).frame, network.eval().synthesize(None, small).frame)


def test_every_weight_of_the_finest_scale_and_the_features_below_it_learn():
    network = network_of(PRIOR).train()
    network.synthesize(None, moment(PRIOR), moment(PRIOR, 1)).frame.square().mean().backward()
    without = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    assert {name for name in without if not name.startswith("scales.0.heads") and not name.endswith(".bias")} == set()


def test_samples_of_a_batch_do_not_know_each_other():
    network = network_of(PRIOR)
    driving, past = moment(PRIOR, 1, batch=2), moment(PRIOR, 2, batch=2)
    both = network.synthesize(None, driving, past).frame
    alone = network.synthesize(None, driving.map(lambda x: x[1:]), past.map(lambda x: x[1:])).frame
    assert torch.allclose(both[1:], alone, atol=1e-3)


# inference


def test_the_inference_form_makes_the_same_video():
    network = network_of(PRIOR)
    made, _ = recursion(network, 4)
    precisions: list[tuple[Precision, float]] = [("fp32", 1e-4), ("bf16", 0.03)]
    for precision, tolerance in precisions:
        renderer = Renderer(network, Speed(precision))
        fast, pasts = recursion(renderer, 4)
        assert max((a - b).abs().mean() for a, b in zip(made[:2], fast[:2], strict=True)) < tolerance
        assert len(list(pasts[3].frames())) == TINY.past_frames


@pytest.mark.parametrize("spoilt", [False, True])
def test_past_label_maps_take_a_quarter_of_the_memory_and_change_no_frame(spoilt, monkeypatch):
    """Also in frames that half precision spoils and that are made again in fp32."""
    network = network_of(PRIOR)
    monkeypatch.setattr("stages.networks.common.inference.degenerate", lambda frame, raw: spoilt)
    made: list[list[torch.Tensor]] = []
    for packs in (True, False):
        if not packs:
            monkeypatch.setattr(Frame, "packed", lambda self: self)
        renderer, past = Renderer(network, Speed("bf16")), None
        made.append([])
        for seed in range(3):
            frame, past = renderer.step(renderer.encode_examples(None), replace(moment(PRIOR, seed), image=None), past)
            made[-1].append(frame)
            assert past.semantic.element_size() == (1 if packs else 4)
        assert renderer.fallbacks == 3 * spoilt
    assert all(torch.equal(a, b) for a, b in zip(*made, strict=True))


def test_only_maps_of_zeros_and_ones_are_packed():
    frame = moment()
    assert torch.equal(frame.packed().cast(torch.float32).semantic, frame.semantic)
    soft = replace(frame, semantic=frame.semantic * 0.5)
    assert soft.packed() is soft


# the configuration


@pytest.mark.parametrize("foreground", [("car",), (TINY.semantic_channels,)])
def test_a_model_whose_foreground_is_no_channel_is_refused(foreground, tmp_path):
    save_model(tmp_path / "m.safetensors", network_of(PRIOR).state_dict(), replace(PRIOR, foreground=foreground), {"step": 1})
    with pytest.raises(InputError, match="foreground has no channel"):
        load_model(tmp_path / "m.safetensors")


def test_the_foreground_is_named_and_becomes_channels():
    named = replace(TINY, foreground=("car", "person"))
    assert named.for_labels(["sky", "person", "road", "car"]).foreground == (3, 1)
    assert families.config_from_json(named.to_json()) == named
    with pytest.raises(UsageError, match="has no tram, only sky, car"):
        replace(TINY, foreground=("tram",)).for_labels(["sky", "car"])

"""The predictor of label maps: equation 4 on labels, whole pixels and what is carried of a motion, crispness, any size."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stages.networks import families
from stages.networks.common.discriminator_inputs import Past as History
from stages.networks.common.frame import Frame, Warped
from stages.networks.common.generator import Generator, Synthesis
from stages.networks.common.inference import Renderer, Speed
from stages.networks.common.objective import LossWeights, Target
from stages.networks.future import PRESETS, Future, FutureConfig, label_losses
from stages.networks.future.generator import Past, resize, to_one_hot

TINY = PRESETS["tiny-future"]


def network_of(config: FutureConfig = TINY, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return Future(config).eval()


def observed(config: FutureConfig = TINY, seed: int = 0, size: tuple[int, int] | None = None) -> Frame:
    """A label map of random blocks, one-hot."""
    draw = torch.Generator().manual_seed(seed)
    height, width = size or config.size
    blocks = torch.randint(config.semantic_channels, (1, -(-height // 4), -(-width // 4)), generator=draw)
    ids = blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :height, :width]
    return Frame(one_hot(ids, config.semantic_channels), torch.zeros(1, 0, 3))


def one_hot(ids: Tensor, labels: int) -> Tensor:
    return torch.nn.functional.one_hot(ids, labels).permute(0, 3, 1, 2).float()


def remembered(network: Generator | Renderer, frames: list[Frame]) -> Any:
    """The past after some observed maps."""
    past: Frame | None = None
    for frame in frames:
        past = network.remember(frame, Synthesis(frame.semantic, frame.semantic), past)
    return past


def moving_by(dx: float, dy: float, config: FutureConfig = TINY) -> Any:
    """A network whose flow is (dx, dy) pixels of its own size everywhere, and which hallucinates nothing."""
    network = network_of(config)
    with torch.no_grad():
        network.to_flow.weight.zero_()
        network.to_flow.bias.copy_(torch.tensor([dx, dy]) / (20 / 256 * config.size[0]))
        network.to_mask.weight.zero_()
        network.to_mask.bias.fill_(-40)
    return network


def futures(network: Any, past: Any, like: Frame, frames: int) -> list[Any]:
    """The past after each predicted map."""
    pasts = []
    with torch.no_grad():
        for _ in range(frames):
            past = network.remember(like, network.synthesize(None, like, past), past)
            pasts.append(past)
    return pasts


# dimensions


def test_the_papers_preset_is_the_coarsest_scale_of_vid2vid():
    """Of vid2vid-street-512 (365.3 M parameters, 910 GMAC), with one encoder of 4 x 35 channels, and labels in place of colours."""
    from torch.utils.flop_counter import FlopCounterMode

    config = PRESETS["future-street"]
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = Future(config)
        frame = Frame(torch.zeros(1, 35, *config.size), torch.zeros(1, 0, 3))
        network.synthesize(network.encode_examples(None), frame, frame)
    halves = [128, 256, 512, 1024]
    block = 2 * (9 * 1024**2 + 3 * 1024)
    down = sum(9 * a * b + 3 * b for a, b in zip(halves, halves[1:], strict=False))
    up = sum(9 * a * b + 3 * a for a, b in zip(halves, halves[1:], strict=False))
    first, last = 49 * 35 * 4 * 128 + 3 * 128, 49 * 128 * 38 + 38
    assert sum(p.numel() for p in network.parameters()) == first + down + 13 * block + 2 * up + last
    pixels = 256 * 512
    at = [pixels // 4**level for level in range(4)]
    gmac = 49 * 128 * (140 + 38) * pixels + 13 * 2 * 9 * 1024**2 * at[3]
    gmac += sum(9 * a * b * (at[i + 1] + 2 * at[i + 1]) for i, (a, b) in enumerate(zip(halves, halves[1:], strict=False)))
    assert counter.get_total_flops() / 2 == pytest.approx(gmac, rel=0.001)


def test_a_model_keeps_the_names_of_its_labels():
    names = tuple(f"label {index}" for index in range(34))
    config = TINY.for_labels(names)
    assert config.semantic_channels == 34 and families.config_from_json(json.loads(json.dumps(config.to_json()))) == config
    assert TINY.for_labels(()) == TINY
    for wrong, said in (
        ({"labels": ["road", "sky"]}, "2 labels are named"),
        ({"labels": [1, 2, 3]}, "must be texts"),
        ({"past_frames": 0}, "one past"),
    ):
        with pytest.raises(ValueError, match=said):
            families.config_from_json({**TINY.to_json(), **wrong})


# equation 4


def predicted_by_loops(before: Tensor, flow: Tensor, rest: Tensor, mask: Tensor, painted: Tensor) -> tuple[Tensor, Tensor]:
    """(1 - m) w(p) + m h pixel by pixel, and the rest that is carried on; w moves by whole pixels."""
    height, width = before.shape[-2:]

    def inside(x: int, y: int) -> tuple[int, int]:
        return min(max(x, 0), width - 1), min(max(y, 0), height - 1)

    made, carried = torch.zeros_like(painted), torch.zeros_like(rest)
    for y in range(height):
        for x in range(width):
            own = flow[:, y, x].tolist()
            near_x, near_y = inside(x + round(own[0]), y + round(own[1]))
            wanted = [own[axis] - float(rest[axis, near_y, near_x]) for axis in range(2)]
            from_x, from_y = inside(x + round(wanted[0]), y + round(wanted[1]))
            m = mask[0, y, x]
            made[:, y, x] = (1 - m) * before[:, from_y, from_x] + m * painted[:, y, x]
            if m <= 0.5:
                carried[:, y, x] = torch.tensor([round(wanted[axis]) - wanted[axis] for axis in range(2)])
    return made, carried


def smoothed(output: Tensor) -> Tensor:
    """Means of 2x2 pixels, between whose centres values are linear: [B, C, 32, 32] -> the same shape."""
    means = (output[..., ::2, ::2] + output[..., 1::2, ::2] + output[..., ::2, 1::2] + output[..., 1::2, 1::2]) / 4
    weights = torch.zeros(32, 16).double()
    for pixel in range(32):
        place = min(max((pixel - 0.5) / 2, 0.0), 15.0)  # the centre of mean i lies at 2 i + 0.5
        left = min(int(place), 14)
        weights[pixel, left], weights[pixel, left + 1] = 1 - (place - left), place - left
    return weights @ means @ weights.T


def test_a_label_map_is_equation_4_with_what_rounding_left_also_in_its_gradients():
    network = network_of().double()
    with torch.no_grad():
        network.to_mask.weight.mul_(300)  # masks on both sides of a half
        network.to_flow.weight.mul_(30)
    first, second = observed(seed=1), observed(seed=2)
    past = remembered(network, [first, second])
    past = replace(past, rounding_error=torch.rand(1, 2, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5)
    made = network.synthesize(None, first, past)

    features = network.past(torch.cat([second.semantic, first.semantic], 1).double())
    painted = network.to_labels(network.labels(features)).softmax(1)
    motion = network.motion(features)
    flow, mask = smoothed(network.to_flow(motion) * (20 / 256 * 32)), torch.sigmoid(smoothed(network.to_mask(motion)))
    assert flow.abs().max() > 2 and (mask > 0.5).any() and (mask < 0.5).any()
    expected, carried = predicted_by_loops(second.semantic[0].double(), flow[0], past.rounding_error[0].double(), mask[0], painted[0])
    assert torch.allclose(made.frame[0].double(), expected, atol=1e-5)
    assert torch.allclose(network.remember(first, made, past).rounding_error[0].double(), carried, atol=1e-5)

    weight = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(4)).double()
    parameters = [network.to_labels.weight, network.to_mask.weight, network.past[0].weight]
    ours = torch.autograd.grad((made.frame[0] * weight).sum(), parameters, retain_graph=True)
    theirs = torch.autograd.grad((expected * weight).sum(), parameters)
    for got, wanted in zip(ours, theirs, strict=True):
        assert torch.allclose(got, wanted, rtol=1e-3, atol=1e-4)


def test_nothing_drives_a_predicted_map():
    network, past = network_of(), remembered(network_of(), [observed(seed=1), observed(seed=2)])
    one, other = (network.synthesize(None, observed(seed=seed), past).frame for seed in (3, 4))
    assert torch.equal(one, other)


def test_it_looks_at_the_last_observed_maps_alone():
    network = network_of()
    maps = [observed(seed=seed) for seed in range(3)]
    assert torch.equal(
        network.synthesize(None, maps[0], remembered(network, maps)).frame,
        network.synthesize(None, maps[0], remembered(network, maps[1:])).frame,
    )
    alone = remembered(network, maps[2:])
    twice = replace(alone, inputs=alone.inputs * 2)
    assert torch.equal(network.synthesize(None, maps[0], alone).frame, network.synthesize(None, maps[0], twice).frame), (
        "the earliest is repeated"
    )
    assert torch.equal(network.synthesize(None, maps[0], maps[2]).frame, network.synthesize(None, maps[0], alone).frame)


# motion


@pytest.mark.parametrize("speed", [(0.3, -0.2), (0.5, 0.5), (1.0, 0.0), (-0.05, 0.9)])
def test_a_slow_motion_is_not_rounded_away(speed):
    """Twelve frames of a thing that moves by a part of a pixel: it is never off by more than half a pixel, and stays whole."""
    ids = torch.zeros(1, 32, 32, dtype=torch.long)
    ids[:, 12:20, 14:18] = 1
    start = Frame(one_hot(ids, 3), torch.zeros(1, 0, 3))
    network = moving_by(*speed)
    for frame, past in enumerate(futures(network, remembered(network, [start]), start, 12), 1):
        there = past.semantic[0].argmax(0) == 1
        assert there.sum() == 32
        y, x = (float(places.double().mean()) for places in torch.nonzero(there, as_tuple=True))
        assert abs(x - (15.5 - speed[0] * frame)) <= 0.5001 and abs(y - (15.5 - speed[1] * frame)) <= 0.5001


def test_flow_is_in_pixels_of_the_label_maps_whatever_their_size():
    """A network of 32x32 that moves by a quarter of the width moves maps of 96x64 by a quarter of theirs, at their own size."""
    network = moving_by(8, 4)
    start = observed(seed=1, size=(64, 96))
    (past,) = futures(network, remembered(network, [start]), start, 1)
    assert torch.equal(past.semantic[..., :-8, :-24], start.semantic[..., 8:, 24:])
    assert past.inputs[0].shape[-2:] == (32, 32)


def test_maps_are_resized_about_the_centres_of_their_pixels():
    """A ramp, whose value is the place in the image: it is a ramp again at any size, but for the borders."""
    ramp = ((torch.arange(24) + 0.5) / 24).expand(1, 1, 10, -1)
    for width in (8, 12, 48, 97):
        expected = (torch.arange(width) + 0.5) / width
        inner = slice(math.ceil(width / 8), -math.ceil(width / 8))
        assert torch.allclose(resize(ramp, (5, width))[0, 0, 0, inner], expected[inner], atol=1e-3)


@pytest.mark.parametrize("size", [(33, 47), (31, 100)])
def test_odd_sizes_stay_as_they_are(size):
    network, start = network_of(), observed(seed=1, size=size)
    made = network.synthesize(None, start, remembered(network, [start, start]))
    assert made.frame.shape[-2:] == made.previous.flow.shape[-2:] == size
    assert torch.allclose(made.frame.sum(1), torch.ones(1, *size), atol=1e-5)


# crispness


def test_labels_stay_crisp_over_a_long_future():
    """Thirty predicted maps hold ones and zeros alone, one label at each pixel."""
    network = network_of()
    with torch.no_grad():
        network.to_mask.bias.zero_()
    start = observed(seed=1)
    for past in futures(network, remembered(network, [start, observed(seed=2)]), start, 30):
        assert set(past.semantic.unique().tolist()) == {0.0, 1.0} and torch.equal(past.semantic.sum(1), torch.ones(1, 32, 32))


def test_void_is_in_no_channel_and_is_filled_by_what_is_hallucinated():
    start = observed(seed=1)
    start.semantic[..., 8:16, 8:16] = 0
    network = moving_by(0, 0)
    past = remembered(network, [start])
    assert torch.equal(past.semantic, start.semantic)
    (after,) = futures(network, past, start, 1)
    made = network.synthesize(None, start, past)
    assert torch.equal(after.semantic[..., 8:16, 8:16].argmax(1), made.raw[..., 8:16, 8:16].argmax(1))
    assert torch.equal(after.semantic.sum(1), torch.ones(1, 32, 32))


def test_the_past_is_crisp_and_has_the_gradient_of_the_probabilities():
    probabilities = torch.rand(1, 3, 4, 4).softmax(1).requires_grad_(True)
    hard = to_one_hot(probabilities)
    assert torch.equal(hard.detach(), one_hot(probabilities.argmax(1), 3))
    weight = torch.rand(1, 3, 4, 4)
    (gradient,) = torch.autograd.grad((hard * weight).sum(), probabilities)
    assert torch.equal(gradient, weight)


def test_instances_move_with_their_labels_and_end_with_them():
    ids = torch.zeros(1, 32, 32, dtype=torch.long)
    ids[:, 12:20, 14:18] = 1
    start = Frame(one_hot(ids, 3), torch.zeros(1, 0, 3))
    network = moving_by(-2, 0)
    past: Any = remembered(network, [start])
    numbers = torch.where(ids == 1, 7, 0)[None]
    with torch.no_grad():
        made = network.synthesize(None, start, past)
        moved = network.follow(numbers, made, past)
    assert torch.equal(moved[0, 0] == 7, torch.roll(ids[0] == 1, 2, 1))

    other = made.frame.clone()
    other[:, :, 14] = torch.tensor([0.0, 0.0, 1.0])[None, :, None]  # another label appears in a row of it
    ended = network.follow(numbers, replace(made, frame=other), past)
    assert (ended[0, 0, 14] == 0).all() and (ended[0, 0, 15] == moved[0, 0, 15]).all()


def test_the_fast_form_predicts_the_same():
    network = network_of()
    fast = Renderer(network, Speed("fp32"))
    start = observed(seed=1)
    frames = [start, observed(seed=2)]
    ours: Any = remembered(fast, frames)
    theirs: Any = remembered(network, frames)
    with torch.no_grad():
        for _ in range(3):
            (made, ours), (expected, theirs) = fast.step(None, start, ours), network.step(None, start, theirs)
            assert torch.allclose(made, expected, atol=1e-4) and torch.allclose(ours.rounding_error, theirs.rounding_error, atol=1e-3)


def test_every_weight_learns():
    network = network_of().train()
    first, second, truth = (observed(seed=seed) for seed in range(3))
    made = network.synthesize(None, truth, remembered(network, [first, second]))
    assert all(term.isfinite() for term in terms_of(made, truth, second).values())
    sum(terms_of(made, truth, second).values()).backward()  # type: ignore[union-attr]
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


# objective


WEIGHTS = replace(LossWeights(), labels=1.0, raw=1.0, warp=1.0, flow=1.0, mask=1.0)


def terms_of(made: Synthesis, truth: Frame, before: Frame) -> dict[str, Tensor]:
    size = made.frame.shape[-2:]
    target = Target(replace(truth, image=truth.semantic), truth, torch.ones(1, 2, *size), torch.ones(1, 1, *size))
    return label_losses(made, target, WEIGHTS, None, None, History([before.semantic], [before.semantic], []))


def test_the_terms_are_those_of_a_loop_over_the_labelled_pixels():
    truth = observed(seed=1, size=(4, 6))
    truth.semantic[..., 0, :2] = 0  # void
    draw = torch.Generator().manual_seed(2)
    frame, raw = (torch.rand(1, 3, 4, 6, generator=draw).softmax(1) for _ in range(2))
    mask = torch.rand(1, 1, 4, 6, generator=draw)
    moved = observed(seed=3, size=(4, 6)).semantic
    made = Synthesis(frame, raw, previous=Warped(moved, torch.zeros(1, 2, 4, 6), mask), previous_mask=mask)
    before = observed(seed=4, size=(4, 6))
    terms = terms_of(made, truth, before)

    sums = dict.fromkeys(("labels", "raw", "warp", "mask"), 0.0)
    for y in range(4):
        for x in range(6):
            for label in range(3):
                if truth.semantic[0, label, y, x]:
                    sums["labels"] -= math.log(frame[0, label, y, x])
                    sums["raw"] -= math.log(raw[0, label, y, x])
                    sums["warp"] -= math.log(max(float(before.semantic[0, label, y, x]), 1e-4))
                    right = float(moved[0, label, y, x])
                    m = float(mask[0, 0, y, x])
                    sums["mask"] += m * right + (1 - m) * (1 - right)
    assert {name: float(terms[name]) for name in sums} == pytest.approx({name: value / 22 for name, value in sums.items()}, rel=1e-4)
    assert float(terms["flow"]) == pytest.approx(10 / 4), "one pixel off everywhere, in tenths of the height"


def test_the_past_can_be_moved_between_devices_and_cut_off_from_gradients():
    network = network_of()
    past = futures(network, remembered(network, [observed(seed=1)]), observed(), 1)[0]
    copied = past.map(lambda x: x + 1)
    assert isinstance(copied, Past) and copied.rounding_error is not None and torch.equal(copied.rounding_error, past.rounding_error + 1)
    assert torch.equal(copied.inputs[1], past.inputs[1] + 1)

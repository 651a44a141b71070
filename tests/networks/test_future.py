"""The predictor of label maps: equation 4 on labels, motion by whole pixels with a carried remainder, one-hot maps, any size."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stages.networks import families
from stages.networks.common.discriminator_inputs import History
from stages.networks.common.frame import Frame, Warped
from stages.networks.common.generator import Generator, Synthesis
from stages.networks.common.inference import InferenceOptions, Renderer
from stages.networks.common.objective import LossWeights, Target
from stages.networks.future import PRESETS, Future, FutureConfig, label_losses
from stages.networks.future.generator import Past, resize, to_one_hot

TINY = PRESETS["tiny-future"]


def make_network(config: FutureConfig = TINY, seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return Future(config).eval()


def random_label_map(config: FutureConfig = TINY, seed: int = 0, size: tuple[int, int] | None = None) -> Frame:
    """A one-hot label map of random 4x4 blocks."""
    rng = torch.Generator().manual_seed(seed)
    height, width = size or config.size
    blocks = torch.randint(config.semantic_channels, (1, -(-height // 4), -(-width // 4)), generator=rng)
    ids = blocks.repeat_interleave(4, 1).repeat_interleave(4, 2)[:, :height, :width]
    return Frame(one_hot(ids, config.semantic_channels), torch.zeros(1, 0, 3))


def one_hot(ids: Tensor, labels: int) -> Tensor:
    """[B, H, W] -> [B, labels, H, W]"""
    return torch.nn.functional.one_hot(ids, labels).permute(0, 3, 1, 2).float()


def remember_all(network: Generator | Renderer, frames: list[Frame]) -> Any:
    """The past after these observed maps."""
    past: Frame | None = None
    for frame in frames:
        past = network.remember(frame, Synthesis(frame.semantic, frame.semantic), past)
    return past


def make_moving_network(dx: float, dy: float, config: FutureConfig = TINY) -> Any:
    """A network whose flow is (dx, dy) everywhere, in pixels of the network's size, and which uses the warp alone."""
    network = make_network(config)
    with torch.no_grad():
        network.to_flow.weight.zero_()
        network.to_flow.bias.copy_(torch.tensor([dx, dy]) / (20 / 256 * config.size[0]))  # the generator multiplies by this
        network.to_mask.weight.zero_()
        network.to_mask.bias.fill_(-40)
    return network


def predict_pasts(network: Any, past: Any, driving: Frame, count: int) -> list[Any]:
    """Predict `count` maps and return the past after each. Only the size of `driving` matters."""
    pasts = []
    with torch.no_grad():
        for _ in range(count):
            past = network.remember(driving, network.synthesize(None, driving, past), past)
            pasts.append(past)
    return pasts


# dimensions


def test_the_papers_preset_has_the_layers_of_vid2vids_coarsest_scale():
    """It differs from vid2vid-street-512 in that it has one encoder, of 4 x 35 channels, and makes labels instead of colours."""
    from torch.utils.flop_counter import FlopCounterMode

    config = PRESETS["future-street"]
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = Future(config)
        frame = Frame(torch.zeros(1, 35, *config.size), torch.zeros(1, 0, 3))
        network.synthesize(network.encode_examples(None), frame, frame)
    widths = [128, 256, 512, 1024]
    block = 2 * (9 * 1024**2 + 3 * 1024)
    down = sum(9 * a * b + 3 * b for a, b in zip(widths, widths[1:], strict=False))
    up = sum(9 * a * b + 3 * a for a, b in zip(widths, widths[1:], strict=False))
    first, last = 49 * 35 * 4 * 128 + 3 * 128, 49 * 128 * 38 + 38
    assert sum(p.numel() for p in network.parameters()) == first + down + 13 * block + 2 * up + last
    pixels = 256 * 512
    pixels_at = [pixels // 4**level for level in range(4)]
    macs = 49 * 128 * (140 + 38) * pixels + 13 * 2 * 9 * 1024**2 * pixels_at[3]
    macs += sum(9 * a * b * (pixels_at[i + 1] + 2 * pixels_at[i + 1]) for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)))
    assert counter.get_total_flops() / 2 == pytest.approx(macs, rel=0.001)


def test_a_configuration_keeps_the_names_of_the_labels():
    names = tuple(f"label {index}" for index in range(34))
    config = TINY.for_labels(names)
    assert config.semantic_channels == 34 and families.config_from_json(json.loads(json.dumps(config.to_json()))) == config
    assert TINY.for_labels(()) == TINY
    for change, message in (
        ({"labels": ["road", "sky"]}, "2 labels are named"),
        ({"labels": [1, 2, 3]}, "must be strings"),
        ({"past_frames": 0}, "one past"),
    ):
        with pytest.raises(ValueError, match=message):
            families.config_from_json({**TINY.to_json(), **change})


# equation 4


def predict_by_loops(before: Tensor, flow: Tensor, rest: Tensor, mask: Tensor, painted: Tensor) -> tuple[Tensor, Tensor]:
    """(1 - m) w(p) + m h pixel by pixel, where w moves by whole pixels, and the part of the motion that rounding leaves."""
    height, width = before.shape[-2:]

    def inside(x: int, y: int) -> tuple[int, int]:
        return min(max(x, 0), width - 1), min(max(y, 0), height - 1)

    predicted, remainder = torch.zeros_like(painted), torch.zeros_like(rest)
    for y in range(height):
        for x in range(width):
            motion = flow[:, y, x].tolist()
            near_x, near_y = inside(x + round(motion[0]), y + round(motion[1]))
            target = [motion[axis] - float(rest[axis, near_y, near_x]) for axis in range(2)]
            from_x, from_y = inside(x + round(target[0]), y + round(target[1]))
            m = mask[0, y, x]
            predicted[:, y, x] = (1 - m) * before[:, from_y, from_x] + m * painted[:, y, x]
            if m <= 0.5:
                remainder[:, y, x] = torch.tensor([round(target[axis]) - target[axis] for axis in range(2)])
    return predicted, remainder


def smooth(output: Tensor) -> Tensor:
    """Average 2x2 pixels, then interpolate linearly between the centres: [B, C, 32, 32] -> the same shape."""
    means = (output[..., ::2, ::2] + output[..., 1::2, ::2] + output[..., ::2, 1::2] + output[..., 1::2, 1::2]) / 4
    weights = torch.zeros(32, 16).double()
    for pixel in range(32):
        position = min(max((pixel - 0.5) / 2, 0.0), 15.0)  # the centre of mean i lies at 2 i + 0.5
        left = min(int(position), 14)
        weights[pixel, left], weights[pixel, left + 1] = 1 - (position - left), position - left
    return weights @ means @ weights.T


def test_a_predicted_map_and_its_gradients_are_those_of_equation_4_with_carried_remainders():
    network = make_network().double()
    with torch.no_grad():
        network.to_mask.weight.mul_(300)  # masks on both sides of a half
        network.to_flow.weight.mul_(30)
    first, second = random_label_map(seed=1), random_label_map(seed=2)
    past = remember_all(network, [first, second])
    past = replace(past, rounding_error=torch.rand(1, 2, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5)
    output = network.synthesize(None, first, past)

    features = network.past(torch.cat([second.semantic, first.semantic], 1).double())
    painted = network.to_labels(network.labels(features)).softmax(1)
    motion = network.motion(features)
    flow, mask = smooth(network.to_flow(motion) * (20 / 256 * 32)), torch.sigmoid(smooth(network.to_mask(motion)))
    assert flow.abs().max() > 2 and (mask > 0.5).any() and (mask < 0.5).any()
    expected, remainder = predict_by_loops(second.semantic[0].double(), flow[0], past.rounding_error[0].double(), mask[0], painted[0])
    assert torch.allclose(output.frame[0].double(), expected, atol=1e-5)
    assert torch.allclose(network.remember(first, output, past).rounding_error[0].double(), remainder, atol=1e-5)

    weight = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(4)).double()
    parameters = [network.to_labels.weight, network.to_mask.weight, network.past[0].weight]
    gradients = torch.autograd.grad((output.frame[0] * weight).sum(), parameters, retain_graph=True)
    references = torch.autograd.grad((expected * weight).sum(), parameters)
    for gradient, reference in zip(gradients, references, strict=True):
        assert torch.allclose(gradient, reference, rtol=1e-3, atol=1e-4)


def test_a_predicted_map_does_not_depend_on_the_driving_frame():
    network, past = make_network(), remember_all(make_network(), [random_label_map(seed=1), random_label_map(seed=2)])
    one, other = (network.synthesize(None, random_label_map(seed=seed), past).frame for seed in (3, 4))
    assert torch.equal(one, other)


def test_a_predicted_map_depends_on_the_last_observed_maps_alone():
    network = make_network()
    maps = [random_label_map(seed=seed) for seed in range(3)]
    assert torch.equal(
        network.synthesize(None, maps[0], remember_all(network, maps)).frame,
        network.synthesize(None, maps[0], remember_all(network, maps[1:])).frame,
    )
    alone = remember_all(network, maps[2:])
    twice = replace(alone, inputs=alone.inputs * 2)
    assert torch.equal(network.synthesize(None, maps[0], alone).frame, network.synthesize(None, maps[0], twice).frame), (
        "the earliest observed map is repeated"
    )
    assert torch.equal(network.synthesize(None, maps[0], maps[2]).frame, network.synthesize(None, maps[0], alone).frame)


# motion


@pytest.mark.parametrize("speed", [(0.3, -0.2), (0.5, 0.5), (1.0, 0.0), (-0.05, 0.9)])
def test_a_slow_motion_is_not_rounded_away(speed):
    """A rectangle moves by a fraction of a pixel for twelve frames: its position is at most half a pixel off, its area is kept."""
    ids = torch.zeros(1, 32, 32, dtype=torch.long)
    ids[:, 12:20, 14:18] = 1
    start = Frame(one_hot(ids, 3), torch.zeros(1, 0, 3))
    network = make_moving_network(*speed)
    for frame, past in enumerate(predict_pasts(network, remember_all(network, [start]), start, 12), 1):
        rectangle = past.semantic[0].argmax(0) == 1
        assert rectangle.sum() == 32
        y, x = (float(positions.double().mean()) for positions in torch.nonzero(rectangle, as_tuple=True))
        assert abs(x - (15.5 - speed[0] * frame)) <= 0.5001 and abs(y - (15.5 - speed[1] * frame)) <= 0.5001


def test_flow_scales_with_the_size_of_the_label_maps():
    """A network of 32x32 whose flow is a quarter of its width moves maps of 96x64 by a quarter of theirs, without resizing them."""
    network = make_moving_network(8, 4)
    start = random_label_map(seed=1, size=(64, 96))
    (past,) = predict_pasts(network, remember_all(network, [start]), start, 1)
    assert torch.equal(past.semantic[..., :-8, :-24], start.semantic[..., 8:, 24:])
    assert past.inputs[0].shape[-2:] == (32, 32)


def test_resizing_keeps_positions_relative_to_pixel_centres():
    """A ramp, whose value is the position in the image, stays this ramp at any size, except at the borders."""
    ramp = ((torch.arange(24) + 0.5) / 24).expand(1, 1, 10, -1)
    for width in (8, 12, 48, 97):
        expected = (torch.arange(width) + 0.5) / width
        inner = slice(math.ceil(width / 8), -math.ceil(width / 8))
        assert torch.allclose(resize(ramp, (5, width))[0, 0, 0, inner], expected[inner], atol=1e-3)


@pytest.mark.parametrize("size", [(33, 47), (31, 100)])
def test_odd_sizes_are_kept(size):
    network, start = make_network(), random_label_map(seed=1, size=size)
    output = network.synthesize(None, start, remember_all(network, [start, start]))
    assert output.frame.shape[-2:] == output.previous.flow.shape[-2:] == size
    assert torch.allclose(output.frame.sum(1), torch.ones(1, *size), atol=1e-5)


# one-hot maps


def test_thirty_predicted_maps_are_one_hot():
    network = make_network()
    with torch.no_grad():
        network.to_mask.bias.zero_()
    start = random_label_map(seed=1)
    for past in predict_pasts(network, remember_all(network, [start, random_label_map(seed=2)]), start, 30):
        assert set(past.semantic.unique().tolist()) == {0.0, 1.0} and torch.equal(past.semantic.sum(1), torch.ones(1, 32, 32))


def test_void_is_zero_in_all_channels_and_is_filled_by_the_synthesized_labels():
    start = random_label_map(seed=1)
    start.semantic[..., 8:16, 8:16] = 0
    network = make_moving_network(0, 0)
    past = remember_all(network, [start])
    assert torch.equal(past.semantic, start.semantic)
    (after,) = predict_pasts(network, past, start, 1)
    output = network.synthesize(None, start, past)
    assert torch.equal(after.semantic[..., 8:16, 8:16].argmax(1), output.raw[..., 8:16, 8:16].argmax(1))
    assert torch.equal(after.semantic.sum(1), torch.ones(1, 32, 32))


def test_the_one_hot_past_has_the_gradient_of_the_probabilities():
    probabilities = torch.rand(1, 3, 4, 4).softmax(1).requires_grad_(True)
    hard = to_one_hot(probabilities)
    assert torch.equal(hard.detach(), one_hot(probabilities.argmax(1), 3))
    weight = torch.rand(1, 3, 4, 4)
    (gradient,) = torch.autograd.grad((hard * weight).sum(), probabilities)
    assert torch.equal(gradient, weight)


def test_instances_move_with_their_labels_and_disappear_with_them():
    ids = torch.zeros(1, 32, 32, dtype=torch.long)
    ids[:, 12:20, 14:18] = 1
    start = Frame(one_hot(ids, 3), torch.zeros(1, 0, 3))
    network = make_moving_network(-2, 0)
    past: Any = remember_all(network, [start])
    instances = torch.where(ids == 1, 7, 0)[None]
    with torch.no_grad():
        output = network.synthesize(None, start, past)
        moved = network.propagate_instances(instances, output, past)
    assert torch.equal(moved[0, 0] == 7, torch.roll(ids[0] == 1, 2, 1))

    other = output.frame.clone()
    other[:, :, 14] = torch.tensor([0.0, 0.0, 1.0])[None, :, None]  # row 14 gets another label
    remaining = network.propagate_instances(instances, replace(output, frame=other), past)
    assert (remaining[0, 0, 14] == 0).all() and (remaining[0, 0, 15] == moved[0, 0, 15]).all()


def test_the_renderer_predicts_the_same_maps():
    network = make_network()
    renderer = Renderer(network, InferenceOptions("fp32"))
    start = random_label_map(seed=1)
    frames = [start, random_label_map(seed=2)]
    renderer_past: Any = remember_all(renderer, frames)
    past: Any = remember_all(network, frames)
    with torch.no_grad():
        for _ in range(3):
            actual, renderer_past = renderer.step(None, start, renderer_past)
            expected, past = network.step(None, start, past)
            assert torch.allclose(actual, expected, atol=1e-4)
            assert torch.allclose(renderer_past.rounding_error, past.rounding_error, atol=1e-3)


def test_every_weight_gets_a_gradient():
    network = make_network().train()
    first, second, truth = (random_label_map(seed=seed) for seed in range(3))
    output = network.synthesize(None, truth, remember_all(network, [first, second]))
    assert all(term.isfinite() for term in compute_terms(output, truth, second).values())
    sum(compute_terms(output, truth, second).values()).backward()  # type: ignore[union-attr]
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()] == []


# objective


WEIGHTS = replace(LossWeights(), labels=1.0, raw=1.0, warp=1.0, flow=1.0, mask=1.0)


def compute_terms(output: Synthesis, truth: Frame, before: Frame) -> dict[str, Tensor]:
    size = output.frame.shape[-2:]
    target = Target(replace(truth, image=truth.semantic), truth, torch.ones(1, 2, *size), torch.ones(1, 1, *size))
    return label_losses(output, target, WEIGHTS, None, None, History([before.semantic], [before.semantic], []))


def test_the_loss_terms_equal_sums_over_the_labelled_pixels():
    truth = random_label_map(seed=1, size=(4, 6))
    truth.semantic[..., 0, :2] = 0  # void
    rng = torch.Generator().manual_seed(2)
    frame, raw = (torch.rand(1, 3, 4, 6, generator=rng).softmax(1) for _ in range(2))
    mask = torch.rand(1, 1, 4, 6, generator=rng)
    moved = random_label_map(seed=3, size=(4, 6)).semantic
    output = Synthesis(frame, raw, previous=Warped(moved, torch.zeros(1, 2, 4, 6), mask), previous_mask=mask)
    before = random_label_map(seed=4, size=(4, 6))
    terms = compute_terms(output, truth, before)

    sums = dict.fromkeys(("labels", "raw", "warp", "mask"), 0.0)
    for y in range(4):
        for x in range(6):
            for label in range(3):
                if truth.semantic[0, label, y, x]:
                    sums["labels"] -= math.log(frame[0, label, y, x])
                    sums["raw"] -= math.log(raw[0, label, y, x])
                    sums["warp"] -= math.log(max(float(before.semantic[0, label, y, x]), 1e-4))
                    warp_is_right = float(moved[0, label, y, x])
                    m = float(mask[0, 0, y, x])
                    sums["mask"] += m * warp_is_right + (1 - m) * (1 - warp_is_right)
    assert {name: float(terms[name]) for name in sums} == pytest.approx({name: value / 22 for name, value in sums.items()}, rel=1e-4)
    assert float(terms["flow"]) == pytest.approx(10 / 4), "an error of one pixel everywhere, in tenths of the height"


def test_map_applies_a_function_to_every_tensor_of_the_past():
    network = make_network()
    past = predict_pasts(network, remember_all(network, [random_label_map(seed=1)]), random_label_map(), 1)[0]
    mapped = past.map(lambda x: x + 1)
    assert isinstance(mapped, Past) and mapped.rounding_error is not None and torch.equal(mapped.rounding_error, past.rounding_error + 1)
    assert torch.equal(mapped.inputs[1], past.inputs[1] + 1)

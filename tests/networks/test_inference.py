"""The inference form makes the same frames, faster; half precision is watched over."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch

from stages.networks.common.frame import Frame
from stages.networks.common.inference import Renderer, Speed, degenerate, prepare
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator


def network(preset: str, **changes) -> FewShotGenerator:
    torch.manual_seed(0)
    net = FewShotGenerator(replace(PRESETS[preset], **changes)).eval()
    with torch.no_grad():  # pictures with some contrast
        net.get_parameter("to_image.weight").mul_(3)
    return net


def scene(count: int) -> Frame:
    draw = torch.Generator().manual_seed(count)
    images, semantics = torch.rand(1, count, 3, 64, 64, generator=draw), torch.rand(1, count, 7, 64, 64, generator=draw)
    return Frame(semantics, torch.rand(1, count, 78, 3, generator=draw) * 64, images * 2 - 1)


def at(shown: Frame, place: int) -> Frame:
    """One of several frames, [B, ...]."""
    return shown.map(lambda x: x[:, place])


def frames(maker, count: int) -> torch.Tensor:
    shown = scene(count)
    code, past, made = maker.encode_examples(shown), None, []
    for t in range(3):
        frame, past = maker.step(code, at(shown, t % count), past)
        made.append(frame)
    return torch.cat(made)


@pytest.mark.parametrize("preset", ["tiny", "tiny-paper"])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("attention", ["pixel", "compact"])
@torch.no_grad()
def test_the_fast_path_equals_the_slow_path(preset, count, attention):
    net = network(preset, attention=attention)
    assert (frames(Renderer(net, Speed("fp32")), count) - frames(net, count)).abs().max() < 1e-4


@pytest.mark.parametrize("preset", ["tiny", "tiny-paper"])
@pytest.mark.parametrize("count", [1, 4])
@torch.no_grad()
def test_bf16_is_within_40_decibels(preset, count):
    net = network(preset)
    exact, half = frames(net, count), frames(Renderer(net, Speed("bf16")), count)
    assert 10 * torch.log10(4 / (exact - half).square().mean()) > 40


@torch.no_grad()
def test_a_frame_that_half_precision_spoils_is_made_again_in_fp32_and_counted():
    net = network("tiny")
    renderer = Renderer(net, Speed("fp16"))
    shown = scene(1)
    code = renderer.encode_examples(shown)
    expected, _ = renderer.step(code, at(shown, 0))
    assert renderer.fallbacks == 0

    renderer._fast.get_parameter("to_image.bias").fill_(float("inf"))  # what a half float makes of all above 65504
    frame, past = renderer.step(code, at(shown, 0))
    assert renderer.fallbacks == 1
    assert torch.allclose(frame, expected, atol=0.02) and past.image is not None


def test_saturated_and_infinite_frames_count_as_spoilt():
    good = torch.rand(1, 3, 8, 8) * 1.8 - 0.9
    assert not degenerate(good, good)
    assert degenerate(good, good.sign()) and degenerate(good / 0, good) and degenerate(good * float("nan"), good)


@torch.no_grad()
def test_spectral_norms_are_folded_into_plain_weights_and_the_generator_stays_as_it_is():
    net = network("tiny-paper")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fast = prepare(net, torch.float32, channels_last=True)

    assert not any("parametrizations" in name for name in fast.state_dict())
    plain = FewShotGenerator(replace(PRESETS["tiny-paper"], spectral=False))
    assert set(plain.state_dict()) == set(fast.state_dict())
    folded, norm_and_relu = fast.get_parameter("blocks.0.conv_first.weight"), net.get_submodule("blocks.0.conv_first").weight
    assert isinstance(norm_and_relu, torch.Tensor) and torch.allclose(folded, norm_and_relu)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a C++ compiler")
@torch.no_grad()
def test_a_compiled_generator_makes_the_same_frames():
    net = network("tiny")
    assert (frames(Renderer(net, Speed("fp32", compile=True)), 1) - frames(net, 1)).abs().max() < 1e-4

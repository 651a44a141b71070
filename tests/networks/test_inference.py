"""The renderer makes the same frames as the generator, and notices when half precision fails."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch

from stages.networks.common.frame import Frame
from stages.networks.common.inference import InferenceOptions, Renderer, degenerate, prepare
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator


def make_network(preset: str, **changes) -> FewShotGenerator:
    torch.manual_seed(0)
    net = FewShotGenerator(replace(PRESETS[preset], **changes)).eval()
    with torch.no_grad():  # for images with some contrast
        net.get_parameter("to_image.weight").mul_(3)
    return net


def random_frames(count: int) -> Frame:
    """[1, count, ...]"""
    rng = torch.Generator().manual_seed(count)
    images, semantics = torch.rand(1, count, 3, 64, 64, generator=rng), torch.rand(1, count, 7, 64, 64, generator=rng)
    return Frame(semantics, torch.rand(1, count, 78, 3, generator=rng) * 64, images * 2 - 1)


def frame_at(frames: Frame, index: int) -> Frame:
    """One of several frames: [B, N, ...] -> [B, ...]."""
    return frames.map(lambda x: x[:, index])


def synthesize(model: FewShotGenerator | Renderer, count: int) -> torch.Tensor:
    """Three frames with `count` examples, [3, 3, 64, 64]."""
    examples = random_frames(count)
    code, past, frames = model.encode_examples(examples), None, []
    for t in range(3):
        frame, past = model.step(code, frame_at(examples, t % count), past)
        frames.append(frame)
    return torch.cat(frames)


@pytest.mark.parametrize("preset", ["tiny", "tiny-paper"])
@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("attention", ["pixel", "compact"])
@torch.no_grad()
def test_the_renderer_equals_the_generator(preset, count, attention):
    net = make_network(preset, attention=attention)
    assert (synthesize(Renderer(net, InferenceOptions("fp32")), count) - synthesize(net, count)).abs().max() < 1e-4


@pytest.mark.parametrize("preset", ["tiny", "tiny-paper"])
@pytest.mark.parametrize("count", [1, 4])
@torch.no_grad()
def test_bf16_has_a_psnr_above_40_db(preset, count):
    net = make_network(preset)
    exact, half = synthesize(net, count), synthesize(Renderer(net, InferenceOptions("bf16")), count)
    assert 10 * torch.log10(4 / (exact - half).square().mean()) > 40


@torch.no_grad()
def test_a_frame_that_fails_in_half_precision_is_made_again_in_fp32_and_counted():
    net = make_network("tiny")
    renderer = Renderer(net, InferenceOptions("fp16"))
    examples = random_frames(1)
    code = renderer.encode_examples(examples)
    expected, _ = renderer.step(code, frame_at(examples, 0))
    assert renderer.fallbacks == 0

    renderer._fast.get_parameter("to_image.bias").fill_(float("inf"))  # as a value above 65504 becomes in fp16
    frame, past = renderer.step(code, frame_at(examples, 0))
    assert renderer.fallbacks == 1
    assert torch.allclose(frame, expected, atol=0.02) and past.image is not None


@torch.no_grad()
def test_threads_that_share_a_renderer_take_turns_in_fp32(monkeypatch):
    renderer = Renderer(make_network("tiny"), InferenceOptions("fp16"))
    examples = random_frames(1)
    codes = [renderer.encode_examples(examples) for _ in range(2)]
    renderer._fast.get_parameter("to_image.bias").fill_(float("inf"))
    used, synthesize = threading.Lock(), renderer._fp32.synthesize

    def synthesize_slowly(*arguments):
        assert used.acquire(blocking=False), "two threads synthesize at once"
        time.sleep(0.1)
        used.release()
        return synthesize(*arguments)

    monkeypatch.setattr(renderer._fp32, "synthesize", synthesize_slowly)
    with ThreadPoolExecutor(2) as threads:
        frames = list(threads.map(lambda code: renderer.step(code, frame_at(examples, 0))[0], codes))
    assert torch.equal(*frames) and renderer.fallbacks == 2


def test_saturated_and_infinite_frames_are_degenerate():
    good = torch.rand(1, 3, 8, 8) * 1.8 - 0.9
    assert not degenerate(good, good)
    assert degenerate(good, good.sign()) and degenerate(good / 0, good) and degenerate(good * float("nan"), good)


@torch.no_grad()
def test_spectral_norms_are_folded_into_plain_weights_and_the_generator_stays_unchanged():
    net = make_network("tiny-paper")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fast = prepare(net, torch.float32, channels_last=True)

    assert not any("parametrizations" in name for name in fast.state_dict())
    plain = FewShotGenerator(replace(PRESETS["tiny-paper"], spectral=False))
    assert set(plain.state_dict()) == set(fast.state_dict())
    folded, normalised = fast.get_parameter("blocks.0.conv_first.weight"), net.get_submodule("blocks.0.conv_first").weight
    assert isinstance(normalised, torch.Tensor) and torch.allclose(folded, normalised)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a C++ compiler")
@torch.no_grad()
def test_a_compiled_generator_makes_the_same_frames():
    net = make_network("tiny")
    assert (synthesize(Renderer(net, InferenceOptions("fp32", compile=True)), 1) - synthesize(net, 1)).abs().max() < 1e-4

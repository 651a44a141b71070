"""PredNet and MCNet, baselines of vid2vid's table 3: their equations, computed by loops, and the frames that they observe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from by_loops import convlstm_step, convolve, max_pool, upsample
from torch import Tensor

from stages.models import load_model, save_model
from stages.networks.common.discriminator_inputs import History
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Generator, Synthesis
from stages.networks.common.inference import InferenceOptions, Renderer
from stages.networks.common.objective import LossWeights, Target
from stages.networks.families import find

PAPERS = Path(__file__).resolve().parents[2] / "benchmarks" / "papers"
METHODS = ("prednet", "mcnet")
OBSERVED = 3


@pytest.fixture(scope="module", autouse=True)
def baselines() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PAPERS))
        yield import_module("baselines")


def tiny_config(method: str) -> Any:
    small = {"layer_channels": (3, 2, 4)} if method == "prednet" else {"filters": 2}
    config: Any = find(method).config
    return config(semantic_channels=5, size=(16, 16), past_frames=OBSERVED, **small)


def build_network(method: str) -> Any:
    """A network whose biases are not zero, because a ReLU has no gradient at 0."""
    torch.manual_seed(0)
    network = find(method).build(tiny_config(method))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network


def video_frame(seed: int, size: tuple[int, int] = (16, 16)) -> Frame:
    rng = torch.Generator().manual_seed(seed)
    return Frame(torch.zeros(1, 5, *size), torch.zeros(1, 0, 3), torch.rand(1, 3, *size, generator=rng) * 2 - 1)


def images(count: int, size: int = 8) -> list[Tensor]:
    return [video_frame(seed, (size, size)).required_image.double() for seed in range(count)]


def gradients(value: Tensor, network: Generator) -> tuple[Tensor, ...]:
    """The gradients of a weighted sum of `value` with respect to all parameters."""
    weight = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).view_as(value)
    return torch.autograd.grad((value * weight).sum(), list(network.parameters()))


# PredNet


def prednet_by_loops(network: Any, frames: list[Tensor]) -> Tensor:
    """Ahat_0 after `frames` [3, H, W] in [0, 1], by equations 1 to 4, one time step after the other."""
    channels = network.config.layer_channels
    layers = range(len(channels))
    height, width = frames[0].shape[-2:]
    empty = [torch.zeros(c, height // 2**k, width // 2**k, dtype=frames[0].dtype) for k, c in enumerate(channels)]
    r, cells = list(empty), list(empty)
    e = [torch.cat([x, x]) for x in empty]
    for t in range(len(frames) + 1):
        for k in reversed(layers):
            x = e[k] if k == layers[-1] else torch.cat([e[k], upsample(r[k + 1])])
            r[k], cells[k] = convlstm_step(x, r[k], cells[k], network.represent[k].gates, hard=True)
        predicted = [convolve(r[k], network.to_prediction[k]).clamp(min=0) for k in layers]
        predicted[0] = predicted[0].clamp(max=1)
        if t == len(frames):
            break
        a = frames[t]
        for k in layers:
            e[k] = torch.cat([(a - predicted[k]).clamp(min=0), (predicted[k] - a).clamp(min=0)])
            if k < layers[-1]:
                a = max_pool(convolve(e[k], network.to_target[k]).clamp(min=0))
    return predicted[0]


def test_prednet_and_its_gradients_follow_equations_1_to_4():
    network = build_network("prednet").double()
    frames = images(3)
    state = ()
    for image in frames:
        state = network.observe(state, image)
    predicted, expected = network.predict(state)[0], 2 * prednet_by_loops(network, [(image[0] + 1) / 2 for image in frames]) - 1
    assert predicted.std() > 1e-3 and torch.allclose(predicted, expected, atol=1e-12)
    for actual, expected_gradient in zip(gradients(predicted, network), gradients(expected, network), strict=True):
        assert torch.allclose(actual, expected_gradient, atol=1e-10)


def test_prednet_has_the_size_of_the_public_code():
    with torch.device("meta"):
        network = find("prednet").build(find("prednet").config())
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(6.92, rel=0.002)


def test_the_loss_of_prednet_is_the_mean_error_and_zero_in_the_first_frame():
    network, truth = build_network("prednet").double(), images(1)[0]
    state = network.observe((), images(2)[1])
    prediction = network.predict(state)
    error = network.errors((truth + 1) / 2, network._unpack(state)[0])[0].mean()
    target = Target(replace(video_frame(0), image=truth), video_frame(0))
    for past, expected in ((History([truth], [truth], []), error), (History([], [], []), torch.zeros(()))):
        (loss,) = find("prednet").objective(Synthesis(prediction, prediction), target, LossWeights(), None, None, past).values()
        assert loss.item() == pytest.approx(expected.item())


# MCNet


def mcnet_by_loops(network: Any, frames: list[Tensor]) -> Tensor:
    """The frame after `frames` [3, H, W] in [-1, 1], by equations 1 to 5."""
    relu: Callable[[Tensor], Tensor] = lambda x: x.clamp(min=0)  # noqa: E731
    grey = [(0.299 * x[:1] + 0.587 * x[1:2] + 0.114 * x[2:] + 1) / 2 for x in frames]
    hidden = cell = torch.zeros(4 * network.config.filters, frames[0].shape[1] // 8, frames[0].shape[2] // 8, dtype=frames[0].dtype)
    for before, present in zip(grey, grey[1:], strict=False):
        x, motion = present - before, []
        for layer in network.motion:
            motion.append(relu(convolve(x, layer)))
            x = max_pool(motion[-1])
        hidden, cell = convlstm_step(x, hidden, cell, network.dynamics.gates, hard=False)
    x, content = frames[-1], []
    for block in network.content:
        for layer in block[::2]:
            x = relu(convolve(x, layer))
        content.append(x)
        x = max_pool(x)
    x = torch.cat([hidden, x])
    for layer in network.combine[::2]:
        x = relu(convolve(x, layer))
    for scale in (2, 1, 0):
        first, _, second = network.residual[scale]
        residual = convolve(relu(convolve(torch.cat([motion[scale], content[scale]]), first)), second)
        unpooled = torch.zeros_like(residual)
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                unpooled[:, 2 * i, 2 * j] = x[:, i, j]
        x = unpooled + residual
        for layer in network.decode[scale][::2]:
            x = relu(convolve(x, layer))
    return torch.tanh(convolve(x, network.to_image))


def test_mcnet_and_its_gradients_follow_equations_1_to_5():
    network = build_network("mcnet").double()
    frames = images(3, 16)
    state = ()
    for image in frames:
        state = network.observe(state, image)
    predicted, expected = network.predict(state)[0], mcnet_by_loops(network, [image[0] for image in frames])
    assert predicted.std() > 1e-3 and torch.allclose(predicted, expected, atol=1e-12)
    for actual, expected_gradient in zip(gradients(predicted, network), gradients(expected, network), strict=True):
        assert torch.allclose(actual, expected_gradient, atol=1e-10)


def test_mcnet_has_the_size_of_the_public_code():
    with torch.device("meta"):
        network = find("mcnet").build(find("mcnet").config())
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(14.1, rel=0.01)


def test_the_gradient_difference_is_that_of_a_loop():
    predicted, truth = images(2, 4)
    losses = [0.0, 0.0]
    for axis, (down, right) in enumerate(((1, 0), (0, 1))):
        differences = []
        for c in range(3):
            for i in range(down, 4):
                for j in range(right, 4):
                    steps = [abs(float(x[0, c, i, j] - x[0, c, i - down, j - right])) for x in (predicted, truth)]
                    differences.append(abs(steps[0] - steps[1]))
        losses[axis] = sum(differences) / len(differences)
    assert float(import_module("baselines.mcnet").gradient_difference(predicted, truth)) == pytest.approx(sum(losses))


# PredNet and MCNet


@pytest.mark.parametrize("method", METHODS)
def test_a_network_observes_the_real_frames_and_then_its_own(method: str):
    network = build_network(method).eval()
    observed: list[Tensor] = []
    observe = network.observe
    network.observe = lambda state, image: (observed.append(image), observe(state, image))[1]
    past: Frame | None = None
    predicted = []
    with torch.no_grad():
        for t in range(OBSERVED + 2):
            frame, past = network.step(network.encode_examples(None), video_frame(t), past)
            predicted.append(frame)
    expected = [video_frame(t).required_image for t in range(OBSERVED)] + predicted[OBSERVED : OBSERVED + 1]
    assert len(observed) == len(expected) and all(torch.equal(a, b) for a, b in zip(observed, expected, strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_given_frames_are_observed_like_driving_frames(method: str):
    """Frames given by `synthesize --start` or before a window give the same state as a video that is observed from its beginning."""
    network = build_network(method).eval()
    observed: Frame | None = None
    given_past: Frame | None = None
    with torch.no_grad():
        for t in range(OBSERVED):
            image = video_frame(t).required_image
            _, observed = network.step(None, video_frame(t), observed)
            given_past = network.remember(video_frame(t), Synthesis(image, image), given_past)
        without_image = replace(video_frame(9), image=None)
        frame, past = network.step(None, without_image, given_past)
        assert torch.equal(frame, network.step(None, without_image, observed)[0]) and past.required_image is frame


@pytest.mark.parametrize("method", METHODS)
def test_every_weight_has_a_gradient_through_predicted_frames(method: str):
    network = build_network(method)
    given_past: Frame | None = None
    for t in range(2):
        image = video_frame(t).required_image
        given_past = network.remember(video_frame(t), Synthesis(image, image), given_past)
    first = network.synthesize(None, replace(video_frame(3), image=None), given_past)
    second = network.synthesize(
        None, replace(video_frame(4), image=None), network.remember(replace(video_frame(3), image=None), first, given_past)
    )
    second.frame.square().mean().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_predictor_is_loaded_and_its_fast_form_predicts_the_same(method: str, tmp_path: Path):
    network = build_network(method).eval()
    save_model(tmp_path / "baseline.safetensors", network.state_dict(), tiny_config(method), {"step": 0})
    model = load_model(tmp_path / "baseline.safetensors")
    assert type(model.generator) is type(network) and model.config == tiny_config(method)
    renderer = Renderer(network, InferenceOptions("fp32"))
    fast_past: Frame | None = None
    exact_past: Frame | None = None
    for t in range(5):
        image = video_frame(t).required_image if t < OBSERVED else None
        frame, fast_past = renderer.step(renderer.encode_examples(None), replace(video_frame(t), image=image), fast_past)
        with torch.no_grad():
            other, exact_past = network.step(None, replace(video_frame(t), image=image), exact_past)
        assert torch.allclose(frame, other, atol=1e-4)

"""The few-shot generator: any number of examples, weights that they generate, a code that is made once per clip."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from stages.networks.config import PRESETS, GeneratorConfig
from stages.networks.generator import FewShotGenerator, State
from stages.networks.layers import ModulationWeights, Spade, pointwise

TINY = PRESETS["tiny"]


def generator(config: GeneratorConfig = TINY) -> FewShotGenerator:
    torch.manual_seed(0)
    return FewShotGenerator(config).eval()


def examples(count: int, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(count)
    images = torch.rand(batch, count, 3, 64, 64, generator=draw) * 2 - 1
    return images, torch.rand(batch, count, TINY.semantic_channels, 64, 64, generator=draw)


@pytest.mark.parametrize("count", [1, 2, 5, 32])
@torch.no_grad()
def test_one_network_takes_any_number_of_examples(count):
    net, (images, semantics) = generator(), examples(count)
    frame, state = net.step(net.encode_examples(images, semantics), semantics[:, 0])
    again, _ = net.step(net.encode_examples(images, semantics), semantics[:, 0], state)

    assert frame.shape == again.shape == (2, 3, 64, 64)
    assert frame.abs().max() <= 1 and again.abs().max() <= 1 + 1e-6


@torch.no_grad()
def test_with_one_example_everything_about_it_is_computed_once():
    net, (images, semantics) = generator(), examples(1)
    code = net.encode_examples(images, semantics)
    assert code.appearance is not None

    net.example_encoder.forward = net.attention.forward = None  # type: ignore[assignment]  # a step must not need them
    net.weight_generator = torch.nn.ModuleList()
    frame, _ = net.step(code, semantics[:, 0])
    assert frame.shape == (2, 3, 64, 64)


@torch.no_grad()
def test_attention_averages_values_by_softmax_of_key_times_query_and_tells_each_examples_share():
    attention = generator().attention
    draw = torch.Generator().manual_seed(0)
    query, keys = torch.randn(2, 12, 8, generator=draw), torch.randn(2, 3 * 12, 8, generator=draw)
    values = torch.randn(2, 3, 5, 3, 4, generator=draw)
    q, shares = attention(query, keys, values)

    alpha = (query @ keys.mT).softmax(-1)  # [B, N, K N], with no scale, as in section 3
    flat = values.permute(0, 1, 3, 4, 2).flatten(1, 3)
    assert torch.allclose(q, (alpha @ flat).mT.unflatten(2, (3, 4)), atol=1e-5)
    assert torch.allclose(shares, alpha.unflatten(2, (3, 12)).sum(-1).mean(1), atol=1e-5)


@torch.no_grad()
def test_the_example_that_looks_most_like_the_driving_frame_is_warped():
    net, (images, semantics) = generator(), examples(3)
    code = net.encode_examples(images, semantics)
    assert code.keys is not None
    keys = F.normalize(torch.randn(code.keys.shape, generator=torch.Generator().manual_seed(1)), dim=-1) * 10
    net.attention.key = lambda semantic: keys[:, 512:768]  # type: ignore[method-assign]  # those of the third example
    made = net.synthesize(replace(code, keys=keys), semantics[:, 2])

    assert made.best.tolist() == [2, 2]
    assert torch.allclose(made.shares.sum(1), torch.ones(2), atol=1e-5)


@torch.no_grad()
def test_the_order_of_the_examples_does_not_matter():
    net, (images, semantics) = generator(), examples(3)
    order = [2, 0, 1]
    one, _ = net.step(net.encode_examples(images, semantics), semantics[:, 0])
    other, _ = net.step(net.encode_examples(images[:, order], semantics[:, order]), semantics[:, 0])
    assert torch.allclose(one, other, atol=1e-4)


@torch.no_grad()
def test_another_example_generates_other_weights():
    net, (images, semantics) = generator(), examples(1)
    first = net.encode_examples(images, semantics).appearance
    other = net.encode_examples(images.flip(0), semantics.flip(0)).appearance
    assert first is not None and other is not None
    for mine, theirs in zip(first.weights, other.weights, strict=True):
        assert not torch.equal(mine[0].shared, theirs[0].shared)
        assert torch.allclose(mine[0].shared, theirs[0].shared.flip(0), atol=1e-5)


def test_generated_layers_are_the_convolutions_of_equations_8_to_10_sample_by_sample():
    draw = torch.Generator().manual_seed(0)
    x, label = torch.randn(2, 6, 5, 7, generator=draw), torch.randn(2, 4, 5, 7, generator=draw)
    weights = ModulationWeights(torch.randn(2, 3, 5, generator=draw), torch.randn(2, 12, 4, generator=draw))
    made = Spade(6, 4, 3, 0, 0, adaptive=True)(x, label, [], weights)

    for i in range(2):
        shared = F.conv2d(label[i : i + 1], weights.shared[i, :, :-1, None, None], weights.shared[i, :, -1])
        embedded = F.leaky_relu(shared, 0.2)
        maps = F.conv2d(embedded, weights.modulation[i, :, :-1, None, None], weights.modulation[i, :, -1])
        gamma, beta = maps.chunk(2, 1)
        expected = F.instance_norm(x[i : i + 1]) * (1 + gamma) + beta
        assert torch.allclose(made[i : i + 1], expected, atol=1e-5)


def test_a_pointwise_convolution_adds_its_bias():
    weights = torch.tensor([[[2.0, 10.0]]])
    assert pointwise(torch.full((1, 1, 2, 2), 3.0), weights).tolist() == [[[[16.0, 16.0], [16.0, 16.0]]]]


@pytest.mark.parametrize("combine", ["matting", "spade", "both"])
@torch.no_grad()
def test_every_way_to_combine_warps_makes_frames_with_and_without_a_past(combine):
    net, (images, semantics) = generator(replace(TINY, combine=combine)), examples(1)
    code = net.encode_examples(images, semantics)
    first = net.synthesize(code, semantics[:, 0])
    second = net.synthesize(code, semantics[:, 0], State(first.frame, semantics[:, 0]))

    assert first.previous is None and second.previous is not None
    assert second.frame.shape == (2, 3, 64, 64)


@torch.no_grad()
def test_matting_takes_the_warp_where_the_mask_is_0_and_the_synthesis_where_it_is_1():
    net, (images, semantics) = generator(), examples(1)
    made = net.synthesize(net.encode_examples(images, semantics), semantics[:, 0])
    expected = (1 - made.example_mask) * made.example.image + made.example_mask * made.raw
    assert torch.allclose(made.frame, expected, atol=1e-5)


def test_every_parameter_learns_when_there_are_several_examples_and_a_past():
    net, (images, semantics) = generator().train(), examples(2)
    code = net.encode_examples(images, semantics)
    made = net.synthesize(code, semantics[:, 0], State(images[:, 0], semantics[:, 1]))
    (made.frame.square().mean() + made.raw.square().mean()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_the_shipped_preset_costs_at_most_15_gmac_per_frame():
    from torch.utils.flop_counter import FlopCounterMode

    net = FewShotGenerator(PRESETS["face-256"]).eval()
    images, semantics = torch.zeros(1, 1, 3, 256, 256), torch.zeros(1, 1, 7, 256, 256)
    with torch.inference_mode():
        code = net.encode_examples(images, semantics)
        with FlopCounterMode(display=False) as counter:
            net.step(code, semantics[:, 0], State(images[:, 0], semantics[:, 0]))
    assert counter.get_total_flops() / 2 < 15e9


def test_a_configuration_survives_json_and_refuses_what_it_does_not_know():
    assert GeneratorConfig.from_json(TINY.to_json()) == TINY
    with pytest.raises(TypeError, match="wings"):
        GeneratorConfig.from_json({**TINY.to_json(), "wings": 2})

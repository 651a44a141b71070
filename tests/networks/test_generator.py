"""The few-shot generator: any number of examples, weights generated from them, and a code that is computed once per clip."""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter

import pytest
import torch
from torch.nn import functional as F

from stages.networks.common.frame import Frame
from stages.networks.fewshot.config import PRESETS, FewShotConfig
from stages.networks.fewshot.generator import FewShotGenerator
from stages.networks.fewshot.spade import pointwise

TINY = PRESETS["tiny"]


def make_generator(config: FewShotConfig = TINY) -> FewShotGenerator:
    torch.manual_seed(0)
    return FewShotGenerator(config).eval()


def random_examples(count: int, batch: int = 2, config: FewShotConfig = TINY) -> Frame:
    """[batch, count, ...]"""
    rng = torch.Generator().manual_seed(count)
    images = torch.rand(batch, count, 3, *config.size, generator=rng) * 2 - 1
    semantics = torch.rand(batch, count, config.semantic_channels, *config.size, generator=rng)
    points = torch.rand(batch, count, 78 if config.kind.startswith("landmarks") else 67, 3, generator=rng)
    return Frame(semantics, points * torch.tensor([*config.size[::-1], 1.0]), images)


def invert_images(examples: Frame) -> Frame:
    return replace(examples, image=-examples.required_image)


def frame_at(frames: Frame, index: int) -> Frame:
    """One of several frames: [B, N, ...] -> [B, ...]."""
    return frames.map(lambda x: x[:, index])


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 5, 32])
@torch.no_grad()
def test_one_network_accepts_any_number_of_examples(count):
    net, examples = make_generator(), random_examples(count)
    frame, state = net.step(net.encode_examples(examples), frame_at(examples, 0))
    again, _ = net.step(net.encode_examples(examples), frame_at(examples, 0), state)

    assert frame.shape == again.shape == (2, 3, 64, 64)
    assert frame.abs().max() <= 1 and again.abs().max() <= 1 + 1e-6


@torch.no_grad()
def test_with_one_example_a_step_needs_no_encoder():
    net, examples = make_generator(), random_examples(1)
    code = net.encode_examples(examples)
    assert code.appearance is not None

    del net.example_encoder, net.attention  # which a step must not use
    net.weight_generator = torch.nn.ModuleList()
    frame, _ = net.step(code, frame_at(examples, 0))
    assert frame.shape == (2, 3, 64, 64)


@torch.no_grad()
def test_the_example_with_the_most_attention_is_warped():
    net, examples = make_generator(), random_examples(3)
    code = net.encode_examples(examples)
    assert code.keys is not None
    keys = F.normalize(torch.randn(code.keys.shape, generator=torch.Generator().manual_seed(1)), dim=-1) * 10
    net.attention.query = lambda semantic: keys[:, 2]  # type: ignore[method-assign]  # the keys of the third example
    output = net.synthesize(replace(code, memory=net.attention.memorise(keys, code.values)), frame_at(examples, 2))
    assert output.chosen_example is not None and output.chosen_example.tolist() == [2, 2]


@pytest.mark.parametrize(("attention", "norm"), [("pixel", "mean"), ("compact", "mean"), ("compact", "unit")])
@torch.no_grad()
def test_attention_sums_to_1_at_each_position(attention, norm):
    net, examples = make_generator(replace(TINY, attention=attention, basis_norm=norm)), random_examples(3)
    output = net.synthesize(net.encode_examples(examples), frame_at(examples, 0))
    assert output.attention is not None and output.shares is not None
    assert output.attention.shape == (2, 3, 16, 16)
    assert torch.allclose(output.attention.sum(1), torch.ones(2, 16, 16), atol=1e-5)
    assert torch.allclose(output.shares.sum(1), torch.ones(2), atol=1e-5)


@pytest.mark.parametrize(("attention", "norm"), [("pixel", "mean"), ("compact", "mean"), ("compact", "unit")])
@torch.no_grad()
def test_repeated_examples_change_nothing(attention, norm):
    net, examples = make_generator(replace(TINY, attention=attention, basis_norm=norm)), random_examples(2)
    once = net.synthesize(net.encode_examples(examples), frame_at(examples, 0))
    thrice = net.synthesize(net.encode_examples(examples.map(lambda x: torch.cat([x] * 3, 1))), frame_at(examples, 0))
    assert torch.allclose(once.frame, thrice.frame, atol=1e-4)
    assert thrice.shares is not None and once.shares is not None
    assert torch.allclose(thrice.shares.unflatten(1, (3, 2)).sum(1), once.shares, atol=1e-4)


@pytest.mark.parametrize("preset", ["tiny", "tiny-paper"])
@pytest.mark.parametrize("count", [1, 3])
@torch.no_grad()
def test_a_batch_equals_its_samples_computed_alone(preset, count):
    net, examples = make_generator(PRESETS[preset]), random_examples(count)
    past = frame_at(examples, 0)
    together, _ = net.step(net.encode_examples(examples), frame_at(examples, 0), past)
    for i in range(2):
        one = slice(i, i + 1)
        single = examples.map(itemgetter(one))
        alone, _ = net.step(net.encode_examples(single), frame_at(single, 0), frame_at(single, 0))
        assert torch.allclose(together[one], alone, atol=1e-5)


@torch.no_grad()
def test_a_zero_flow_with_mask_0_returns_the_previous_frame():
    net, examples = make_generator(replace(TINY, combine="matting", refine_mask=False)), random_examples(1)
    net.get_parameter("flow.head.weight").zero_()
    net.get_parameter("flow.head.bias").copy_(torch.tensor([0.0, 0.0, -40.0]))
    output = net.synthesize(net.encode_examples(examples), frame_at(examples, 0), frame_at(examples, 0))
    assert output.previous is not None and output.previous.flow.abs().max() == 0
    assert torch.allclose(output.frame, frame_at(examples, 0).required_image, atol=1e-5)


@pytest.mark.parametrize("attention", ["pixel", "compact"])
@torch.no_grad()
def test_choosing_some_examples_equals_encoding_these_alone(attention):
    net, examples = make_generator(replace(TINY, attention=attention)), random_examples(4)
    code = net.encode_examples(examples)
    for chosen_indices in ([2], [3, 1]):
        chosen, _ = net.step(net.select_examples(code, chosen_indices), frame_at(examples, 0))
        alone, _ = net.step(net.encode_examples(examples.map(itemgetter((slice(None), chosen_indices)))), frame_at(examples, 0))
        assert torch.allclose(chosen, alone, atol=1e-5)


@torch.no_grad()
def test_choosing_examples_changes_nothing_if_the_network_ignores_them():
    net, examples = make_generator(replace(TINY, method="spade", warp_example=False)), random_examples(4)
    code = net.encode_examples(examples)
    with_all, _ = net.step(code, frame_at(examples, 0))
    assert torch.equal(net.step(net.select_examples(code, [3, 1]), frame_at(examples, 0))[0], with_all)


@torch.no_grad()
def test_a_model_with_pixel_attention_also_runs_with_compact_attention():
    net, examples = make_generator(), random_examples(3)
    compact = FewShotGenerator(replace(TINY, attention="compact")).eval()
    compact.load_state_dict(net.state_dict())
    by_pixels, by_bases = (n.synthesize(n.encode_examples(examples), frame_at(examples, 0)) for n in (net, compact))
    assert by_bases.shares is not None and by_pixels.shares is not None
    assert by_bases.frame.isfinite().all() and not torch.equal(by_bases.shares, by_pixels.shares)


@torch.no_grad()
def test_compact_attention_has_the_same_number_of_bases_for_any_number_of_examples():
    net = make_generator(replace(TINY, attention="compact", bases=16))
    for count in (2, 16):
        memory = net.encode_examples(random_examples(count)).memory
        assert memory is not None and memory.keys.shape[1] == memory.values.shape[1] == 16


@pytest.mark.parametrize("method", ["encoder", "concat", "adain"])
@torch.no_grad()
def test_each_baseline_of_table_1_depends_on_the_example(method):
    net, examples = make_generator(replace(TINY, method=method, warp_example=False, combine="matting")), random_examples(2)
    assert len(net.weight_generator) == 0
    one, _ = net.step(net.encode_examples(examples.map(lambda x: x[:, :1])), frame_at(examples, 0))
    other, _ = net.step(net.encode_examples(invert_images(examples).map(lambda x: x[:, :1])), frame_at(examples, 0))
    assert one.shape == (2, 3, 64, 64) and not torch.allclose(one, other)


@torch.no_grad()
def test_plain_spade_ignores_the_examples():
    net, examples = make_generator(replace(TINY, method="spade", warp_example=False, combine="matting")), random_examples(2)
    one, state = net.step(net.encode_examples(examples), frame_at(examples, 0))
    other, _ = net.step(net.encode_examples(invert_images(examples)), frame_at(examples, 0))
    assert torch.equal(one, other)
    assert net.step(net.encode_examples(examples), frame_at(examples, 0), state)[0].shape == one.shape


@pytest.mark.parametrize(
    "change",
    [
        {"flow_shared": False},
        {"attention_shared": False},
        {"norm": "batch"},
        {"attention": "compact", "basis_norm": "unit"},
        {"pooling": "outer", "adaptive_levels": 3},
        {"label_embedding": "generated"},
        {"label_embedding": "generated", "hidden": 0},
    ],
)
@torch.no_grad()
def test_every_variant_makes_frames(change):
    net, examples = make_generator(replace(TINY, **change)), random_examples(2)
    code = net.encode_examples(examples)
    frame, state = net.step(code, frame_at(examples, 0))
    assert net.step(code, frame_at(examples, 1), state)[0].isfinite().all()


@torch.no_grad()
def test_the_order_of_the_examples_does_not_matter():
    net, examples = make_generator(), random_examples(3)
    order = [2, 0, 1]
    one, _ = net.step(net.encode_examples(examples), frame_at(examples, 0))
    other, _ = net.step(net.encode_examples(examples.map(lambda x: x[:, order])), frame_at(examples, 0))
    assert torch.allclose(one, other, atol=1e-4)


@torch.no_grad()
def test_other_examples_generate_other_weights():
    net, examples = make_generator(), random_examples(1)
    first = net.encode_examples(examples).appearance
    other = net.encode_examples(examples.map(lambda x: x.flip(0))).appearance
    assert first is not None and other is not None
    for level, other_level in zip(first.weights, other.weights, strict=True):
        weights, other_weights = level.layers[0].modulation, other_level.layers[0].modulation
        assert not torch.equal(weights, other_weights)
        assert torch.allclose(weights, other_weights.flip(0), atol=1e-5)


def test_a_pointwise_convolution_adds_its_bias():
    weights = torch.tensor([[[2.0, 10.0]]])
    assert pointwise(torch.full((1, 1, 2, 2), 3.0), weights).tolist() == [[[[16.0, 16.0], [16.0, 16.0]]]]


@pytest.mark.parametrize("combine", ["matting", "spade", "both"])
@torch.no_grad()
def test_every_way_to_combine_warps_makes_frames_with_and_without_a_past(combine):
    net, examples = make_generator(replace(TINY, combine=combine)), random_examples(1)
    code = net.encode_examples(examples)
    first = net.synthesize(code, frame_at(examples, 0))
    second = net.synthesize(code, frame_at(examples, 0), replace(frame_at(examples, 0), image=first.frame))

    assert first.previous is None and second.previous is not None
    assert second.frame.shape == (2, 3, 64, 64)


@torch.no_grad()
def test_matting_takes_the_warp_where_the_mask_is_0_and_the_synthesis_where_it_is_1():
    net, examples = make_generator(), random_examples(1)
    output = net.synthesize(net.encode_examples(examples), frame_at(examples, 0))
    assert output.example is not None and output.example_mask is not None
    expected = (1 - output.example_mask) * output.example.image + output.example_mask * output.raw
    assert torch.allclose(output.frame, expected, atol=1e-5)


@pytest.mark.parametrize("preset", ["tiny", "tiny-paper"])
def test_every_parameter_gets_a_gradient_with_several_examples_and_a_past(preset):
    net, examples = make_generator(PRESETS[preset]).train(), random_examples(2)
    code = net.encode_examples(examples)
    output = net.synthesize(code, frame_at(examples, 0), replace(frame_at(examples, 1), image=frame_at(examples, 0).image))
    (output.frame.square().mean() + output.raw.square().mean()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.slow
def test_the_shipped_preset_costs_at_most_15_gmac_per_frame():
    from torch.utils.flop_counter import FlopCounterMode

    net = FewShotGenerator(PRESETS["face-256"]).eval()
    examples = random_examples(1, 1, PRESETS["face-256"])
    with torch.inference_mode():
        code = net.encode_examples(examples)
        with FlopCounterMode(display=False) as counter:
            net.step(code, frame_at(examples, 0), frame_at(examples, 0))
    assert counter.get_total_flops() / 2 < 15e9


@pytest.mark.slow
def test_the_paper_preset_has_the_size_and_the_cost_of_the_public_code():
    """112.1 million parameters, and 83.7 million without warped examples (streets). A frame with one example takes 72.4 GMAC, including the
    encoding of the example, which the public code repeats in every frame."""
    from torch.utils.flop_counter import FlopCounterMode

    net = FewShotGenerator(PRESETS["paper"]).eval()
    examples = random_examples(1, 1, PRESETS["paper"])
    with torch.no_grad():
        code = net.encode_examples(examples)
        with FlopCounterMode(display=False) as counter:
            net.step(code, frame_at(examples, 0), frame_at(examples, 0))
        with FlopCounterMode(display=False) as encoding:
            net.example_encoder.after_attention(net.example_encoder.before_attention(examples.required_image[0], examples.semantic[0])[0])
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(112.1e6, rel=0.01)
    assert counter.get_total_flops() / 2 == pytest.approx(72.4e9, rel=0.05)
    assert (counter.get_total_flops() + encoding.get_total_flops()) / 2 == pytest.approx(72.4e9, rel=0.01)
    street = FewShotGenerator(PRESETS["paper-street"])
    assert sum(p.numel() for p in street.parameters()) == pytest.approx(83.7e6, rel=0.01)


def test_a_configuration_is_read_from_its_json_and_unknown_settings_are_refused():
    assert FewShotConfig.from_json(TINY.to_json()) == TINY
    with pytest.raises(TypeError, match="wings"):
        FewShotConfig.from_json({**TINY.to_json(), "wings": 2})

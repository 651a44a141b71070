"""The few-shot generator: any number of examples, weights that they generate, a code that is made once per clip."""

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


def generator(config: FewShotConfig = TINY) -> FewShotGenerator:
    torch.manual_seed(0)
    return FewShotGenerator(config).eval()


def examples(count: int, batch: int = 2, config: FewShotConfig = TINY) -> Frame:
    draw = torch.Generator().manual_seed(count)
    images = torch.rand(batch, count, 3, *config.size, generator=draw) * 2 - 1
    semantics = torch.rand(batch, count, config.semantic_channels, *config.size, generator=draw)
    points = torch.rand(batch, count, 78 if config.kind.startswith("landmarks") else 67, 3, generator=draw)
    return Frame(semantics, points * torch.tensor([*config.size[::-1], 1.0]), images)


def dark(shown: Frame) -> Frame:
    """The same with the pictures' negatives."""
    return replace(shown, image=-shown.required_image)


def at(shown: Frame, place: int) -> Frame:
    """One of several frames, [B, ...]."""
    return shown.map(lambda x: x[:, place])


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, 5, 32])
@torch.no_grad()
def test_one_network_takes_any_number_of_examples(count):
    net, shown = generator(), examples(count)
    frame, state = net.step(net.encode_examples(shown), at(shown, 0))
    again, _ = net.step(net.encode_examples(shown), at(shown, 0), state)

    assert frame.shape == again.shape == (2, 3, 64, 64)
    assert frame.abs().max() <= 1 and again.abs().max() <= 1 + 1e-6


@torch.no_grad()
def test_with_one_example_everything_about_it_is_computed_once():
    net, shown = generator(), examples(1)
    code = net.encode_examples(shown)
    assert code.appearance is not None

    del net.example_encoder, net.attention  # a step must not need them
    net.weight_generator = torch.nn.ModuleList()
    frame, _ = net.step(code, at(shown, 0))
    assert frame.shape == (2, 3, 64, 64)


@torch.no_grad()
def test_the_example_that_looks_most_like_the_driving_frame_is_warped():
    net, shown = generator(), examples(3)
    code = net.encode_examples(shown)
    assert code.keys is not None
    keys = F.normalize(torch.randn(code.keys.shape, generator=torch.Generator().manual_seed(1)), dim=-1) * 10
    net.attention.query = lambda semantic: keys[:, 2]  # type: ignore[method-assign]  # those of the third example
    made = net.synthesize(replace(code, memory=net.attention.memorise(keys, code.values)), at(shown, 2))
    assert made.best is not None and made.best.tolist() == [2, 2]


@pytest.mark.parametrize(("attention", "norm"), [("pixel", "mean"), ("compact", "mean"), ("compact", "unit")])
@torch.no_grad()
def test_shares_of_attention_sum_to_1_everywhere(attention, norm):
    net, shown = generator(replace(TINY, attention=attention, basis_norm=norm)), examples(3)
    made = net.synthesize(net.encode_examples(shown), at(shown, 0))
    assert made.attention is not None and made.shares is not None
    assert made.attention.shape == (2, 3, 16, 16)
    assert torch.allclose(made.attention.sum(1), torch.ones(2, 16, 16), atol=1e-5)
    assert torch.allclose(made.shares.sum(1), torch.ones(2), atol=1e-5)


@pytest.mark.parametrize(("attention", "norm"), [("pixel", "mean"), ("compact", "mean"), ("compact", "unit")])
@torch.no_grad()
def test_an_example_given_several_times_counts_as_given_once_to_the_same_attention(attention, norm):
    net, shown = generator(replace(TINY, attention=attention, basis_norm=norm)), examples(2)
    once = net.synthesize(net.encode_examples(shown), at(shown, 0))
    thrice = net.synthesize(net.encode_examples(shown.map(lambda x: torch.cat([x] * 3, 1))), at(shown, 0))
    assert torch.allclose(once.frame, thrice.frame, atol=1e-4)
    assert thrice.shares is not None and once.shares is not None
    assert torch.allclose(thrice.shares.unflatten(1, (3, 2)).sum(1), once.shares, atol=1e-4)


@pytest.mark.parametrize("preset", ["tiny", "tiny-paper"])
@pytest.mark.parametrize("count", [1, 3])
@torch.no_grad()
def test_a_batch_equals_its_samples_one_by_one(preset, count):
    net, shown = generator(PRESETS[preset]), examples(count)
    past = at(shown, 0)
    together, _ = net.step(net.encode_examples(shown), at(shown, 0), past)
    for i in range(2):
        one = slice(i, i + 1)
        single = shown.map(itemgetter(one))
        alone, _ = net.step(net.encode_examples(single), at(single, 0), at(single, 0))
        assert torch.allclose(together[one], alone, atol=1e-5)


@torch.no_grad()
def test_a_zero_flow_with_mask_0_returns_the_previous_frame():
    net, shown = generator(replace(TINY, combine="matting", refine_mask=False)), examples(1)
    net.get_parameter("flow.head.weight").zero_()
    net.get_parameter("flow.head.bias").copy_(torch.tensor([0.0, 0.0, -40.0]))
    made = net.synthesize(net.encode_examples(shown), at(shown, 0), at(shown, 0))
    assert made.previous is not None and made.previous.flow.abs().max() == 0
    assert torch.allclose(made.frame, at(shown, 0).required_image, atol=1e-5)


@pytest.mark.parametrize("attention", ["pixel", "compact"])
@torch.no_grad()
def test_some_of_the_examples_can_be_chosen_without_encoding_them_again(attention):
    net, shown = generator(replace(TINY, attention=attention)), examples(4)
    code = net.encode_examples(shown)
    for kept in ([2], [3, 1]):
        chosen, _ = net.step(net.choose(code, kept), at(shown, 0))
        alone, _ = net.step(net.encode_examples(shown.map(itemgetter((slice(None), kept)))), at(shown, 0))
        assert torch.allclose(chosen, alone, atol=1e-5)


@torch.no_grad()
def test_of_examples_that_are_not_looked_at_any_can_be_chosen():
    net, shown = generator(replace(TINY, method="spade", warp_example=False)), examples(4)
    code = net.encode_examples(shown)
    whole, _ = net.step(code, at(shown, 0))
    assert torch.equal(net.step(net.choose(code, [3, 1]), at(shown, 0))[0], whole)


@torch.no_grad()
def test_a_model_trained_with_one_kind_of_attention_runs_with_the_other():
    net, shown = generator(), examples(3)
    compact = FewShotGenerator(replace(TINY, attention="compact")).eval()
    compact.load_state_dict(net.state_dict())
    pixel, other = (n.synthesize(n.encode_examples(shown), at(shown, 0)) for n in (net, compact))
    assert other.shares is not None and pixel.shares is not None
    assert other.frame.isfinite().all() and not torch.equal(other.shares, pixel.shares)


@torch.no_grad()
def test_with_compact_attention_a_frame_recalls_from_as_many_bases_whatever_the_number_of_examples():
    net = generator(replace(TINY, attention="compact", bases=16))
    for count in (2, 16):
        memory = net.encode_examples(examples(count)).memory
        assert memory is not None and memory.keys.shape[1] == memory.values.shape[1] == 16


@pytest.mark.parametrize("method", ["encoder", "concat", "adain"])
@torch.no_grad()
def test_each_baseline_of_table_1_shows_another_example_another_way(method):
    net, shown = generator(replace(TINY, method=method, warp_example=False, combine="matting")), examples(2)
    assert len(net.weight_generator) == 0
    one, _ = net.step(net.encode_examples(shown.map(lambda x: x[:, :1])), at(shown, 0))
    other, _ = net.step(net.encode_examples(dark(shown).map(lambda x: x[:, :1])), at(shown, 0))
    assert one.shape == (2, 3, 64, 64) and not torch.allclose(one, other)


@torch.no_grad()
def test_plain_spade_does_not_look_at_the_examples():
    net, shown = generator(replace(TINY, method="spade", warp_example=False, combine="matting")), examples(2)
    one, state = net.step(net.encode_examples(shown), at(shown, 0))
    other, _ = net.step(net.encode_examples(dark(shown)), at(shown, 0))
    assert torch.equal(one, other)
    assert net.step(net.encode_examples(shown), at(shown, 0), state)[0].shape == one.shape


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
    net, shown = generator(replace(TINY, **change)), examples(2)
    code = net.encode_examples(shown)
    frame, state = net.step(code, at(shown, 0))
    assert net.step(code, at(shown, 1), state)[0].isfinite().all()


@torch.no_grad()
def test_the_order_of_the_examples_does_not_matter():
    net, shown = generator(), examples(3)
    order = [2, 0, 1]
    one, _ = net.step(net.encode_examples(shown), at(shown, 0))
    other, _ = net.step(net.encode_examples(shown.map(lambda x: x[:, order])), at(shown, 0))
    assert torch.allclose(one, other, atol=1e-4)


@torch.no_grad()
def test_another_example_generates_other_weights():
    net, shown = generator(), examples(1)
    first = net.encode_examples(shown).appearance
    other = net.encode_examples(shown.map(lambda x: x.flip(0))).appearance
    assert first is not None and other is not None
    for mine, theirs in zip(first.weights, other.weights, strict=True):
        ours, others = mine.layers[0].modulation, theirs.layers[0].modulation
        assert not torch.equal(ours, others)
        assert torch.allclose(ours, others.flip(0), atol=1e-5)


def test_a_pointwise_convolution_adds_its_bias():
    weights = torch.tensor([[[2.0, 10.0]]])
    assert pointwise(torch.full((1, 1, 2, 2), 3.0), weights).tolist() == [[[[16.0, 16.0], [16.0, 16.0]]]]


@pytest.mark.parametrize("combine", ["matting", "spade", "both"])
@torch.no_grad()
def test_every_way_to_combine_warps_makes_frames_with_and_without_a_past(combine):
    net, shown = generator(replace(TINY, combine=combine)), examples(1)
    code = net.encode_examples(shown)
    first = net.synthesize(code, at(shown, 0))
    second = net.synthesize(code, at(shown, 0), replace(at(shown, 0), image=first.frame))

    assert first.previous is None and second.previous is not None
    assert second.frame.shape == (2, 3, 64, 64)


@torch.no_grad()
def test_matting_takes_the_warp_where_the_mask_is_0_and_the_synthesis_where_it_is_1():
    net, shown = generator(), examples(1)
    made = net.synthesize(net.encode_examples(shown), at(shown, 0))
    assert made.example is not None and made.example_mask is not None
    expected = (1 - made.example_mask) * made.example.image + made.example_mask * made.raw
    assert torch.allclose(made.frame, expected, atol=1e-5)


@pytest.mark.parametrize("preset", ["tiny", "tiny-paper"])
def test_every_parameter_learns_when_there_are_several_examples_and_a_past(preset):
    net, shown = generator(PRESETS[preset]).train(), examples(2)
    code = net.encode_examples(shown)
    made = net.synthesize(code, at(shown, 0), replace(at(shown, 1), image=at(shown, 0).image))
    (made.frame.square().mean() + made.raw.square().mean()).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.slow
def test_the_shipped_preset_costs_at_most_15_gmac_per_frame():
    from torch.utils.flop_counter import FlopCounterMode

    net = FewShotGenerator(PRESETS["face-256"]).eval()
    shown = examples(1, 1, PRESETS["face-256"])
    with torch.inference_mode():
        code = net.encode_examples(shown)
        with FlopCounterMode(display=False) as counter:
            net.step(code, at(shown, 0), at(shown, 0))
    assert counter.get_total_flops() / 2 < 15e9


@pytest.mark.slow
def test_the_paper_preset_has_the_size_and_the_cost_of_the_public_code():
    """112.1 million parameters; 72.4 GMAC for a steady frame with one example, which the code encodes in every frame, we once; 83.7 million
    parameters without warped examples (streets)."""
    from torch.utils.flop_counter import FlopCounterMode

    net = FewShotGenerator(PRESETS["paper"]).eval()
    shown = examples(1, 1, PRESETS["paper"])
    with torch.no_grad():
        code = net.encode_examples(shown)
        with FlopCounterMode(display=False) as counter:
            net.step(code, at(shown, 0), at(shown, 0))
        with FlopCounterMode(display=False) as encoding:
            net.example_encoder.after(net.example_encoder.before(shown.required_image[0], shown.semantic[0])[0])
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(112.1e6, rel=0.01)
    assert counter.get_total_flops() / 2 == pytest.approx(72.4e9, rel=0.05)
    assert (counter.get_total_flops() + encoding.get_total_flops()) / 2 == pytest.approx(72.4e9, rel=0.01)
    street = FewShotGenerator(PRESETS["paper-street"])
    assert sum(p.numel() for p in street.parameters()) == pytest.approx(83.7e6, rel=0.01)


def test_a_configuration_survives_json_and_refuses_what_it_does_not_know():
    assert FewShotConfig.from_json(TINY.to_json()) == TINY
    with pytest.raises(TypeError, match="wings"):
        FewShotConfig.from_json({**TINY.to_json(), "wings": 2})

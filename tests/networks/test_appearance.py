"""Multimodal vid2vid: averages over instances, the encoder E, and z_t as a further input of the generator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stages.networks import families
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Synthesis
from stages.networks.common.inference import Renderer, Speed
from stages.networks.vid2vid import PRESETS, Vid2Vid
from stages.networks.vid2vid.appearance import AppearanceEncoder, region_means

CONFIG = replace(PRESETS["tiny-vid2vid"], kind="segment", appearance=3, appearance_filters=4, appearance_downs=2)


def network_of(config: Any = CONFIG) -> Any:
    torch.manual_seed(0)
    return Vid2Vid(config).eval()


def moment(seed: int = 0, batch: int = 1, size: tuple[int, int] = (64, 64)) -> Any:
    """A real frame of label blocks; each block is a region."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(CONFIG.semantic_channels, (batch, size[0] // 16, size[1] // 16), generator=draw)
    labels = labels.repeat_interleave(16, 1).repeat_interleave(16, 2)
    semantic = torch.nn.functional.one_hot(labels, CONFIG.semantic_channels).permute(0, 3, 1, 2).float()
    image = torch.rand(batch, 3, *size, generator=draw) * 2 - 1
    return Frame(semantic, torch.zeros(batch, 0, 3), image, labels.int() + 1)


def means_by_loops(features: Tensor, regions: Tensor) -> Tensor:
    """Average each region one after another, pixel by pixel."""
    samples = []
    for sample, numbers in zip(features, regions, strict=True):
        columns = []
        for y in range(numbers.shape[0]):
            row = []
            for x in range(numbers.shape[1]):
                same = [sample[:, v, u] for v, u in (numbers == numbers[y, x]).nonzero().tolist()]
                row.append(torch.stack(same).mean(0) if numbers[y, x] else torch.zeros_like(sample[:, y, x]))
            columns.append(torch.stack(row, 1))
        samples.append(torch.stack(columns, 1))
    return torch.stack(samples)


@pytest.mark.parametrize("numbers", [(0, 1, 2), (1, 2, 7)])
def test_every_pixel_gets_the_mean_of_its_region_and_the_gradient_of_it(numbers):
    draw = torch.Generator().manual_seed(len(numbers))
    features = torch.rand(2, 3, 5, 7, generator=draw, dtype=torch.float64).requires_grad_(True)
    regions = torch.tensor(numbers)[torch.randint(len(numbers), (2, 5, 7), generator=draw)].int()
    weight = torch.rand(2, 3, 5, 7, generator=draw, dtype=torch.float64)
    ours, theirs = region_means(features, regions), means_by_loops(features, regions)
    assert torch.allclose(ours, theirs, rtol=0, atol=1e-14)
    got, wanted = (torch.autograd.grad((x * weight).sum(), features)[0] for x in (ours, theirs))
    assert torch.allclose(got, wanted, rtol=0, atol=1e-14) and got.abs().max() > 0


def test_the_encoder_has_the_dimensions_of_pix2pixhd():
    """0.79 million parameters and 7.3 GMAC at 1024x512, norms included in the first."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        encoder = AppearanceEncoder(3, 16, 4)
        made = encoder(torch.zeros(1, 3, 512, 1024))
    assert made.shape == (1, 3, 512, 1024)
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(0.79, abs=0.005)
    assert counter.get_total_flops() / 2e9 == pytest.approx(7.3, abs=0.05)


def test_the_appearance_of_a_real_frame_is_constant_on_each_region_and_the_same_at_both_scales():
    network, real = network_of(), moment(batch=2)
    appearance = network.appearance_of(real)
    assert appearance.shape == (2, 3, 64, 64) and appearance.abs().max() <= 1
    assert torch.allclose(appearance, region_means(appearance, real.regions), atol=1e-6)
    small = replace(
        real.map(lambda x: x[..., ::2, ::2]), image=torch.nn.functional.avg_pool2d(real.image, 3, 2, 1, count_include_pad=False)
    )
    assert torch.allclose(network.appearance_of(small), appearance[..., ::2, ::2], atol=1e-5)


def test_a_chosen_appearance_takes_the_place_of_that_of_the_image_and_is_kept_with_the_past():
    network, real = network_of(), moment()
    chosen = replace(real, image=None, regions=None, appearance=network.appearance_of(real))
    with torch.no_grad():
        own, given = network.synthesize(None, real), network.synthesize(None, chosen)
        assert torch.equal(own.frame, given.frame)
        assert not torch.equal(own.frame, network.synthesize(None, replace(chosen, appearance=-chosen.appearance)).frame)
        past = network.remember(chosen, given, None)
    assert past.semantic.shape[1] == CONFIG.semantic_channels + 3
    assert torch.equal(past.semantic[:, -3:], chosen.appearance)


def test_a_frame_given_as_the_past_has_the_appearance_of_its_image():
    network, given, driving = network_of(), moment(1), moment(2)
    kept = network.remember(given, Synthesis(given.required_image, given.required_image), None)
    with torch.no_grad():
        assert torch.allclose(kept.semantic[:, -3:], network.appearance_of(given))
        assert torch.equal(network.step(None, driving, kept)[0], network.step(None, driving, given)[0])


def test_every_weight_of_the_encoder_learns_from_the_frame_and_from_the_frame_after_it():
    network = network_of().train()
    _, past = network.step(None, moment(1), None)
    second = replace(moment(2), image=None, appearance=torch.zeros(1, 3, 64, 64))
    network.synthesize(None, second, past).frame.square().mean().backward()
    without = [name for name, p in network.encoder.named_parameters() if not p.grad.any() and not name.endswith("bias")]
    assert without == []


def test_the_encoder_is_held_with_the_coarsest_scale():
    network = network_of()
    network.learn_finest(64)
    assert not any(p.requires_grad for p in network.encoder.parameters())
    network.learn_finest(32)
    assert all(p.requires_grad for p in network.encoder.parameters())
    network.learn_finest(None)
    assert all(p.requires_grad for p in network.parameters())


def test_without_an_appearance_the_network_and_its_random_weights_are_as_before():
    plain, both = network_of(replace(CONFIG, appearance=0)), network_of()
    assert not [name for name in plain.state_dict() if "encoder" in name]
    assert {name for name in both.state_dict() if not name.startswith("encoder.")} == set(plain.state_dict())
    known = {"family": "vid2vid", "size": [64, 64], "filters": 8}  # of a model that was made before there was an appearance
    assert families.config_from_json(known) == replace(PRESETS["tiny-vid2vid"].__class__(), size=(64, 64), filters=8)


def test_the_inference_form_makes_the_same_frames_in_half_precision_too():
    network, chosen = network_of(), replace(moment(), image=None, appearance=torch.full((1, 3, 64, 64), 0.25))
    given = moment(5)
    with torch.no_grad():
        made = network.step(None, chosen, network.remember(given, Synthesis(given.required_image, given.required_image), None))[0]
    for precision, tolerance in (("fp32", 1e-4), ("bf16", 0.05)):
        renderer = Renderer(network, Speed(precision))  # type: ignore[arg-type]
        past = renderer.remember(given, Synthesis(given.required_image, given.required_image), None)
        assert (renderer.step(None, chosen, past)[0] - made).abs().mean() < tolerance

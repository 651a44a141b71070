"""Multimodal vid2vid: averages over instances, the encoder E, and z_t as a further input of the generator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from stages.errors import UsageError
from stages.networks import families
from stages.networks.common.frame import Frame
from stages.networks.common.generator import Synthesis
from stages.networks.common.inference import InferenceOptions, Renderer
from stages.networks.vid2vid import PRESETS, Vid2Vid
from stages.networks.vid2vid.appearance import AppearanceEncoder, region_means

CONFIG = replace(PRESETS["tiny-vid2vid"], kind="segment", appearance=3, appearance_filters=4, appearance_downs=2)


def make_network(config: Any = CONFIG) -> Any:
    torch.manual_seed(0)
    return Vid2Vid(config).eval()


def random_frame(seed: int = 0, batch: int = 1, size: tuple[int, int] = (64, 64)) -> Any:
    """A frame of 16x16 blocks with random labels and a random image; each label is a region."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(CONFIG.semantic_channels, (batch, size[0] // 16, size[1] // 16), generator=rng)
    labels = labels.repeat_interleave(16, 1).repeat_interleave(16, 2)
    semantic = torch.nn.functional.one_hot(labels, CONFIG.semantic_channels).permute(0, 3, 1, 2).float()
    image = torch.rand(batch, 3, *size, generator=rng) * 2 - 1
    return Frame(semantic, torch.zeros(batch, 0, 3), image, labels.int() + 1)


def means_by_loops(features: Tensor, regions: Tensor) -> Tensor:
    """Give each pixel the mean of its region; region 0 gets zeros."""
    samples = []
    for sample, ids in zip(features, regions, strict=True):
        rows = []
        for y in range(ids.shape[0]):
            pixels = []
            for x in range(ids.shape[1]):
                same = [sample[:, v, u] for v, u in (ids == ids[y, x]).nonzero().tolist()]
                pixels.append(torch.stack(same).mean(0) if ids[y, x] else torch.zeros_like(sample[:, y, x]))
            rows.append(torch.stack(pixels, 1))
        samples.append(torch.stack(rows, 1))
    return torch.stack(samples)


@pytest.mark.parametrize("ids", [(0, 1, 2), (1, 2, 7)])
def test_every_pixel_gets_the_mean_of_its_region_and_passes_its_gradient_on(ids):
    rng = torch.Generator().manual_seed(len(ids))
    features = torch.rand(2, 3, 5, 7, generator=rng, dtype=torch.float64).requires_grad_(True)
    regions = torch.tensor(ids)[torch.randint(len(ids), (2, 5, 7), generator=rng)].int()
    weight = torch.rand(2, 3, 5, 7, generator=rng, dtype=torch.float64)
    actual, expected = region_means(features, regions), means_by_loops(features, regions)
    assert torch.allclose(actual, expected, rtol=0, atol=1e-14)
    gradient, reference = (torch.autograd.grad((means * weight).sum(), features)[0] for means in (actual, expected))
    assert torch.allclose(gradient, reference, rtol=0, atol=1e-14) and gradient.abs().max() > 0


def test_the_encoder_has_the_dimensions_of_pix2pixhd():
    """0.79 million parameters, norms included, and 7.3 GMAC at 1024x512."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        encoder = AppearanceEncoder(3, 16, 4)
        appearance = encoder(torch.zeros(1, 3, 512, 1024))
    assert appearance.shape == (1, 3, 512, 1024)
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(0.79, abs=0.005)
    assert counter.get_total_flops() / 2e9 == pytest.approx(7.3, abs=0.05)


def test_the_appearance_of_a_real_frame_is_constant_in_each_region_and_equal_at_both_scales():
    network, real = make_network(), random_frame(batch=2)
    appearance = network.appearance_of(real)
    assert appearance.shape == (2, 3, 64, 64) and appearance.abs().max() <= 1
    assert torch.allclose(appearance, region_means(appearance, real.regions), atol=1e-6)
    small = replace(
        real.map(lambda x: x[..., ::2, ::2]), image=torch.nn.functional.avg_pool2d(real.image, 3, 2, 1, count_include_pad=False)
    )
    assert torch.allclose(network.appearance_of(small), appearance[..., ::2, ::2], atol=1e-5)


def test_a_chosen_appearance_replaces_the_encoded_one_and_is_kept_in_the_past():
    network, real = make_network(), random_frame()
    chosen = replace(real, image=None, regions=None, appearance=network.appearance_of(real))
    with torch.no_grad():
        from_image, from_choice = network.synthesize(None, real), network.synthesize(None, chosen)
        assert torch.equal(from_image.frame, from_choice.frame)
        assert not torch.equal(from_image.frame, network.synthesize(None, replace(chosen, appearance=-chosen.appearance)).frame)
        past = network.remember(chosen, from_choice, None)
    assert past.semantic.shape[1] == CONFIG.semantic_channels + 3
    assert torch.equal(past.semantic[:, -3:], chosen.appearance)


def test_a_real_frame_as_the_past_has_the_appearance_of_its_image():
    network, past_frame, driving = make_network(), random_frame(1), random_frame(2)
    past = network.remember(past_frame, Synthesis(past_frame.required_image, past_frame.required_image), None)
    with torch.no_grad():
        assert torch.allclose(past.semantic[:, -3:], network.appearance_of(past_frame))
        assert torch.equal(network.step(None, driving, past)[0], network.step(None, driving, past_frame)[0])


def test_with_colour_an_untrained_appearance_is_the_mean_colour_and_an_empty_head_paints_it():
    network, real = make_network(replace(CONFIG, appearance_colour=True)), random_frame()
    appearance = network.appearance_of(real)
    coarse = torch.nn.functional.avg_pool2d(real.image, 3, 2, 1, count_include_pad=False).repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(appearance, region_means(coarse, real.regions), atol=1e-6)
    for scale in network.scales:
        torch.nn.init.zeros_(scale.heads.image.weight)
    with torch.no_grad():
        assert torch.allclose(network.synthesize(None, real).frame, appearance, atol=1e-5)
        extreme = replace(real, image=None, appearance=torch.full((1, 3, 64, 64), 2.0))
        assert torch.allclose(network.synthesize(None, extreme).frame, torch.tensor(0.95))


def test_an_appearance_with_colour_needs_three_channels():
    with pytest.raises(UsageError, match="appearance = 3, not 2"):
        replace(CONFIG, appearance=2, appearance_colour=True).for_labels(["road", "car"])


def test_every_weight_of_the_encoder_gets_a_gradient_through_the_past():
    network = make_network().train()
    _, past = network.step(None, random_frame(1), None)
    second = replace(random_frame(2), image=None, appearance=torch.zeros(1, 3, 64, 64))
    network.synthesize(None, second, past).frame.square().mean().backward()
    without_gradient = [name for name, p in network.encoder.named_parameters() if not p.grad.any() and not name.endswith("bias")]
    assert without_gradient == []


def test_the_encoder_is_frozen_together_with_the_coarsest_scale():
    network = make_network()
    network.set_trainable_scale(64)
    assert not any(p.requires_grad for p in network.encoder.parameters())
    network.set_trainable_scale(32)
    assert all(p.requires_grad for p in network.encoder.parameters())
    network.set_trainable_scale(None)
    assert all(p.requires_grad for p in network.parameters())


def test_without_an_appearance_the_network_has_no_encoder_and_old_models_load():
    plain, with_encoder = make_network(replace(CONFIG, appearance=0)), make_network()
    assert not [name for name in plain.state_dict() if "encoder" in name]
    assert {name for name in with_encoder.state_dict() if not name.startswith("encoder.")} == set(plain.state_dict())
    old_config = {"family": "vid2vid", "size": [64, 64], "filters": 8}  # of a model from before the appearance encoder
    assert families.config_from_json(old_config) == replace(PRESETS["tiny-vid2vid"].__class__(), size=(64, 64), filters=8)


def test_the_renderer_makes_the_frames_of_the_network_in_full_and_half_precision():
    network, chosen = make_network(), replace(random_frame(), image=None, appearance=torch.full((1, 3, 64, 64), 0.25))
    past_frame = random_frame(5)
    with torch.no_grad():
        expected = network.step(
            None, chosen, network.remember(past_frame, Synthesis(past_frame.required_image, past_frame.required_image), None)
        )[0]
    for precision, tolerance in (("fp32", 1e-4), ("bf16", 0.05)):
        renderer = Renderer(network, InferenceOptions(precision))  # type: ignore[arg-type]
        past = renderer.remember(past_frame, Synthesis(past_frame.required_image, past_frame.required_image), None)
        assert (renderer.step(None, chosen, past)[0] - expected).abs().mean() < tolerance

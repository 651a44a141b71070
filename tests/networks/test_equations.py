"""The networks compute the equations of the three papers: values and gradients equal those of plain loops, in float64.

The functions slow_* loop over samples, positions and channels and share no code with the networks.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stages.flow.warp import warp
from stages.networks.common import losses
from stages.networks.common.discriminator_inputs import History
from stages.networks.common.frame import Frame, Warped
from stages.networks.common.generator import Synthesis
from stages.networks.common.layers import UpConv
from stages.networks.common.objective import LossWeights, Target, generator_losses
from stages.networks.fewshot.attention import Attention, CompactAttention, extract_bases
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.examples import OuterExamples
from stages.networks.fewshot.spade import LabelEmbedder, LevelWeights, ModulationWeights, Spade, pointwise
from stages.networks.fewshot.weight_generator import AverageWeights, RowWeights, shapes_of

RNG = torch.Generator().manual_seed(0)


def random_tensor(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=RNG, dtype=torch.float64).requires_grad_()


def assert_equal(fast: Callable[..., Tensor], slow: Callable[..., Tensor], *inputs: Tensor) -> None:
    """Both functions give the same output, and the same gradients of a random projection of it with respect to all inputs."""
    actual, expected = fast(*inputs), slow(*inputs)
    assert actual.shape == expected.shape
    assert torch.allclose(actual, expected, atol=1e-9)
    direction = torch.randn(actual.shape, generator=RNG, dtype=torch.float64)
    gradients = [torch.autograd.grad((output * direction).sum(), inputs) for output in (actual, expected)]
    for gradient, reference in zip(*gradients, strict=True):
        assert torch.allclose(gradient, reference, atol=1e-8)


def leaky_relu(x: Tensor) -> Tensor:
    """Of a single value."""
    return x if x > 0 else 0.2 * x


# Few-shot vid2vid, equations 8 to 10: generated weights applied to a label embedding and to features


def slow_pointwise(x: Tensor, weights: Tensor) -> Tensor:
    """x [B, C, H, W], weights [B, D, C + 1] with the bias last -> [B, D, H, W]."""
    batch, channels, height, width = x.shape
    rows = []
    for b in range(batch):
        for d in range(weights.shape[1]):
            for i in range(height):
                for j in range(width):
                    products = [weights[b, d, c] * x[b, c, i, j] for c in range(channels)]
                    rows.append(sum(products) + weights[b, d, channels])
    return torch.stack(rows).reshape(batch, weights.shape[1], height, width)


@pytest.mark.parametrize("batch", [1, 2])
def test_a_generated_convolution_has_other_weights_for_each_sample(batch):
    assert_equal(pointwise, slow_pointwise, random_tensor(batch, 3, 2, 2), random_tensor(batch, 4, 4))


def slow_spade(x: Tensor, label: Tensor, shared: Tensor, modulation: Tensor) -> Tensor:
    """Features x and label embedding [B, C, H, W]; the weights `shared` make the hidden layer, `modulation` gamma and beta."""
    embedded = slow_pointwise(label, shared)
    embedded = torch.stack([leaky_relu(value) for value in embedded.flatten()]).reshape(embedded.shape)  # eq. 8
    maps = slow_pointwise(embedded, modulation)  # eq. 9
    features = x.shape[1]
    rows = []
    for b in range(len(x)):
        for c in range(features):
            values = x[b, c].flatten()
            mean = sum(values) / len(values)
            variance = sum((value - mean) ** 2 for value in values) / len(values)
            for i, value in enumerate(values):
                normalised = (value - mean) / torch.sqrt(variance + 1e-5)
                gamma, beta = 1 + maps[b, c].flatten()[i], maps[b, features + c].flatten()[i]
                rows.append(gamma * normalised + beta)  # eq. 10
    return torch.stack(rows).reshape(x.shape)


def test_equations_8_to_10_modulate_features_by_generated_maps():
    spade = Spade(3, 2, 4, 0, 0, adaptive=True, norm="instance").double()

    def fast(x, label, shared, modulation):
        return spade(x, label, [], ModulationWeights(shared, modulation))

    assert_equal(fast, slow_spade, random_tensor(2, 3, 2, 3), random_tensor(2, 2, 2, 3), random_tensor(2, 4, 3), random_tensor(2, 6, 5))


def test_equation_8_is_the_generated_label_embedding():
    torch.manual_seed(0)
    embedder = LabelEmbedder(2, (2, 3), generated=1).double()

    def fast(semantic, weights):
        return embedder(semantic, [LevelWeights((), weights)])[0]

    def slow(semantic, weights):
        finest = F.leaky_relu(embedder.first(semantic), 0.2)
        coarse = F.leaky_relu(embedder.down[0](finest), 0.2)
        upsampled = torch.stack([coarse[:, :, i // 2, j // 2] for i in range(4) for j in range(4)], -1).unflatten(-1, (4, 4))
        return finest + F.leaky_relu(slow_pointwise(upsampled, weights), 0.2)

    assert_equal(fast, slow, random_tensor(2, 2, 4, 4), random_tensor(2, 2, 4))


@pytest.mark.parametrize("preset", ["tiny", "tiny-paper"])
def test_equation_7_generates_matrices_of_the_shapes_that_the_layers_need(preset):
    config = PRESETS[preset]
    weight_network = AverageWeights if config.pooling == "average" else RowWeights
    width = config.channels[1]
    features = torch.randn(2, width) if config.pooling == "average" else torch.randn(2, width, width)
    weights = weight_network(config, 0)(features)

    label = config.label_channels[0]
    for layer in weights.layers:
        assert layer.modulation.shape[2] == (config.hidden or label) + 1
        assert (layer.shared is None) == (config.hidden == 0)
    assert [layer.modulation.shape[1] for layer in weights.layers] == [s.rows for s in shapes_of(config, 0) if s.modulation]
    if config.label_embedding == "generated":
        assert weights.embedding is not None
        assert weights.embedding.shape == (2, label, config.label_channels[1] + 1)


def test_the_label_guided_product_pairs_each_image_feature_with_each_label_feature():
    torch.manual_seed(0)
    encoder = OuterExamples(PRESETS["tiny-paper"]).double()
    features: list[Tensor] = []
    encoder.reduce_image[-1].register_forward_hook(lambda module, inputs, output: features.append(output))
    encoder.reduce_label[-1].register_forward_hook(lambda module, inputs, output: features.append(output))
    values, _ = encoder.before_attention(random_tensor(1, 3, 32, 32), random_tensor(1, 7, 32, 32))
    product = encoder.after_attention(values)[1][-2]

    image, label = (F.leaky_relu(x, 0.2) for x in features)
    weight = label.softmax(1)
    positions = [(i, j) for i in range(image.shape[2]) for j in range(image.shape[3])]
    for c in range(0, image.shape[1], 7):
        for d in range(0, label.shape[1], 5):
            expected = torch.stack([image[0, c, i, j] * weight[0, d, i, j] for i, j in positions]).sum() / len(positions)
            assert torch.isclose(product[0, c, d], expected)


# Few-shot vid2vid, section 3: attention over the examples


def slow_attention(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """query [B, N, A], keys [B, K, M, A], values [B, K, C, h, w] -> [B, C, h, w]."""
    batch, count, channels = values.shape[:3]
    flat = values.flatten(3)
    rows = []
    for b in range(batch):
        for c in range(channels):
            for n in range(query.shape[1]):
                total, weight = torch.zeros(()), torch.zeros(())
                for k in range(count):
                    for m in range(keys.shape[2]):
                        score = torch.exp((query[b, n] * keys[b, k, m]).sum())
                        total, weight = total + score * flat[b, k, c, m], weight + score
                rows.append(total / weight)
    return torch.stack(rows).reshape(batch, channels, *values.shape[3:])


def test_attention_averages_values_with_the_exponential_of_key_times_query_as_weight():
    attention = Attention(1, 4, 0).double()

    def fast(query, keys, values):
        return attention.recall(query, attention.memorise(keys, values), (2, 2), 3)[0]

    assert_equal(fast, slow_attention, random_tensor(2, 4, 4), random_tensor(2, 3, 4, 4), random_tensor(2, 3, 2, 2, 2))


def test_attention_without_gradients_is_computed_in_chunks_with_the_same_result(monkeypatch):
    monkeypatch.setattr("stages.networks.fewshot.attention._MAX_ENTRIES", 24)
    attention = Attention(1, 4, 0).double()
    query, keys, values = random_tensor(2, 4, 4), random_tensor(2, 3, 4, 4), random_tensor(2, 3, 2, 2, 2)
    with torch.no_grad():
        chunked = attention.recall(query, attention.memorise(keys, values), (2, 2), 3)[0]
        assert torch.allclose(chunked, slow_attention(query, keys, values), atol=1e-9)


# Adaptive compact attention, equations 1 to 6


def slow_bases(keys: Tensor, values: Tensor, start: Tensor, iterations: int, momentum: float, norm: str) -> tuple[Tensor, Tensor]:
    """For one sample: keys [N, A], values [N, C], start [p, A] -> bases of keys [p, A] and of values [p, C]."""

    def weighted_sums(attention: list[list[Tensor]], features: Tensor) -> Tensor:
        rows = []
        for p in range(len(start)):
            total = torch.stack([attention[n][p] * features[n] for n in range(len(features))]).sum(0)
            weight = torch.stack([attention[n][p] for n in range(len(features))]).sum()
            divisor = weight if norm == "mean" else torch.sqrt((total**2).sum())
            rows.append(total / divisor)
        return torch.stack(rows)

    bases = start
    attention: list[list[Tensor]] = []
    for _ in range(iterations):
        attention = []
        for n in range(len(keys)):
            scores = [torch.exp(sum(keys[n] * basis)) for basis in bases]
            attention.append([score / sum(scores) for score in scores])  # eq. 1
        bases = (1 - momentum) * bases + momentum * weighted_sums(attention, keys)  # eq. 2 and 3
    return bases, weighted_sums(attention, values)  # eq. 4


@pytest.mark.parametrize("norm", ["mean", "unit"])
def test_equations_1_to_4_summarise_the_examples_by_bases(norm):
    def fast(keys, values, start):
        return torch.cat(extract_bases(keys, values, start, 3, 0.7, norm), 2)

    def slow(keys, values, start):
        return torch.stack([torch.cat(slow_bases(k, v, s, 3, 0.7, norm), 1) for k, v, s in zip(keys, values, start, strict=True)])

    assert_equal(fast, slow, random_tensor(2, 6, 3), random_tensor(2, 6, 4), random_tensor(2, 2, 3))


def test_equations_5_and_6_compute_each_position_from_the_bases():
    torch.manual_seed(0)
    attention = CompactAttention(1, 3, 0, bases=2).double()

    def fast(query, keys, values):
        return attention.recall(query, attention.memorise(keys, values), (2, 2), 2)[0]

    def slow(query, keys, values):
        samples = []
        for q, k, v in zip(query, keys.flatten(1, 2), values, strict=True):
            start = k.mean(0) + attention.start * ((k - k.mean(0)) ** 2).mean(0).sqrt()
            label, appearance = slow_bases(k, v.movedim(1, -1).flatten(0, 2), start, 3, 0.9, "mean")
            rows = []
            for query_vector in q:
                scores = [torch.exp(sum(query_vector * basis)) for basis in label]  # eq. 5
                rows.append(sum(s * a for s, a in zip(scores, appearance, strict=True)) / sum(scores))  # eq. 6
            samples.append(torch.stack(rows).mT.reshape(-1, 2, 2))
        return torch.stack(samples)

    assert_equal(fast, slow, random_tensor(1, 4, 3), random_tensor(1, 2, 4, 3), random_tensor(1, 2, 3, 2, 2))


# vid2vid, equations 2 and 11: warping and matting


def slow_warp(image: Tensor, flow: Tensor) -> Tensor:
    """image [B, C, H, W], flow [B, 2, H, W] in pixels -> [B, C, H, W], bilinear with a repeated border."""
    _, channels, height, width = image.shape
    rows = []
    for b in range(len(image)):
        for c in range(channels):
            for y in range(height):
                for x in range(width):
                    u = (x + flow[b, 0, y, x]).clamp(0, width - 1)
                    v = (y + flow[b, 1, y, x]).clamp(0, height - 1)
                    left, top = min(math.floor(u.detach()), width - 2), min(math.floor(v.detach()), height - 2)
                    right_share, lower_share = u - left, v - top
                    upper = (1 - right_share) * image[b, c, top, left] + right_share * image[b, c, top, left + 1]
                    lower = (1 - right_share) * image[b, c, top + 1, left] + right_share * image[b, c, top + 1, left + 1]
                    rows.append((1 - lower_share) * upper + lower_share * lower)
    return torch.stack(rows).reshape(image.shape)


def test_a_warp_interpolates_between_four_pixels_where_the_flow_points():
    image, flow = torch.randn(2, 2, 4, 5, generator=RNG), torch.randn(2, 2, 4, 5, generator=RNG)
    assert torch.allclose(warp(image, flow), slow_warp(image, flow), atol=1e-5)  # warp computes in float32


def test_matting_weighs_each_pixel_of_the_warp_and_the_synthesis_by_the_mask():
    def slow(warped, raw, mask):
        values = [(1 - m) * w + m * h for w, h, m in zip(warped.flatten(), raw.flatten(), mask.flatten(), strict=True)]
        return torch.stack(values).reshape(raw.shape)

    assert_equal(torch.lerp, slow, random_tensor(2, 3, 2, 2), random_tensor(2, 3, 2, 2), random_tensor(2, 3, 2, 2))


# vid2vid, equations 5 to 8: the objective


def test_the_hinge_and_least_squares_losses_of_the_discriminators():
    real, fake = random_tensor(2, 1, 2, 2), random_tensor(2, 1, 2, 2)

    def mean(values):
        return sum(values) / len(values)

    hinge = mean([torch.clamp(1 - r, min=0) for r in real.flatten()]) + mean([torch.clamp(1 + f, min=0) for f in fake.flatten()])
    least_squares = mean([(r - 1) ** 2 for r in real.flatten()]) + mean([f**2 for f in fake.flatten()])
    assert torch.isclose(losses.discriminator_loss([[real]], [[fake]], "hinge").double(), hinge, atol=1e-6)
    assert torch.isclose(losses.discriminator_loss([[real]], [[fake]], "lsgan").double(), least_squares, atol=1e-6)
    assert torch.isclose(losses.generator_loss([[fake]], "hinge").double(), -mean(list(fake.flatten())), atol=1e-6)
    assert torch.isclose(losses.generator_loss([[fake]], "lsgan").double(), mean([(f - 1) ** 2 for f in fake.flatten()]), atol=1e-6)


def test_the_flow_loss_is_the_distance_to_the_teacher_times_confidence_in_tenths_of_the_height():
    def slow(flow, teacher, confidence):
        terms = [
            (flow[b, c, y, x] - teacher[b, c, y, x]).abs() * confidence[b, 0, y, x]
            for b in range(2) for c in range(2) for y in range(4) for x in range(3)
        ]  # fmt: skip
        return sum(terms) / len(terms) * 10 / 4

    assert_equal(losses.flow_loss, slow, random_tensor(2, 2, 4, 3), random_tensor(2, 2, 4, 3), random_tensor(2, 1, 4, 3))


def test_the_warping_loss_warps_the_real_past_frame_and_not_the_synthesized_one():
    def slow(real, flow, truth):
        return sum((a - b).abs() for a, b in zip(slow_warp(real, flow).flatten(), truth.flatten(), strict=True)) / truth.numel()

    def term(real, flow, truth):
        grey, no_keypoints = torch.full_like(truth, 0.5), torch.zeros(2, 0, 3)
        synthesis = Synthesis(grey, grey, None, None, Warped(grey, flow, grey[:, :1]), None, grey, torch.ones(2, 1), torch.zeros(2))
        frame = Frame(grey, no_keypoints, truth)
        target = Target(frame, frame.map(lambda x: x[:, None]), flow, torch.ones_like(flow[:, :1]))
        return generator_losses(synthesis, target, LossWeights(warp=1.0), None, None, History([real], [grey], []))["warp"]

    inputs = [torch.randn(2, channels, 4, 3, generator=RNG, requires_grad=True) for channels in (3, 2, 3)]
    actual, expected = term(*inputs), slow(*inputs)
    assert torch.isclose(actual, expected, atol=1e-5)
    for gradient, reference in zip(torch.autograd.grad(actual, inputs), torch.autograd.grad(expected, inputs), strict=True):
        assert torch.allclose(gradient, reference, atol=1e-5)


def test_the_example_flow_loss_uses_the_teachers_flow_to_the_warped_example():
    image, no_keypoints = torch.zeros(2, 3, 4, 3), torch.zeros(2, 0, 3)
    flow, teacher, confidence = torch.ones(2, 2, 4, 3), torch.zeros(2, 3, 2, 4, 3), torch.ones(2, 3, 1, 4, 3)
    teacher[0, 2], teacher[1, 1] = 3.0, 1.0
    best = torch.tensor([2, 1])
    synthesis = Synthesis(image, image, Warped(image, flow, image[:, :1]), None, None, None, image, torch.ones(2, 1), best)
    frame = Frame(image, no_keypoints, image)
    target = Target(frame, frame.map(lambda x: torch.stack([x] * 3, 1)), example_flows=teacher, example_confidence=confidence)
    terms = generator_losses(synthesis, target, LossWeights(example_flow=1.0), None, None, History([], [], []))
    assert terms["example_flow"] == pytest.approx((2.0 + 0.0) / 2 * 10 / 4)


# Layers that the renderer replaces


@pytest.mark.parametrize("skip", [0, 3])
def test_a_folded_convolution_of_an_upsampled_image_is_the_same_convolution(skip):
    torch.manual_seed(0)
    layer = UpConv(4 + skip, 5).double()
    x, skipped = random_tensor(2, 4, 3, 5), random_tensor(2, skip, 6, 10) if skip else None
    before = layer(x, skipped)
    layer.fold(4)
    assert torch.allclose(layer(x, skipped), before, atol=1e-12)
    assert isinstance(layer, nn.Conv2d) and set(layer.state_dict()) == {"weight", "bias"}

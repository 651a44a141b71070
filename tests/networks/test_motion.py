"""Motion from keypoints: similarities and splines equal independent computations, and poor keypoints give a finite, limited flow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.networks.common.frame import Frame
from stages.networks.fewshot.config import PRESETS, FewShotConfig
from stages.networks.fewshot.flow import FlowNetwork
from stages.networks.fewshot.generator import FewShotGenerator
from stages.networks.fewshot.motion import BODY_PARTS, BODY_POINTS, MAX_FLOW, MAX_SCALE, Candidates, pixel_grid, similarity, splines

CPU = torch.device("cpu")
FACE, BODY, STREET = (
    replace(PRESETS["tiny"], kind=kind, semantic_channels=channels, motion="keypoints", instances=instances, spline_smoothing=(1e-3, 1e-1))
    for kind, channels, instances in (("landmarks", 7, 0), ("poses", 3, 0), ("segment", 5, 2))
)
SIZE = (64, 48)
"""Height and width of the images."""


def random_points(count: int, seed: int = 0, batch: int = 2) -> Tensor:
    """Visible points inside the image, [B, N, 3]."""
    points = torch.rand(batch, count, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor([SIZE[1], SIZE[0], 1.0])
    points[..., 2] = 1
    return points


def transform(points: Tensor, degrees: float, scale: float, shift: tuple[float, float]) -> Tensor:
    """Rotate and scale points [B, N, 3] about the origin of the image, then shift them."""
    angle = np.deg2rad(degrees)
    matrix = scale * torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    moved = points.clone()
    moved[..., :2] = points[..., :2] @ matrix.T + torch.tensor(shift)
    return moved


def compute_candidates(config: FewShotConfig, driving: Tensor, source: Tensor, stride: int = 2) -> tuple[Tensor, Tensor]:
    """The flows [B, C, 2, h, w] and prior [B, C, h, w] of all candidates, for one source frame with keypoints [B, N, 3]."""
    flows, prior = Candidates(config)(driving, source[:, None], SIZE, stride)
    return flows[:, 0], prior[:, 0]


def compute_flows(config: FewShotConfig, driving: Tensor, source: Tensor, stride: int = 2) -> Tensor:
    """[B, C, 2, h, w]"""
    return compute_candidates(config, driving, source, stride)[0]


def fit_spline(target: Tensor, source: Tensor, visible: Tensor, grid: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """A spline that maps the visible points of target to those of source, [B, N, 2] each.

    Returns where it maps the positions of `grid` [B, h, w, 2], and their distance to the nearest point.
    """
    source, visible = source[:, None], visible[:, None]
    start = similarity(target[:, None], source, visible)
    mapped, distance = splines(target, torch.ones_like(visible[:, 0]), source, visible, grid, start, (smoothing,))
    return mapped[:, 0, 0], distance


def flow_at(flow: Tensor, pixel: tuple[int, int]) -> list[float]:
    """The flow [2, H, W] at a pixel (x, y)."""
    return flow[:, pixel[1], pixel[0]].tolist()


# Similarity


def test_a_similarity_is_recovered_from_its_points():
    target = random_points(9)[..., :2] / 64
    source = transform(random_points(9), 20, 1.3, (5.0, -3.0))[..., :2] / 64
    fit = similarity(target, source, torch.ones(2, 9, dtype=torch.bool))
    angle = np.deg2rad(20)
    expected = np.tile([1.3 * np.cos(angle), 1.3 * np.sin(angle)], (2, 1))
    assert fit.rotation.numpy() == pytest.approx(expected, abs=5e-3)  # the prior pulls it slightly towards 1
    assert (fit.at(target[0])[0] - source[0]).abs().max() < 2e-3


def test_a_similarity_is_the_least_squares_solution():
    """Compared with numpy's lstsq in float64, for points that no similarity fits exactly."""
    target, source = random_points(12, 1, 1)[0, :, :2].double().numpy() / 64, random_points(12, 2, 1)[0, :, :2].double().numpy() / 64
    ones, zeros = np.ones(12), np.zeros(12)
    rows_x = np.stack([target[:, 0], -target[:, 1], ones, zeros], 1)
    rows_y = np.stack([target[:, 1], target[:, 0], zeros, ones], 1)
    cosine, sine, x, y = np.linalg.lstsq(np.concatenate([rows_x, rows_y]), np.concatenate([source[:, 0], source[:, 1]]), rcond=None)[0]
    if np.hypot(cosine, sine) < 1 / MAX_SCALE:
        pytest.fail("choose other points: the scale of this fit is clamped")
    target_points, source_points = (torch.tensor(p[None], dtype=torch.float32) for p in (target, source))
    fit = similarity(target_points, source_points, torch.ones(1, 12, dtype=torch.bool))
    assert fit.rotation[0].numpy() == pytest.approx(np.array([cosine, sine]), abs=5e-3)
    assert fit.shift[0].numpy() == pytest.approx(np.array([x, y]), abs=5e-3)


def test_invisible_points_do_not_count_even_if_they_are_nan():
    target, source, visible = random_points(8)[..., :2] / 64, random_points(8, 5)[..., :2] / 64, torch.ones(2, 8, dtype=torch.bool)
    visible[:, 3] = False
    with_invalid = source.clone()
    with_invalid[:, 3] = float("nan")
    one, other = similarity(target, source, visible), similarity(target, with_invalid, visible)
    assert torch.equal(one.rotation, other.rotation) and torch.equal(one.shift, other.shift)


# Splines


def slow_spline(target: np.ndarray, source: np.ndarray, smoothing: float, positions: np.ndarray) -> np.ndarray:
    """Bookstein's thin-plate spline in float64, point by point; `positions` [..., 2] are mapped."""
    count = len(target)
    system, right_side = np.zeros((count + 3, count + 3)), np.zeros((count + 3, 2))
    for i in range(count):
        for j in range(count):
            r = np.hypot(*(target[i] - target[j]))
            system[i, j] = r * r * np.log(r) if r else 0.0
        system[i, i] += smoothing
        system[i, count:] = system[count:, i] = 1, target[i, 0], target[i, 1]
        right_side[i] = source[i]
    solved = np.linalg.solve(system, right_side)
    mapped = np.zeros_like(positions)
    for position, result in zip(positions.reshape(-1, 2), mapped.reshape(-1, 2), strict=True):
        result[:] = solved[count] + solved[count + 1] * position[0] + solved[count + 2] * position[1]
        for i in range(count):
            r = np.hypot(*(position - target[i]))
            result += solved[i] * (r * r * np.log(r) if r else 0.0)
    return mapped


@pytest.mark.parametrize("smoothing", [1e-4, 1e-3, 1e-1])
def test_a_spline_equals_booksteins(smoothing: float):
    """The similarity from which it starts changes nothing, because a spline can represent every affine map."""
    target, noise = random_points(20, 3)[..., :2] / 64, torch.randn(2, 20, 2, generator=torch.Generator().manual_seed(4))
    source = target + noise / 16
    visible, grid = torch.ones(2, 20, dtype=torch.bool), pixel_grid(SIZE, 8, CPU) / 64
    actual, _ = fit_spline(target, source, visible, grid, smoothing)
    for sample in range(2):
        expected = slow_spline(target[sample].double().numpy(), source[sample].double().numpy(), smoothing, grid.double().numpy())
        assert np.abs(actual[sample].numpy() - expected).max() < 2e-4, "a hundredth of a pixel"


def test_without_smoothing_a_spline_goes_through_its_points():
    target, source = random_points(10, 6, 1)[..., :2] / 64, random_points(10, 7, 1)[..., :2] / 64
    visible = torch.ones(1, 10, dtype=torch.bool)
    mapped, distance = fit_spline(target, source, visible, target.view(1, 10, 2), 1e-7)
    assert (mapped[0, 0] - source[0]).abs().max() < 1e-3
    assert distance.max() < 1e-3


def test_a_point_that_is_missing_in_one_frame_is_ignored():
    target, source = random_points(12, 8)[..., :2] / 64, random_points(12, 9)[..., :2] / 64
    visible, grid = torch.ones(2, 12, dtype=torch.bool), pixel_grid(SIZE, 8, CPU) / 64
    visible[:, 5:7] = False
    with_invalid = source.clone()
    with_invalid[:, 5:7] = float("inf")
    with_gaps, _ = fit_spline(target, with_invalid, visible, grid, 1e-3)
    kept = [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]
    without, _ = fit_spline(target[:, kept], source[:, kept], visible[:, kept], grid, 1e-3)
    assert torch.allclose(with_gaps, without, atol=1e-4)


# Candidates


def test_each_candidate_of_a_face_leads_back_to_its_position_in_the_source():
    driving = random_points(68, 10)
    source = transform(driving, -10, 0.9, (6.0, 8.0))
    identity, similar, spline, stiff_spline = compute_flows(FACE, driving, source, stride=1)[0]
    assert identity.abs().max() == 0
    for flow in (similar, spline, stiff_spline):
        x, y = 20, 30
        expected = transform(torch.tensor([[[x, y, 1.0]]]), -10, 0.9, (6.0, 8.0))[0, 0, :2]
        assert flow_at(flow, (x, y)) == pytest.approx((expected - torch.tensor([x, y])).tolist(), abs=0.1)


@pytest.mark.parametrize("part", range(len(BODY_PARTS)))
def test_each_part_of_a_body_has_its_own_transform(part: int):
    """One part turns and the rest stands still: the flow of this part leads back at its own points."""
    driving = random_points(BODY_POINTS, 20 + part)
    source, chosen = driving.clone(), list(BODY_PARTS[part].points)
    source[:, chosen] = transform(driving[:, chosen], 25, 1.1, (3.0, -4.0))
    own_points = [point for point in chosen if sum(point in other.points for other in BODY_PARTS) == 1] or chosen
    flow = compute_flows(BODY, driving, source, stride=1)[0, 2 + part]
    for point in own_points:
        x, y = (int(value) for value in driving[0, point, :2].clamp(max=47).round())
        expected = transform(torch.tensor([[[x, y, 1.0]]]).float(), 25, 1.1, (3.0, -4.0))[0, 0, :2]
        assert flow_at(flow, (x, y)) == pytest.approx((expected - torch.tensor([x, y])).tolist(), abs=1.0)


def test_a_model_without_instances_ignores_their_keypoints():
    without_instances = replace(STREET, instances=0)
    flows, prior = compute_candidates(without_instances, random_points(16), random_points(16, 1))
    assert flows.shape[1] == prior.shape[1] == 1 and flows.abs().max() == 0


def test_an_invisible_part_moves_like_the_whole_body():
    driving = random_points(BODY_POINTS, 40)
    source = transform(driving, 15, 1.2, (4.0, 4.0))
    source[:, list(BODY_PARTS[0].points)] = 0
    whole, head = compute_flows(BODY, driving, source)[0, 1:3]
    assert torch.allclose(whole, head, atol=1e-4)


def test_the_flow_of_an_instance_leads_from_corner_to_corner():
    driving = torch.tensor([[[10.0, 10, 1], [20, 30, 1], [0, 0, 0], [0, 0, 0]]])
    source = torch.tensor([[[30.0, 20, 1], [35, 60, 1], [5, 5, 1], [9, 9, 1]]])
    identity, first, second = compute_flows(STREET, driving, source, stride=1)[0]
    assert flow_at(first, (10, 10)) == pytest.approx([20, 10], abs=1e-3)
    assert flow_at(first, (20, 30)) == pytest.approx([15, 30], abs=1e-3)
    assert identity.abs().max() == second.abs().max() == 0, "the second instance is not in the driving frame"


INVALID_POINT = torch.tensor([[[float("nan"), float("inf"), 0.0]]])
POOR_KEYPOINTS = {
    "no visible point": lambda p: p * 0,
    "a single point": lambda p: torch.cat([p[:, :1], p[:, 1:] * 0], 1),
    "all points at one position": lambda p: p[:, :1].expand_as(p).contiguous(),
    "points on a line": lambda p: torch.stack([p[..., 0], p[..., 0] * 0.5 + 3, p[..., 2]], -1),
    "points far outside the image": lambda p: p * torch.tensor([1e4, 1e4, 1.0]),
    "three points": lambda p: torch.cat([p[:, :3], p[:, 3:] * 0], 1),
    "an invisible point that is not a number": lambda p: torch.cat([p[:, :-1], INVALID_POINT.expand(2, 1, 3)], 1),
}


@pytest.mark.parametrize("config", [FACE, BODY, STREET], ids=lambda config: config.kind)
@pytest.mark.parametrize("which", ["driving", "source", "both"])
@pytest.mark.parametrize("name", POOR_KEYPOINTS)
def test_poor_keypoints_make_a_finite_flow_of_limited_length(name: str, which: str, config: FewShotConfig):
    count = {"landmarks": 78, "poses": BODY_POINTS, "segment": 4}[config.kind]
    good = random_points(count, 50)
    poor = POOR_KEYPOINTS[name](good)
    driving, source = (poor if which in (frame, "both") else good for frame in ("driving", "source"))
    flows, prior = compute_candidates(config, driving, source)
    assert flows.isfinite().all() and prior.isfinite().all()
    assert flows.abs().max() <= MAX_FLOW * SIZE[0]
    assert flows[:, 0].abs().max() == 0, "identity"
    if name == "no visible point":
        assert flows.abs().max() == 0


@pytest.mark.parametrize("name", ["points on a line", "three points", "all points at one position"])
def test_the_similarity_replaces_splines_that_the_points_do_not_determine(name: str):
    driving = POOR_KEYPOINTS[name](random_points(68, 60))
    _, similar, spline, stiff_spline = compute_flows(FACE, driving, transform(driving, 10, 1.1, (2.0, 1.0))).unbind(1)
    assert torch.equal(similar, spline) and torch.equal(similar, stiff_spline)


@pytest.mark.parametrize("config", [FACE, BODY, STREET], ids=lambda config: config.kind)
def test_a_batch_of_several_sources_equals_its_samples(config: FewShotConfig):
    count = {"landmarks": 78, "poses": BODY_POINTS, "segment": 4}[config.kind]
    driving, sources = random_points(count, 70, 3), random_points(count, 71, 6).unflatten(0, (3, 2))
    driving[1, ::2], sources[2, 1, ::3] = 0, 0
    together = Candidates(config)(driving, sources, SIZE, 2)
    for sample in range(3):
        for source in range(2):
            alone = compute_candidates(config, driving[[sample]], sources[[sample], source])
            for whole, part in zip(together, alone, strict=True):
                assert torch.allclose(whole[sample, source], part[0], atol=2e-2)  # pixels


# The network W


def random_frame(config: FewShotConfig, seed: int, *lead: int) -> Frame:
    """A frame with the leading dimensions `lead`: [B, ...] or [B, K, ...]."""
    rng, count = torch.Generator().manual_seed(seed), {"landmarks": 78, "poses": BODY_POINTS, "segment": 4}[config.kind]
    keypoints = torch.rand(*lead, count, 3, generator=rng) * 63 + torch.tensor([0.0, 0, 1])
    images = torch.rand(*lead, 3, 64, 64, generator=rng) * 2 - 1
    return Frame(torch.rand(*lead, config.semantic_channels, 64, 64, generator=rng), keypoints, images)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_coordinates_stay_in_float32_for_images_in_half_precision(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    network, driving, source = FlowNetwork(FACE).eval(), random_frame(FACE, 1, 2), random_frame(FACE, 2, 2, 1)
    dtypes: list[tuple[torch.dtype, torch.dtype]] = []
    solve = torch.linalg.solve_ex

    def record_dtypes(a: torch.Tensor, b: torch.Tensor) -> Any:
        dtypes.append((a.dtype, b.dtype))
        return solve(a, b)

    monkeypatch.setattr(torch.linalg, "solve_ex", record_dtypes)
    exact = network(driving, source)
    in_half = (replace(frame, semantic=frame.semantic.to(dtype)) for frame in (driving, source))
    half = network.to(dtype)(*in_half)
    assert set(dtypes) == {(torch.float32, torch.float32)} and half.flow.dtype == torch.float32
    assert (exact.flow - half.flow).abs().mean() < 0.3
    with torch.autocast("cpu", torch.bfloat16):
        assert network.float()(driving, source).flow.dtype == torch.float32
    assert set(dtypes) == {(torch.float32, torch.float32)}


@pytest.mark.parametrize("config", [FACE, BODY, STREET], ids=lambda config: config.kind)
def test_every_weight_of_w_gets_a_gradient(config: FewShotConfig):
    torch.manual_seed(0)
    config = replace(config, warp_all=True)
    net, frames = FewShotGenerator(config), random_frame(config, 3, 2, 3)
    output = net.synthesize(net.encode_examples(frames), frames.map(lambda x: x[:, 0]), frames.map(lambda x: x[:, 1]))
    ((output.frame - frames.required_image[:, 0]).square().mean() + output.raw.square().mean()).backward()
    assert [name for name, p in net.flow.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()] == []


@torch.no_grad()
def test_the_warp_of_several_examples_is_their_average_weighted_by_shares():
    torch.manual_seed(0)
    config = replace(FACE, warp_all=True)
    network, driving, sources = FlowNetwork(config).eval(), random_frame(config, 4, 2), random_frame(config, 5, 2, 3)
    motion = network(driving, sources)
    combined, alone = motion.blend(3), [motion.select(k) for k in range(3)]
    assert combined.shares is not None and torch.allclose(combined.shares.sum(1), torch.ones(2, 64, 64), atol=1e-5)
    average = sum(share[:, None] * one.image for share, one in zip(combined.shares.unbind(1), alone, strict=True))
    assert torch.allclose(combined.image, average, atol=5e-3)
    best = combined.shares.argmax(1)
    for k, one in enumerate(alone):
        chosen = (best == k)[:, None].expand_as(one.flow)
        assert torch.allclose(combined.flow[chosen], one.flow[chosen], atol=2e-2)


@torch.no_grad()
def test_the_warp_does_not_depend_on_the_order_of_the_examples():
    torch.manual_seed(0)
    config = replace(FACE, warp_all=True)
    network, driving, sources = FlowNetwork(config).eval(), random_frame(config, 6, 1), random_frame(config, 7, 1, 3)
    first = network(driving, sources).blend(3)
    other = network(driving, sources.map(lambda x: x[:, [2, 0, 1]])).blend(3)
    assert torch.allclose(first.image, other.image, atol=5e-3)
    single = network(driving, sources.map(lambda x: x[:, :1]))
    assert torch.allclose(single.blend(1).image, single.select(0).image, atol=1e-6)


@pytest.mark.parametrize(("warp_all", "count"), [(False, 1), (True, 1), (True, 3)])
@torch.no_grad()
def test_move_gives_the_same_warp_as_synthesize(warp_all: bool, count: int):
    torch.manual_seed(0)
    config = replace(FACE, warp_all=warp_all)
    net, examples, driving = FewShotGenerator(config).eval(), random_frame(config, 8, 2, count), random_frame(config, 9, 2)
    moved, full = net.warp_examples(examples, driving), net.synthesize(net.encode_examples(examples), driving)
    assert moved.example is not None and full.example is not None
    assert torch.equal(moved.frame, moved.example.image) and torch.allclose(moved.frame, full.example.image, atol=1e-5)

"""Motion that keypoints tell: each closed form against a slow one, and keypoints that say little or nothing."""

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
"""Height and width."""


def points(count: int, seed: int = 0, batch: int = 2) -> Tensor:
    """All seen, within the picture: [B, N, 3]."""
    placed = torch.rand(batch, count, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor([SIZE[1], SIZE[0], 1.0])
    placed[..., 2] = 1
    return placed


def turned(placed: Tensor, degrees: float, scale: float, shift: tuple[float, float]) -> Tensor:
    """The same points turned, scaled and shifted around the picture's origin."""
    angle = np.deg2rad(degrees)
    matrix = scale * torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    moved = placed.clone()
    moved[..., :2] = placed[..., :2] @ matrix.T + torch.tensor(shift)
    return moved


def candidates(config: FewShotConfig, driving: Tensor, source: Tensor, stride: int = 2) -> tuple[Tensor, Tensor]:
    """Of a single source [B, N, 3]: flows [B, C, 2, h, w] and prior [B, C, h, w]."""
    flows, prior = Candidates(config)(driving, source[:, None], SIZE, stride)
    return flows[:, 0], prior[:, 0]


def flows(config: FewShotConfig, driving: Tensor, source: Tensor, stride: int = 2) -> Tensor:
    """[B, C, 2, h, w]"""
    return candidates(config, driving, source, stride)[0]


def spline(to: Tensor, of: Tensor, seen: Tensor, places: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Through the seen points of a single source [B, N, 2]: where places lie in it [B, h, w, 2], and how far the nearest point is."""
    of, seen = of[:, None], seen[:, None]
    start = similarity(to[:, None], of, seen)
    moved, nearest = splines(to, torch.ones_like(seen[:, 0]), of, seen, places, start, (smoothing,))
    return moved[:, 0, 0], nearest


def lookup(flow: Tensor, place: tuple[int, int]) -> list[float]:
    """A flow [2, H, W] at the pixel (x, y)."""
    return flow[:, place[1], place[0]].tolist()


# Similarity


def test_a_similarity_is_recovered_exactly():
    to = points(9)[..., :2] / 64
    of = turned(points(9), 20, 1.3, (5.0, -3.0))[..., :2] / 64
    found = similarity(to, of, torch.ones(2, 9, dtype=torch.bool))
    wanted = 1.3 * np.exp(1j * np.deg2rad(20))
    assert found.rotation.numpy() == pytest.approx(np.full(2, wanted), abs=5e-3)  # the prior pulls a little towards 1
    assert (found.at(to[0])[0] - of[0]).abs().max() < 2e-3


def test_a_similarity_is_the_least_squares_solution_of_the_four_unknowns():
    """Against numpy's lstsq in float64, on points that no similarity fits."""
    to, of = points(12, 1, 1)[0, :, :2].double().numpy() / 64, points(12, 2, 1)[0, :, :2].double().numpy() / 64
    ones, zeros = np.ones(12), np.zeros(12)
    rows_x = np.stack([to[:, 0], -to[:, 1], ones, zeros], 1)
    rows_y = np.stack([to[:, 1], to[:, 0], zeros, ones], 1)
    cosine, sine, x, y = np.linalg.lstsq(np.concatenate([rows_x, rows_y]), np.concatenate([of[:, 0], of[:, 1]]), rcond=None)[0]
    if np.hypot(cosine, sine) < 1 / MAX_SCALE:
        pytest.fail("choose other points: this fit is one that is cut off")
    here, there = (torch.tensor(p[None], dtype=torch.float32) for p in (to, of))
    found = similarity(here, there, torch.ones(1, 12, dtype=torch.bool))
    assert complex(found.rotation) == pytest.approx(complex(cosine, sine), abs=5e-3)
    assert complex(found.shift) == pytest.approx(complex(x, y), abs=5e-3)


def test_what_is_not_seen_does_not_count_wherever_it_lies():
    to, of, seen = points(8)[..., :2] / 64, points(8, 5)[..., :2] / 64, torch.ones(2, 8, dtype=torch.bool)
    seen[:, 3] = False
    wild = of.clone()
    wild[:, 3] = float("nan")
    one, other = similarity(to, of, seen), similarity(to, wild, seen)
    assert torch.equal(one.rotation, other.rotation) and torch.equal(one.shift, other.shift)


# Splines


def slow_spline(to: np.ndarray, of: np.ndarray, smoothing: float, places: np.ndarray) -> np.ndarray:
    """Bookstein's thin-plate spline in float64, written down point by point."""
    count = len(to)
    system, right = np.zeros((count + 3, count + 3)), np.zeros((count + 3, 2))
    for i in range(count):
        for j in range(count):
            r = np.hypot(*(to[i] - to[j]))
            system[i, j] = r * r * np.log(r) if r else 0.0
        system[i, i] += smoothing
        system[i, count:] = system[count:, i] = 1, to[i, 0], to[i, 1]
        right[i] = of[i]
    solved = np.linalg.solve(system, right)
    moved = np.zeros_like(places)
    for place, into in zip(places.reshape(-1, 2), moved.reshape(-1, 2), strict=True):
        into[:] = solved[count] + solved[count + 1] * place[0] + solved[count + 2] * place[1]
        for i in range(count):
            r = np.hypot(*(place - to[i]))
            into += solved[i] * (r * r * np.log(r) if r else 0.0)
    return moved


@pytest.mark.parametrize("smoothing", [1e-4, 1e-3, 1e-1])
def test_a_spline_equals_the_slow_one(smoothing: float):
    """Starting from a similarity changes nothing: a spline contains every affine map."""
    to, noise = points(20, 3)[..., :2] / 64, torch.randn(2, 20, 2, generator=torch.Generator().manual_seed(4))
    of = to + noise / 16
    seen, grid = torch.ones(2, 20, dtype=torch.bool), pixel_grid(SIZE, 8, CPU) / 64
    ours, _ = spline(to, of, seen, grid, smoothing)
    for sample in range(2):
        slow = slow_spline(to[sample].double().numpy(), of[sample].double().numpy(), smoothing, grid.double().numpy())
        assert np.abs(ours[sample].numpy() - slow).max() < 2e-4, "a hundredth of a pixel"


def test_without_smoothing_a_spline_goes_through_its_points():
    to, of = points(10, 6, 1)[..., :2] / 64, points(10, 7, 1)[..., :2] / 64
    seen = torch.ones(1, 10, dtype=torch.bool)
    at_points, nearest = spline(to, of, seen, to.view(1, 10, 2), 1e-7)
    assert (at_points[0, 0] - of[0]).abs().max() < 1e-3
    assert nearest.max() < 1e-3


def test_a_point_that_one_frame_lacks_is_as_if_it_did_not_exist():
    to, of = points(12, 8)[..., :2] / 64, points(12, 9)[..., :2] / 64
    seen, grid = torch.ones(2, 12, dtype=torch.bool), pixel_grid(SIZE, 8, CPU) / 64
    seen[:, 5:7] = False
    wild = of.clone()
    wild[:, 5:7] = float("inf")
    with_gaps, _ = spline(to, wild, seen, grid, 1e-3)
    kept = [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]
    fewer = seen[:, kept]
    without, _ = spline(to[:, kept], of[:, kept], fewer, grid, 1e-3)
    assert torch.allclose(with_gaps, without, atol=1e-4)


# Candidates


def test_a_face_that_turns_and_moves_is_led_back_to_where_it_was():
    driving = points(68, 10)
    source = turned(driving, -10, 0.9, (6.0, 8.0))
    identity, whole, bent, stiff = flows(FACE, driving, source, stride=1)[0]
    assert identity.abs().max() == 0
    for flow in (whole, bent, stiff):
        x, y = 20, 30
        there = turned(torch.tensor([[[x, y, 1.0]]]), -10, 0.9, (6.0, 8.0))[0, 0, :2]
        assert lookup(flow, (x, y)) == pytest.approx((there - torch.tensor([x, y])).tolist(), abs=0.1)


@pytest.mark.parametrize("part", range(len(BODY_PARTS)))
def test_each_part_of_a_body_has_its_own_transform(part: int):
    """All stand still but one part, which turns; at its points its flow leads back, and the others' flows stay near zero."""
    driving = points(BODY_POINTS, 20 + part)
    source, chosen = driving.clone(), list(BODY_PARTS[part].points)
    source[:, chosen] = turned(driving[:, chosen], 25, 1.1, (3.0, -4.0))
    lone = [point for point in chosen if sum(point in other.points for other in BODY_PARTS) == 1] or chosen
    flow = flows(BODY, driving, source, stride=1)[0, 2 + part]
    for point in lone:
        x, y = (int(value) for value in driving[0, point, :2].clamp(max=47).round())
        there = turned(torch.tensor([[[x, y, 1.0]]]).float(), 25, 1.1, (3.0, -4.0))[0, 0, :2]
        assert lookup(flow, (x, y)) == pytest.approx((there - torch.tensor([x, y])).tolist(), abs=1.0)


def test_a_model_without_instances_takes_no_notice_of_their_keypoints():
    none = replace(STREET, instances=0)
    found, prior = candidates(none, points(16), points(16, 1))
    assert found.shape[1] == prior.shape[1] == 1 and found.abs().max() == 0


def test_a_part_that_is_not_seen_moves_as_the_whole_does():
    driving = points(BODY_POINTS, 40)
    source = turned(driving, 15, 1.2, (4.0, 4.0))
    source[:, list(BODY_PARTS[0].points)] = 0
    whole, head = flows(BODY, driving, source)[0, 1:3]
    assert torch.allclose(whole, head, atol=1e-4)


def test_an_instance_is_shifted_and_scaled_from_corner_to_corner():
    driving = torch.tensor([[[10.0, 10, 1], [20, 30, 1], [0, 0, 0], [0, 0, 0]]])
    source = torch.tensor([[[30.0, 20, 1], [35, 60, 1], [5, 5, 1], [9, 9, 1]]])
    identity, first, second = flows(STREET, driving, source, stride=1)[0]
    assert lookup(first, (10, 10)) == pytest.approx([20, 10], abs=1e-3)
    assert lookup(first, (20, 30)) == pytest.approx([15, 30], abs=1e-3)
    assert identity.abs().max() == second.abs().max() == 0, "the second is not in the driving frame"


NOTHING = torch.tensor([[[float("nan"), float("inf"), 0.0]]])
BAD = {
    "nobody": lambda p: p * 0,
    "a single point": lambda p: torch.cat([p[:, :1], p[:, 1:] * 0], 1),
    "all points at one place": lambda p: p[:, :1].expand_as(p).contiguous(),
    "points on a line": lambda p: torch.stack([p[..., 0], p[..., 0] * 0.5 + 3, p[..., 2]], -1),
    "points far outside the picture": lambda p: p * torch.tensor([1e4, 1e4, 1.0]),
    "three points": lambda p: torch.cat([p[:, :3], p[:, 3:] * 0], 1),
    "not a number where nothing is seen": lambda p: torch.cat([p[:, :-1], NOTHING.expand(2, 1, 3)], 1),
}


@pytest.mark.parametrize("config", [FACE, BODY, STREET], ids=lambda config: config.kind)
@pytest.mark.parametrize("which", ["driving", "source", "both"])
@pytest.mark.parametrize("name", BAD)
def test_keypoints_that_say_little_make_no_wild_flow(name: str, which: str, config: FewShotConfig):
    count = {"landmarks": 78, "poses": BODY_POINTS, "segment": 4}[config.kind]
    good = points(count, 50)
    bad = BAD[name](points(count, 50))
    driving, source = (bad if which in (frame, "both") else good for frame in ("driving", "source"))
    found, prior = candidates(config, driving, source)
    assert found.isfinite().all() and prior.isfinite().all()
    assert found.abs().max() <= MAX_FLOW * SIZE[0]
    assert found[:, 0].abs().max() == 0, "identity"
    if name == "nobody":
        assert found.abs().max() == 0


@pytest.mark.parametrize("name", ["points on a line", "three points", "all points at one place"])
def test_where_points_make_no_spline_the_similarity_takes_its_place(name: str):
    driving = BAD[name](points(68, 60))
    _, whole, bent, stiff = flows(FACE, driving, turned(driving, 10, 1.1, (2.0, 1.0))).unbind(1)
    assert torch.equal(whole, bent) and torch.equal(whole, stiff)


@pytest.mark.parametrize("config", [FACE, BODY, STREET], ids=lambda config: config.kind)
def test_a_batch_of_several_sources_equals_its_samples(config: FewShotConfig):
    count = {"landmarks": 78, "poses": BODY_POINTS, "segment": 4}[config.kind]
    driving, sources = points(count, 70, 3), points(count, 71, 6).unflatten(0, (3, 2))
    driving[1, ::2], sources[2, 1, ::3] = 0, 0
    together = Candidates(config)(driving, sources, SIZE, 2)
    for sample in range(3):
        for source in range(2):
            alone = candidates(config, driving[[sample]], sources[[sample], source])
            for whole, part in zip(together, alone, strict=True):
                assert torch.allclose(whole[sample, source], part[0], atol=2e-2)  # pixels


# W


def frame_for(config: FewShotConfig, seed: int, *lead: int) -> Frame:
    draw, count = torch.Generator().manual_seed(seed), {"landmarks": 78, "poses": BODY_POINTS, "segment": 4}[config.kind]
    keypoints = torch.rand(*lead, count, 3, generator=draw) * 63 + torch.tensor([0.0, 0, 1])
    images = torch.rand(*lead, 3, 64, 64, generator=draw) * 2 - 1
    return Frame(torch.rand(*lead, config.semantic_channels, 64, 64, generator=draw), keypoints, images)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_coordinates_stay_in_float32_whatever_the_pictures_are_in(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    network, driving, source = FlowNetwork(FACE).eval(), frame_for(FACE, 1, 2), frame_for(FACE, 2, 2, 1)
    seen: list[tuple[torch.dtype, torch.dtype]] = []
    solve = torch.linalg.solve_ex

    def noted(a: torch.Tensor, b: torch.Tensor) -> Any:
        seen.append((a.dtype, b.dtype))
        return solve(a, b)

    monkeypatch.setattr(torch.linalg, "solve_ex", noted)
    exact = network(driving, source)
    small = (replace(frame, semantic=frame.semantic.to(dtype)) for frame in (driving, source))
    half = network.to(dtype)(*small)
    assert set(seen) == {(torch.float32, torch.float32)} and half.flow.dtype == torch.float32
    assert (exact.flow - half.flow).abs().mean() < 0.3
    with torch.autocast("cpu", torch.bfloat16):
        assert network.float()(driving, source).flow.dtype == torch.float32
    assert set(seen) == {(torch.float32, torch.float32)}


@pytest.mark.parametrize("config", [FACE, BODY, STREET], ids=lambda config: config.kind)
def test_every_weight_of_w_learns_and_so_do_both_pictures(config: FewShotConfig):
    torch.manual_seed(0)
    config = replace(config, warp_all=True)
    net, shown = FewShotGenerator(config), frame_for(config, 3, 2, 3)
    made = net.synthesize(net.encode_examples(shown), shown.map(lambda x: x[:, 0]), shown.map(lambda x: x[:, 1]))
    ((made.frame - shown.required_image[:, 0]).square().mean() + made.raw.square().mean()).backward()
    assert [name for name, p in net.flow.named_parameters() if p.grad is None or not p.grad.isfinite().all() or not p.grad.any()] == []


@torch.no_grad()
def test_of_several_examples_each_place_shows_the_one_it_suits():
    torch.manual_seed(0)
    config = replace(FACE, warp_all=True)
    network, driving, sources = FlowNetwork(config).eval(), frame_for(config, 4, 2), frame_for(config, 5, 2, 3)
    each = network(driving, sources)
    moved, alone = each.blend(3), [each.select(k) for k in range(3)]
    assert moved.shares is not None and torch.allclose(moved.shares.sum(1), torch.ones(2, 64, 64), atol=1e-5)
    together = sum(share[:, None] * one.image for share, one in zip(moved.shares.unbind(1), alone, strict=True))
    assert torch.allclose(moved.image, together, atol=5e-3)
    best = moved.shares.argmax(1)
    for k, one in enumerate(alone):
        chosen = (best == k)[:, None].expand_as(one.flow)
        assert torch.allclose(moved.flow[chosen], one.flow[chosen], atol=2e-2)


@torch.no_grad()
def test_the_order_and_the_number_of_examples_change_nothing_about_the_warp():
    torch.manual_seed(0)
    config = replace(FACE, warp_all=True)
    network, driving, sources = FlowNetwork(config).eval(), frame_for(config, 6, 1), frame_for(config, 7, 1, 3)
    first = network(driving, sources).blend(3)
    other = network(driving, sources.map(lambda x: x[:, [2, 0, 1]])).blend(3)
    assert torch.allclose(first.image, other.image, atol=5e-3)
    single = network(driving, sources.map(lambda x: x[:, :1]))
    assert torch.allclose(single.blend(1).image, single.select(0).image, atol=1e-6)


@pytest.mark.parametrize(("warp_all", "count"), [(False, 1), (True, 1), (True, 3)])
@torch.no_grad()
def test_motion_alone_makes_the_picture_that_a_frame_would_warp(warp_all: bool, count: int):
    torch.manual_seed(0)
    config = replace(FACE, warp_all=warp_all)
    net, examples, driving = FewShotGenerator(config).eval(), frame_for(config, 8, 2, count), frame_for(config, 9, 2)
    moved, whole = net.move(examples, driving), net.synthesize(net.encode_examples(examples), driving)
    assert moved.example is not None and whole.example is not None
    assert torch.equal(moved.frame, moved.example.image) and torch.allclose(moved.frame, whole.example.image, atol=1e-5)

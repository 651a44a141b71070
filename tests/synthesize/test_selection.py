"""Selection of examples around a frame on the appearance map, with hysteresis."""

from __future__ import annotations

import numpy as np
import pytest

from stages.clip import open_clip
from stages.errors import InputError
from stages.models import load_model, save_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator
from stages.synthesize import SynthesizeOptions, synthesize
from stages.synthesize.selection import AppearanceMap, Selector

GRID = AppearanceMap([np.array([x, y], float) for y in range(4) for x in range(4)])
"""Sixteen examples at integer positions; example 4 y + x is at (x, y)."""


def test_a_frame_uses_the_corners_of_the_triangle_that_contains_it():
    for point in np.random.default_rng(0).uniform(0.05, 2.95, (50, 2)):
        corners = GRID.points[list(Selector(GRID)(point))] + np.array([1.5, 1.5])
        assert np.ptp(corners, axis=0).tolist() == [1, 1]  # corners of the unit square around the point
        assert all(corners.min(0) <= point) and all(point <= corners.max(0))


def test_more_examples_are_taken_from_neighbouring_triangles():
    position = np.array([1.4, 1.3])
    three, five, sixteen = (set(Selector(GRID, count)(position)) for count in (3, 5, 16))
    assert three < five < sixteen == set(range(16))
    assert len(five) == 5


@pytest.mark.parametrize("position", [(1.2, 1.1), (-3.0, 1.2)])
def test_one_or_two_examples_are_the_nearest_ones(position):
    distances = np.linalg.norm(GRID.points + 1.5 - position, axis=1)
    for count in (1, 2):
        assert set(Selector(GRID, count)(np.array(position))) == set(np.argsort(distances)[:count])


def test_outside_the_hull_the_nearest_example_is_used():
    assert Selector(GRID)(np.array([-3.0, 1.2])) == (4,)
    assert Selector(GRID)(np.array([9.0, 9.0])) == (15,)


@pytest.mark.parametrize("positions", [[(0, 0), (1, 1), (2, 2), (3, 3), (4, 4)], [(0, 0), (5, 0)], [(1, 1)]])
def test_without_triangles_the_nearest_examples_are_used(positions):
    selector = Selector(AppearanceMap([np.array(position, float) for position in positions]), 2)
    assert selector(np.array([0.0, 0.1]))[0] == 0
    assert len(selector(np.array([0.0, 0.1]))) == min(2, len(positions))


def test_the_map_has_the_two_directions_of_largest_variance():
    rng = np.random.default_rng(0)
    plane = rng.uniform(-1, 1, (20, 2))
    histograms = np.pad(plane, ((0, 0), (3, 4))) + 1e-3 * rng.normal(size=(20, 9))
    appearance_map = AppearanceMap(list(histograms))
    for index in (0, 7, 19):
        assert index in appearance_map.nearest(appearance_map.locate(histograms[index]), 1)


def test_hysteresis_keeps_a_selection_that_is_nearly_as_good():
    jittered = [np.array([1.5 + 0.05 * (-1) ** t, 1.9 + 0.2 * (t % 2)]) for t in range(40)]

    def changes(hysteresis: float) -> int:
        selector = Selector(GRID, 3, hysteresis)
        chosen = [selector(position) for position in jittered]
        return sum(a != b for a, b in zip(chosen, chosen[1:], strict=False))

    assert changes(0) == 39
    assert changes(0.25) == 0


def test_a_distant_frame_has_other_examples_despite_hysteresis():
    selector = Selector(GRID)
    assert selector(np.array([0.3, 0.3])) != selector(np.array([2.6, 2.6]))
    outside = Selector(GRID)
    assert outside(np.array([-2.0, 0.0])) == (0,)
    assert outside(np.array([-2.0, 0.55])) == (0,)  # only slightly nearer to another one
    assert outside(np.array([-2.0, 3.0])) == (12,)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, FewShotGenerator(PRESETS["tiny"]).state_dict(), PRESETS["tiny"], {"step": 0})
    return load_model(path)


@pytest.mark.parametrize("attention", ["pixel", "compact"])
@pytest.mark.parametrize("select", ["all", "delaunay", 1, 2])
def test_every_selection_works_with_either_attention(select, attention, model, make_painted_clip, tmp_path):
    person = open_clip(make_painted_clip(tmp_path / "person.clip", 0, num_frames=12))
    options = SynthesizeOptions(example_frames=(0, 8), select=select, device="cpu", crop="none", normalize="off")
    outcome = synthesize([person], person, model.with_attention(attention), tmp_path / "out.clip", options)
    assert outcome.frames == 12
    assert open_clip(tmp_path / "out.clip").frame(11).shape == (64, 64, 3)


@pytest.mark.parametrize("wrong", [("--select", "some"), ("--select", "0"), ("--example-frames", "0-8"), ("--example-frames", "1:2:3")])
def test_invalid_selections_are_refused(wrong, fsv2v, tmp_path):
    result = fsv2v("synthesize", "--examples", "a.png", "--driving", "b.mp4", *wrong, cwd=tmp_path)
    assert result.exit_code == 2
    assert wrong[1] in result.stderr and "Traceback" not in result.stderr


def test_a_range_without_frames_is_refused(model, make_painted_clip, tmp_path):
    person = open_clip(make_painted_clip(tmp_path / "person.clip", 0, num_frames=3))
    with pytest.raises(InputError, match="has 3 frames, and none of them is asked for"):
        synthesize([person], person, model, tmp_path / "out.clip", SynthesizeOptions(example_frames=(5, 9), device="cpu", crop="none"))
    assert not (tmp_path / "out.clip").exists()

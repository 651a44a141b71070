"""The shipped predictor of the dlib backend, and its points and patches."""

from __future__ import annotations

import numpy as np
import pytest

from stages.conditions.landmarks import MIRROR, eye_distance
from stages.extract_sketch.patches import SIDE, Square, cut_patch, square_of_points
from stages.tables.mesh68 import MESH_POINTS, PAIRS, mesh_to_68
from weights import registry


def test_the_predictor_is_small_and_has_a_model_card() -> None:
    path = registry.path("face_68_fsv2v.dat")
    assert path.stat().st_size <= 12_000_000
    assert path.with_suffix(".md").is_file()


def test_the_mesh_table_has_distinct_vertices_for_all_points() -> None:
    assert PAIRS.shape == (68, 2) and PAIRS.max() < MESH_POINTS
    assert sorted(MIRROR) == list(range(68)) and (MIRROR[MIRROR] == np.arange(68)).all()
    assert len({tuple(pair) for pair in PAIRS.tolist()}) == 68
    assert mesh_to_68(np.zeros((5, MESH_POINTS, 2), np.float32)).shape == (5, 68, 2)


def test_points_can_be_mapped_to_a_patch_and_back() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    patch = cut_patch(frame, Square(10.0, 290.0, 150.0))
    points = np.array([[12.0, 280.0], [0.0, 299.0]], np.float32)
    assert patch.grey.shape == (SIDE, SIDE)
    assert np.abs(patch.to_frame(patch.to_patch(points)) - points).max() < 1e-3
    assert cut_patch(frame, Square(-900.0, 0.0, 50.0)).grey.max() == 0, "the square is outside the frame"


def test_the_square_of_a_face_scales_with_its_points() -> None:
    points = np.random.default_rng(0).normal(100, 20, (68, 3)).astype(np.float32)
    square, moved = square_of_points(points), square_of_points(2 * points)
    assert moved.side == pytest.approx(2 * square.side) and eye_distance(2 * points) == pytest.approx(2 * eye_distance(points))

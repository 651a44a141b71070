"""examples/driving.clip is the output of its generator, and moves like a person who talks."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stages.clip import open_clip
from stages.conditions.landmarks import LEFT_EYE, RIGHT_EYE, eye_distance, mirror
from stages.errors import ParametersDiffer

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_driving", EXAMPLES / "make_driving.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def points(generator: ModuleType) -> np.ndarray:
    return generator.driving_points()[:, 0]


def test_the_shipped_clip_is_the_output_of_the_generator(generator: ModuleType, tmp_path: Path):
    generator.write_clip(tmp_path / "driving.clip")
    generated, shipped = open_clip(tmp_path / "driving.clip"), open_clip(EXAMPLES / "driving.clip")
    assert shipped.layers() == generated.layers() == ["landmarks", "sketch"]
    np.testing.assert_allclose(shipped.layer("landmarks").arrays()["points"], generated.layer("landmarks").arrays()["points"], atol=1e-3)
    for ours, theirs in zip(generated.layer("sketch").images(0, 120), shipped.layer("sketch").images(0, 120), strict=True):
        assert np.abs(ours.astype(int) - theirs).mean() < 0.1


def test_the_shipped_clip_is_small():
    assert sum(file.stat().st_size for file in (EXAMPLES / "driving.clip").rglob("*")) < 1_500_000


def test_an_existing_clip_is_not_replaced(generator: ModuleType, tmp_path: Path):
    generator.write_clip(tmp_path / "driving.clip")
    with pytest.raises(ParametersDiffer, match="exists already"):
        generator.write_clip(tmp_path / "driving.clip")


def test_the_head_is_symmetric_and_starts_upright_and_frontal(generator: ModuleType, points: np.ndarray):
    head = generator.mean_head()
    np.testing.assert_allclose(head[generator.MIRROR] * (-1, 1, 1), head)
    np.testing.assert_allclose(mirror(points[0], generator.SIZE)[:, :2], points[0][:, :2], atol=0.5)


def test_the_face_stays_inside_the_frame_and_moves_smoothly(generator: ModuleType, points: np.ndarray):
    assert points[..., :2].min() > 20 and points[..., :2].max() < generator.SIZE - 20
    assert np.linalg.norm(np.diff(points[..., :2], axis=0), axis=-1).max() < 8, "pixels per frame"


def test_the_face_talks_blinks_turns_and_nods(points: np.ndarray):
    xy, scale = points[..., :2], eye_distance(points[0])
    mouth = (xy[:, 66, 1] - xy[:, 62, 1]) / scale
    eyes = np.mean([np.ptp(xy[:, eye, 1], axis=1) for eye in (RIGHT_EYE, LEFT_EYE)], axis=0) / scale
    sideways = (xy[:, 30, 0] - xy[:, [0, 16], 0].mean(1)) / scale
    nodding = (xy[:, 30, 1] - xy[:, [36, 45], 1].mean(1)) / scale
    assert mouth.min() < 0.05 and mouth.max() > 0.2
    assert count_dips(eyes, below=0.1) == 3
    assert sideways.min() < -0.3 and sideways.max() > 0.3
    assert np.ptp(nodding) > 0.1


def count_dips(curve: np.ndarray, below: float) -> int:
    low = curve < below
    return int(low[0]) + int((low[1:] & ~low[:-1]).sum())

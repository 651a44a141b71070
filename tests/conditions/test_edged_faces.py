"""The kind landmarks+edges: s_t has the edges of the background, and no edges inside the face."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.clip import Clip, Producer, create_clip, open_clip
from stages.conditions.background import FrameReader
from stages.conditions.kinds import find_kind, open_track
from stages.conditions.motion import Motion
from stages.conditions.view import View
from stages.models import save_model
from stages.networks.vid2vid import PRESETS, Vid2Vid
from stages.synthesize.driving import Driving
from stages.train import Phase, read_recipe
from stages.train.data import Dataset

KIND = "landmarks+edges"
SIDE, EDGE = 128, 20
"""Size of the images; column of the moving edge in frame 0."""
FACE = (60, 100)
"""First and last column and row of the face."""


@pytest.fixture
def wall(make_painted_clip, tmp_path) -> Clip:
    """A face in front of a wall with two vertical edges from dark to bright, each with one column of the grey level in between.

    The edge at column EDGE moves by one pixel per frame; the other, at column 80, stands still and crosses the face.
    """
    painted = open_clip(make_painted_clip(tmp_path / "painted.clip", 0, num_frames=4, size=SIDE)).layer("landmarks").arrays()["points"]
    low, high = painted[..., :2].min((0, 1, 2)), painted[..., :2].max((0, 1, 2))
    points = painted.copy()
    points[..., :2] = FACE[0] + (painted[..., :2] - low) / (high - low) * (FACE[1] - FACE[0])
    frames = []
    for time in range(4):
        frame = np.full((SIDE, SIDE, 3), 220, np.uint8)
        frame[:, 80], frame[:, :80] = 180, 140
        frame[:, EDGE + time], frame[:, : EDGE + time] = 80, 20
        frames.append(frame)
    clip = create_clip(tmp_path / "wall.clip", frames, storage="png")
    with clip.writing("landmarks", Producer("test"), {"frames": clip.frames_digest()}) as layer:
        layer.arrays(points=points)
    return open_clip(clip.path)


def edge_channel(clip: Clip, index: int, view: View) -> np.ndarray:
    """The last channel of s_t, [H, W]."""
    return open_track(clip, KIND).semantic(index, view)[-1]


WHOLE = View.scaled(SIDE, SIDE, SIDE, SIDE)
"""The whole frame at its own size."""


@pytest.mark.parametrize("index", [0, 3])
def test_edges_lie_in_their_columns_and_end_at_the_face(index, wall):
    edges = edge_channel(wall, index, WHOLE)
    assert set(np.unique(edges)) == {0, 1} and edges.dtype == np.float32
    _, columns = np.nonzero(edges[2:-2])
    assert set(columns) == {EDGE + index, 80}
    assert edges[2:-2, EDGE + index].all()
    rows = np.flatnonzero(edges[2:-2, 80]) + 2
    assert len(rows[(rows > FACE[0]) & (rows < FACE[1])]) == 0, "no edge inside the face"
    assert rows.min() == 2 and rows.max() == SIDE - 3 and (rows < FACE[0]).sum() > 10, "edges above and below the face"


def test_the_other_channels_are_those_of_a_face_without_edges(wall):
    track = open_track(wall, KIND)
    assert track.channels == find_kind(KIND).channels == 8
    assert np.array_equal(track.semantic(1, WHOLE)[:-1], open_track(wall, "landmarks").semantic(1, WHOLE))
    assert np.array_equal(track.keypoints(1, WHOLE), open_track(wall, "landmarks").keypoints(1, WHOLE))


def test_edges_follow_the_view_and_are_one_pixel_wide_at_any_size(wall):
    mirrored = View(np.array([[-1.0, 0, SIDE - 1], [0, 1, 0]]), SIDE, SIDE)
    assert edge_channel(wall, 0, mirrored)[5:20].nonzero()[1].tolist() == [SIDE - 1 - 80, SIDE - 1 - EDGE] * 15
    shifted = View(np.array([[1.0, 0, -7], [0, 1, 0]]), SIDE, SIDE)
    assert set(edge_channel(wall, 0, shifted)[5:20, : SIDE - 20].nonzero()[1]) == {EDGE - 7, 80 - 7}
    for size in (64, 192):
        columns = edge_channel(wall, 0, View.scaled(SIDE, SIDE, size, size))[5].nonzero()[0]
        expected = (np.array([EDGE, 80]) + 0.5) * size / SIDE - 0.5
        assert len(columns) == 2 and np.abs(columns - expected).max() <= 0.75


def test_fitting_a_face_does_not_move_the_background(wall):
    track = open_track(wall, KIND)
    example = track.keypoints(0, WHOLE).copy()
    example[:68, 0] += 15
    driving = Driving(wall, KIND, (SIDE, SIDE), "none")
    driving.fit_to([example], proportions=False)
    samples = [frame.sample for frame in driving.driving_frames()]
    assert np.allclose(samples[0].keypoints[:68, 0], example[:68, 0], atol=0.01)
    for index, sample in enumerate(samples):
        assert sample.semantic[-1, 2:-2, EDGE + index].all()
        assert not sample.semantic[-1, 70:90, 62:112].any(), "no edges inside the driving face or the fitted one"


@pytest.mark.parametrize("fitted", [False, True])
def test_scaling_the_motion_of_a_face_does_not_move_the_background(wall, fitted):
    driving = Driving(wall, KIND, (SIDE, SIDE), "none")
    example = driving.track.keypoints(0, WHOLE).copy()
    if fitted:
        driving.fit_to([example], proportions=False)
    driving.apply_motion(Motion(mouth=0.0), [example])
    for index, frame in enumerate(driving.driving_frames()):
        assert len(frame.sample.semantic) == driving.track.channels
        assert frame.sample.semantic[-1, 2:-2, EDGE + index].all()


def test_consecutive_frames_are_read_in_one_pass_and_others_in_any_order(wall, monkeypatch):
    truth, starts = list(wall.frames()), []
    read_frames = Clip.frames

    def record_start(self: Clip, start: int = 0, stop: int | None = None) -> Any:
        starts.append(start)
        return read_frames(self, start, stop)

    monkeypatch.setattr(Clip, "frames", record_start)
    reader = FrameReader(wall)
    for index in (0, 1, 1, 2, 0, 3, 2):
        assert np.array_equal(reader[index], truth[index])
    assert starts == [0, 0, 3, 2]


def test_training_batches_have_the_edges(painted_dataset):
    recipe = replace(read_recipe("vid2vid-face"), jitter=0.0, perceptual="none")
    recipe = replace(recipe, generator=replace(recipe.generator, size=(64, 64)))
    batch = Dataset(painted_dataset, KIND, "train").batch(recipe, 0, Phase(1, batch=2, frames=2))
    assert batch.frames.semantic.shape[2] == recipe.generator.semantic_channels == 8
    assert 0 < batch.frames.semantic[:, :, -1].mean() < 0.3


@pytest.fixture
def model(tmp_path) -> Path:
    config = replace(PRESETS["tiny-vid2vid"], kind=KIND, semantic_channels=8)
    torch.manual_seed(0)
    save_model(tmp_path / "face.safetensors", Vid2Vid(config).state_dict(), config, {"step": 1})
    return tmp_path / "face.safetensors"


def test_a_video_is_made_from_a_driving_clip_with_frames(fsv2v, model, wall, tmp_path):
    out = tmp_path / "out.clip"
    result = fsv2v("synthesize", "--model", model, "--driving", wall.path, "-o", out, "--json")
    assert result.exit_code == 0 and json.loads(result.stdout)["frames"] == 4
    assert open_clip(out).frame(0).shape == (64, 64, 3)


def test_a_clip_without_frames_is_refused(fsv2v, model, wall, tmp_path):
    without_frames = create_clip(tmp_path / "bare.clip", width=SIDE, height=SIDE, num_frames=4)
    with without_frames.writing("landmarks", Producer("test"), {}) as layer:
        layer.arrays(points=wall.layer("landmarks").arrays()["points"])
    result = fsv2v("synthesize", "--model", model, "--driving", without_frames.path, "-o", tmp_path / "out.clip")
    assert result.exit_code == 3 and "bare.clip has no layer 'frames'" in " ".join(result.stderr.split())
    assert not (tmp_path / "out.clip").exists()

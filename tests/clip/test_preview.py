"""Previews draw every layer over the frames."""

from __future__ import annotations

import numpy as np
import pytest

from stages.clip import Producer, create_clip, probe, read_frames, read_image
from stages.clip.drawing import Overlay
from stages.clip.preview import contact_sheet, evenly_spaced, side_by_side
from stages.errors import UsageError

PRODUCER = Producer("test")
GREY_FRAME = np.full((96, 128, 3), 100, np.uint8)


@pytest.fixture
def clip(tmp_path):
    """Eight grey frames with a layer of each kind. In frame 3 the face lies far outside the image; a second face is never visible."""
    clip = create_clip(tmp_path / "all.clip", [GREY_FRAME] * 8)
    points = np.random.default_rng(0).uniform(10, 90, (8, 2, 68, 3)).astype(np.float32)
    points[..., 2] = 1
    points[3, 0, :, 0] = 1e6
    points[:, 1, :, 2] = 0
    with clip.writing("landmarks", PRODUCER, {}) as layer:
        layer.arrays(points=points)
    with clip.writing("poses", PRODUCER, {}) as layer:
        ids, boxes = np.zeros((8, 1), np.int32), np.zeros((8, 1, 4), np.float32)
        layer.arrays(keypoints=points[:, :1, :25], boxes=boxes, track_id=ids)
    images: dict[str, np.ndarray] = {
        "sketch": np.eye(96, 128, dtype=np.uint8) * 255,
        "mask": np.pad(np.full((40, 40), 255, np.uint8), ((10, 46), (10, 78))),
        "segment": np.tile(np.arange(128, dtype=np.uint8) // 32, (96, 1)),
        "densepose": np.pad(np.full((40, 40, 3), 20, np.uint8), ((10, 46), (10, 78), (0, 0))),
        "flow": np.random.default_rng(0).normal(0, 3, (96, 128, 2)),
    }
    for kind, image in images.items():
        with clip.writing(kind, PRODUCER, {}) as layer:
            for _ in range(8):
                layer.image(image)
    return clip


def test_a_contact_sheet_has_a_row_per_layer_and_a_column_per_frame(clip, tmp_path):
    sheet = read_image(contact_sheet(clip, tmp_path / "sheet.png", columns=4, cell=96))

    rows = 1 + len(set(clip.layers()) - {"frames"})
    assert sheet.shape == (rows * (96 + 22), 4 * 128, 3)


@pytest.mark.parametrize("kind", ["landmarks", "poses", "sketch", "mask", "segment", "densepose", "flow"])
def test_every_layer_changes_the_frame(kind, clip):
    assert (Overlay(clip, kind).draw(GREY_FRAME, 3) != GREY_FRAME).any()


def test_the_side_by_side_video_has_a_panel_per_layer_and_the_same_rate(clip, tmp_path):
    info = probe(side_by_side(clip, tmp_path / "side.mp4", height=97))

    assert (info.width, info.height, info.num_frames, info.fps) == (8 * 128, 96, 8, clip.fps)
    assert np.abs(next(read_frames(tmp_path / "side.mp4"))[:, :120].astype(int) - 100).max() <= 4


def test_a_clip_without_frames_is_drawn_on_black(tmp_path):
    clip = create_clip(tmp_path / "driving.clip", width=64, height=64, num_frames=3)
    with pytest.raises(UsageError, match="nothing to show"):
        side_by_side(clip, tmp_path / "side.mp4")
    with clip.writing("sketch", PRODUCER, {}) as layer:
        for _ in range(3):
            layer.image(np.full((64, 64), 200, np.uint8))

    assert side_by_side(clip, tmp_path / "side.mp4").exists()
    assert contact_sheet(clip, tmp_path / "sheet.png").exists()


def test_the_columns_are_spread_evenly_over_the_clip():
    assert evenly_spaced(100, 4) == [0, 33, 66, 99]
    assert evenly_spaced(3, 6) == [0, 1, 2]
    assert evenly_spaced(1, 6) == [0]

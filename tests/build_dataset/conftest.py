"""Clips of drawn bodies and streets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from stages.clip import Clip, Producer, create_clip
from stages.conditions import poses
from stages.conditions.labels import CAMVID, LabelTable, colourise


@pytest.fixture
def make_body_clip() -> Callable[..., Clip]:
    """make_body_clip(path, people): a 160x120 clip of the skeletons of these people [T, P, 25, 3], with the layer `poses`."""

    def make(path: Path, people: np.ndarray, **arrays: np.ndarray) -> Clip:
        present = np.asarray(people[..., 2].any(-1))
        corners = people[..., :2].min(2, where=people[..., 2:] > 0, initial=999), people[..., :2].max(2)
        boxes = np.concatenate(corners, -1) * present[..., None]
        identity = np.where(present, np.arange(people.shape[1]), -1).astype(np.int32)
        clip = create_clip(path, (128 + poses.draw_pose(frame, 120, 160) // 2 for frame in people))
        with clip.writing("poses", Producer("drawn"), {}, {"skeleton": "BODY_25"}) as layer:
            layer.arrays({"keypoints": people, "boxes": boxes.astype(np.float32), "track_id": identity, **arrays})
        return clip

    return make


@pytest.fixture
def make_street_clip() -> Callable[..., Clip]:
    """make_street_clip(path, seed=0): 20 frames of 120x60 with moving stripes in the colours of their labels, and the layer `segment`."""

    def make(path: Path, seed: int = 0, table: LabelTable = CAMVID, num_frames: int = 20) -> Clip:
        ids = np.random.default_rng(seed).integers(0, len(table.names), 10).astype(np.uint8)
        maps = [np.broadcast_to(np.roll(ids.repeat(12), t), (60, 120)) for t in range(num_frames)]
        clip = create_clip(path, (colourise(labels, table) for labels in maps))
        with clip.writing("segment", Producer("drawn"), {}, table.meta()) as layer:
            for labels in maps:
                layer.image(labels)
        return clip

    return make

"""fsv2v extract-poses, as a function: from a clip to its layer `poses`."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stages.clip import Clip, VideoWriter, as_clip, read_frames
from stages.errors import NoDetection, ParametersDiffer
from stages.extract_poses import PoseOptions, extract


@pytest.fixture
def people(shared: Path, tmp_path: Path) -> Callable[..., Clip]:
    """people(name, start, stop): some frames of a clip of ../shared/data/people, as a new clip."""

    def make(name: str, start: int, stop: int) -> Clip:
        frames = list(read_frames(shared / "data/people" / f"{name}.mp4", start, stop))
        return clip_of(frames, tmp_path / f"{name}.mp4")

    return make


def clip_of(frames: list[np.ndarray], path: Path) -> Clip:
    with VideoWriter(path, frames[0].shape[1], frames[0].shape[0], Fraction(25)) as video:
        for frame in frames:
            video.write(frame)
    return as_clip(path, path.parent)


def test_a_dancer_becomes_body_25(people) -> None:
    clip = people("musepose_dance", 90, 96)
    outcome = extract(clip, PoseOptions())
    assert (outcome.layer, outcome.status, outcome.notes) == ("poses", "done", {"frames_without_person": 0})

    layer = clip.layer("poses")
    assert layer.meta["skeleton"] == "BODY_25"
    arrays = layer.arrays()
    keypoints, boxes = arrays["keypoints"][:, 0], arrays["boxes"][:, 0]
    assert keypoints.shape == (6, 25, 3) and arrays["track_id"].tolist() == [[0]] * 6
    neck, hip, ankles = keypoints[:, 1, 1], keypoints[:, 8, 1], keypoints[:, [11, 14], 1].mean(1)
    assert (keypoints[:, 0, 1] < neck).all() and (neck < hip).all() and (hip < ankles).all()
    assert (keypoints[:, 2, 0] < keypoints[:, 5, 0]).all(), "she faces us: her right shoulder is on the image's left"
    seen = keypoints[..., 2] > 0
    assert (keypoints[~seen] == 0).all()
    assert (boxes[:, 0] >= 0).all() and (boxes[:, 2] < clip.width).all() and (boxes[:, 3] < clip.height).all()


def test_the_same_again_is_skipped_and_another_person_is_refused(people) -> None:
    clip = people("musepose_dance", 90, 92)
    extract(clip, PoseOptions())
    assert extract(clip, PoseOptions()).status == "skipped"
    with pytest.raises(ParametersDiffer, match='person: "largest" -> "all"'):
        extract(clip, PoseOptions(person="all"))
    before = clip.layer("poses").digest
    extract(clip, PoseOptions(), overwrite=True)
    assert clip.layer("poses").digest == before, "the same bytes"


def test_a_scene_that_is_empty_at_first(people) -> None:
    person = people("musepose_dance", 90, 93)
    frames = list(person.frames())
    clip = clip_of([np.full_like(frames[0], 120)] * 2 + frames, person.path.parent / "late.mp4")
    assert extract(clip, PoseOptions(person="all")).notes == {"frames_without_person": 2}
    arrays = clip.layer("poses").arrays()
    assert not arrays["keypoints"][:2].any() and (arrays["track_id"][:2] == -1).all()
    assert (arrays["track_id"][2:] >= 0).any(axis=1).all()


def test_nobody_at_all_is_a_sentence_and_leaves_nothing(shared, tmp_path, leftovers) -> None:
    clip = clip_of([np.full((120, 160, 3), 120, np.uint8)] * 2, tmp_path / "wall.mp4")
    with pytest.raises(NoDetection, match="No person was found in any of the 2 frames"):
        extract(clip, PoseOptions())
    assert not clip.has("poses") and leftovers(clip.path) == []

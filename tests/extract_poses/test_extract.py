"""The function behind `fsv2v extract-poses`: from a clip to its layer `poses`."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from stages.clip import Clip, VideoWriter, as_clip, read_frames
from stages.clip.exporters import export
from stages.clip.importers import import_clips
from stages.errors import NoDetection, ParametersDiffer, UsageError
from stages.extract_poses import PoseOptions, extract


@pytest.fixture
def people(shared: Path, tmp_path: Path) -> Callable[..., Clip]:
    """people(name, start, stop): frames of a video in the folder data/people of the shared data, as a new clip."""

    def make(name: str, start: int, stop: int, suffix: str = ".mp4") -> Clip:
        frames = list(read_frames(shared / "data/people" / f"{name}{suffix}", start, stop))
        return clip_of(frames, tmp_path / f"{name}.mp4")

    return make


def clip_of(frames: list[np.ndarray], path: Path) -> Clip:
    with VideoWriter(path, frames[0].shape[1], frames[0].shape[0], Fraction(25)) as video:
        for frame in frames:
            video.write(frame)
    return as_clip(path, path.parent)


def test_the_poses_of_a_dancer_are_in_body_25(people) -> None:
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
    assert (keypoints[:, 2, 0] < keypoints[:, 5, 0]).all(), "she faces the camera: her right shoulder is on the left of the image"
    visible = keypoints[..., 2] > 0
    assert (keypoints[~visible] == 0).all()
    assert (boxes[:, 0] >= 0).all() and (boxes[:, 2] < clip.width).all() and (boxes[:, 3] < clip.height).all()


def test_a_second_run_is_skipped_and_other_parameters_are_refused(people) -> None:
    clip = people("musepose_dance", 90, 92)
    extract(clip, PoseOptions())
    assert extract(clip, PoseOptions()).status == "skipped"
    with pytest.raises(ParametersDiffer, match='person: "largest" -> "all"'):
        extract(clip, PoseOptions(person="all"))
    before = clip.layer("poses").digest
    extract(clip, PoseOptions(), overwrite=True)
    assert clip.layer("poses").digest == before, "the same bytes"


def test_a_person_can_appear_after_the_first_frames(people) -> None:
    person = people("musepose_dance", 90, 93)
    frames = list(person.frames())
    clip = clip_of([np.full_like(frames[0], 120)] * 2 + frames, person.path.parent / "late.mp4")
    assert extract(clip, PoseOptions(person="all")).notes == {"frames_without_person": 2}
    arrays = clip.layer("poses").arrays()
    assert not arrays["keypoints"][:2].any() and (arrays["track_id"][:2] == -1).all()
    assert (arrays["track_id"][2:] >= 0).any(axis=1).all()


def test_a_clip_without_people_is_an_error_and_leaves_no_output(shared, tmp_path, leftovers) -> None:
    clip = clip_of([np.full((120, 160, 3), 120, np.uint8)] * 2, tmp_path / "grey.mp4")
    with pytest.raises(NoDetection, match="No person was found in any of the 2 frames"):
        extract(clip, PoseOptions())
    assert not clip.has("poses") and leftovers(clip.path) == []


def test_all_black_or_all_white_frames_have_no_person_and_frozen_frames_keep_one_pose(people) -> None:
    dancer = people("musepose_dance", 90, 92)
    frames = list(dancer.frames())
    frames = [frames[0], *[np.zeros_like(frames[0])] * 8, *[frames[1]] * 5, *[np.full_like(frames[0], 255)] * 3]
    clip = clip_of(frames, dancer.path.parent / "mixed.mp4")
    assert extract(clip, PoseOptions()).notes == {"frames_without_person": 11}
    keypoints = clip.layer("poses").arrays()["keypoints"][:, 0]
    assert not keypoints[1:9].any() and not keypoints[14:].any(), (
        "a gap of eight frames is too long to fill, and the frames at the end are not a gap"
    )
    frozen = keypoints[9:14]
    assert np.abs(frozen[:, :, :2] - frozen[0, :, :2])[frozen[..., 2] > 0].max() < 0.05 * clip.height


def test_frames_dropped_by_rules_are_counted_and_dropping_all_frames_is_an_error(people, leftovers) -> None:
    clip = people("musepose_dance", 90, 93)
    assert extract(clip, PoseOptions(drop=("small", "truncated"))).notes["frames_dropped"] == {"small": 0, "truncated": 0}
    frozen = clip_of([next(iter(clip.frames()))] * 20, clip.path.parent / "frozen.mp4")
    with pytest.raises(NoDetection, match="leave no person .* The rule static alone applied in 20 frames"):
        extract(frozen, PoseOptions(drop=("static",)))
    assert not frozen.has("poses") and leftovers(frozen.path) == []
    with pytest.raises(UsageError, match="no rule 'tall'"):
        extract(clip, PoseOptions(drop=("tall",)))


def test_identities_in_a_crowd_are_kept_for_a_second(shared, tmp_path) -> None:
    clip = as_clip(shared / "data/people/openpose_video.avi", tmp_path)
    extract(clip, PoseOptions(person="all"))
    identities = clip.layer("poses").arrays()["track_id"]
    second = round(clip.fps)
    starts = range(clip.num_frames - second)
    unchanged = [(np.diff(identities[start : start + second], axis=0) == 0).all(0) & (identities[start] >= 0) for start in starts]
    assert max(tracks.sum() for tracks in unchanged) >= 3


def test_identities_are_restored_from_openpose_files_without_ids(people, tmp_path) -> None:
    """People who are seen in all frames are tracked, although the OpenPose files list the people of each frame in any order."""
    clip = crowd(people, 30, 60)
    extract(clip, PoseOptions(person="all"))
    folder = export(clip, "poses", tmp_path / "json", "openpose")
    random = np.random.default_rng(0)
    for file in sorted(folder.iterdir()):
        value = json.loads(file.read_text())
        value["people"] = [{**value["people"][i], "person_id": [-1]} for i in random.permutation(len(value["people"]))]
        file.write_text(json.dumps(value))
    again = import_clips(folder, tmp_path / "again.clip", size=(clip.width, clip.height))[0].layer("poses").arrays()
    before = clip.layer("poses").arrays()
    for column in np.flatnonzero((before["track_id"] >= 0).all(0)):
        same = (np.abs(again["keypoints"] - before["keypoints"][:, column, None]) < 1e-3).all((2, 3))
        assert same.all(0).any(), f"the person in slot {column} has one slot again"


def crowd(people: Callable[..., Clip], start: int, stop: int) -> Clip:
    """Frames of the crowd in data/people/openpose_video.avi."""
    return people("openpose_video", start, stop, ".avi")


def test_the_error_for_the_number_of_an_absent_person_says_how_many_there_are(people) -> None:
    with pytest.raises(NoDetection, match="no person number 7: 1 person is seen at once"):
        extract(people("musepose_dance", 90, 92), PoseOptions(person=7))

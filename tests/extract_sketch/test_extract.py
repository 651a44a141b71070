"""The function behind `fsv2v extract-sketch`: from a clip to its layers `landmarks` and `sketch`."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fsv2v_cli.hints import with_hint
from stages.clip import Clip, as_clip, open_clip, read_frames
from stages.conditions.landmarks import eye_distance
from stages.errors import NoDetection, ParametersDiffer, UsageError
from stages.extract_sketch import SketchOptions, extract

DLIB = SketchOptions(backend="dlib")


def points_of(clip: Clip) -> np.ndarray:
    return clip.layer("landmarks").arrays()["points"]


def digests(clip: Clip) -> list[str]:
    return [clip.layer(kind).digest for kind in ("landmarks", "sketch")]


def blank(height: int = 256, width: int = 256) -> np.ndarray:
    return np.full((height, width, 3), 90, np.uint8)


def test_a_face_has_landmarks_in_ibug_order_and_a_sketch(clip_of, portrait) -> None:
    clip = clip_of([portrait] * 3)
    outcome = extract(clip, DLIB)
    assert (outcome.layer, outcome.status, outcome.frames) == ("sketch", "done", 3)
    assert outcome.notes == {"frames_without_face": 0, "frames_with_cut_face": 0}

    points = points_of(clip)
    assert points.shape == (3, 1, 68, 3) and points.dtype == np.float32
    face = points[0, 0]
    assert (face[:, 2] > 0).all()
    assert (np.diff(face[:17, 0]) > -1).all(), "the contour runs from left to right in the image"
    assert face[8, 1] == face[:17, 1].max(), "the middle of the contour is the chin"
    assert face[36:42, 0].mean() < face[42:48, 0].mean(), "the right eye of the person is on the left of the image"
    assert face[17:27, 1].mean() < face[36:48, 1].mean() < face[30, 1] < face[48:, 1].mean() < face[8, 1], "brows, eyes, nose, mouth, chin"

    sketch = clip.layer("sketch").image(0)
    assert sketch.shape == (256, 256) and sketch.dtype == np.uint8
    x, y = np.round(face[30, :2]).astype(int)
    assert sketch[y - 2 : y + 3, x - 2 : x + 3].max() > 100, "the tip of the nose lies on a stroke"


def test_background_edges_stay_outside_the_face_and_can_be_turned_off(clip_of, portrait) -> None:
    with_edges, without = clip_of([portrait], "a"), clip_of([portrait], "b")
    extract(with_edges, DLIB)
    extract(without, replace(DLIB, background="none"))
    edges, plain = with_edges.layer("sketch").image(0).astype(int), without.layer("sketch").image(0).astype(int)
    hull = cv2.fillConvexPoly(np.zeros((256, 256), np.uint8), cv2.convexHull(points_of(with_edges)[0, 0, :, :2].astype(np.int32)), 1) > 0
    assert (edges >= plain).all()
    assert (edges[hull] == plain[hull]).all()
    assert (edges[~hull] > plain[~hull]).sum() > 500


def test_frames_without_a_face_have_confidence_0_and_an_empty_sketch_and_are_counted(clip_of, portrait) -> None:
    clip = clip_of([portrait] * 3 + [blank()] * 4 + [portrait] * 2)
    outcome = extract(clip, DLIB)
    assert outcome.notes["frames_without_face"] == 4
    points = points_of(clip)
    assert points[:, 0, 0, 2].astype(bool).tolist() == [True] * 3 + [False] * 4 + [True] * 2
    assert not points[3:7].any()
    assert all(not clip.layer("sketch").image(index).any() for index in range(3, 7))


def test_a_clip_without_a_face_is_an_error_and_leaves_no_output(clip_of, visible_layers, leftovers) -> None:
    clip = clip_of([blank()] * 2)
    with pytest.raises(NoDetection, match=r"No face was found in any of the 2 frames") as caught:
        extract(clip, DLIB)
    assert "`fsv2v clip preview`" in with_hint(str(caught.value))
    assert "sketch" not in visible_layers(clip.path) and "landmarks" not in visible_layers(clip.path)
    assert leftovers(clip.path) == []


@pytest.fixture
def two_faces(portrait: np.ndarray) -> np.ndarray:
    """A small face on the left of a large one; the large one is farther from the centre."""
    image = blank(400, 720)
    image[60:316, 100:356] = portrait
    image[20:380, 356:716] = cv2.resize(portrait, (360, 360), interpolation=cv2.INTER_LINEAR)
    return image


@pytest.mark.parametrize(("face", "side"), [("largest", "right"), (0, "left"), ("1", "right"), ("center", "left")])
def test_the_option_face_chooses_one_of_several_faces(clip_of, two_faces, face, side) -> None:
    clip = clip_of([two_faces] * 2)
    extract(clip, replace(DLIB, face=face))
    points = points_of(clip)
    assert points.shape[1] == 1
    assert ("left" if points[0, 0, :, 0].mean() < 356 else "right") == side


def test_all_faces_have_their_own_slots(clip_of, two_faces) -> None:
    clip = clip_of([two_faces] * 2)
    extract(clip, replace(DLIB, face="all"))
    assert points_of(clip).shape == (2, 2, 68, 3)
    assert np.abs(np.diff(points_of(clip)[..., 0].mean(-1), axis=0)).max() < 3


def test_the_number_of_an_absent_face_is_an_error(clip_of, portrait) -> None:
    with pytest.raises(NoDetection, match="Face 3 was chosen; faces are numbered from the left"):
        extract(clip_of([portrait]), replace(DLIB, face=3))


def test_invalid_options_are_refused(clip_of, portrait) -> None:
    clip = clip_of([portrait])
    for options in (SketchOptions("dlib", face="prettiest"), SketchOptions("dlib", smoothing=-1), SketchOptions("nonesuch")):
        with pytest.raises(UsageError):
            extract(clip, options)


def test_a_face_cut_by_the_border_is_detected_with_a_warning(clip_of, portrait) -> None:
    clip = clip_of([portrait[:, 92:]])
    outcome = extract(clip, DLIB)
    assert outcome.notes["frames_with_cut_face"] == 1
    assert "cut by the border" in outcome.notes["warnings"][0]


def test_a_second_run_is_skipped_and_other_parameters_are_refused(clip_of, portrait) -> None:
    clip = clip_of([portrait] * 2)
    extract(clip, DLIB)
    before = digests(clip)
    assert extract(clip, DLIB).status == "skipped"
    with pytest.raises(ParametersDiffer, match='background: "canny" -> "none"'):
        extract(clip, replace(DLIB, background="none"))
    assert digests(clip) == before
    assert extract(clip, replace(DLIB, background="none"), overwrite=True).status == "done"
    assert digests(clip)[0] == before[0] and digests(clip)[1] != before[1]


def test_a_missing_sketch_is_drawn_from_existing_landmarks(clip_of, portrait) -> None:
    import shutil

    clip = clip_of([portrait] * 2)
    extract(clip, DLIB)
    before = digests(clip)
    shutil.rmtree(clip.path / "sketch")
    assert extract(clip, DLIB).status == "done"
    assert digests(clip) == before


def test_two_runs_give_the_same_bytes(clip_of, portrait) -> None:
    shifted = [np.roll(portrait, 2 * index, axis=1) for index in range(6)]
    first, second = clip_of(shifted, "a"), clip_of(shifted, "b")
    extract(first, DLIB)
    extract(second, DLIB)
    assert digests(first) == digests(second)


def test_a_killed_command_that_runs_again_gives_the_same_bytes(fsv2v, face_video, tmp_path, visible_layers) -> None:
    arguments = ("extract-sketch", face_video, "--backend", "dlib", "-o")
    assert fsv2v(*arguments, tmp_path / "undisturbed.clip").exit_code == 0
    for number, delay in enumerate(np.random.default_rng().uniform(0.3, 3.0, 2)):
        target = tmp_path / f"killed{number}.clip"
        process = fsv2v.start(*arguments, target)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert set(visible_layers(target)) <= {"frames", "landmarks", "sketch"}
        assert fsv2v(*arguments, target).exit_code == 0
        assert digests(open_clip(target)) == digests(open_clip(tmp_path / "undisturbed.clip"))


def test_landmarks_are_not_smoothed_across_a_cut(shared: Path, clip_of: Callable[..., Clip]) -> None:
    """The video has a cut at frame 269. Smoothing must not mix the faces before and after it."""
    from stages.clip import read_frames
    from stages.tracking.cuts import CutDetector

    frames = list(read_frames(shared / "data/faces/moore_1.mp4", 262, 276))
    is_cut = CutDetector()
    assert [index for index, frame in enumerate(frames) if is_cut(frame)] == [7]

    clip = clip_of(frames)
    extract(clip, SketchOptions(backend="mediapipe"))
    raw = clip_of(frames, "raw")
    extract(raw, SketchOptions(backend="mediapipe", smoothing=0))
    assert points_of(clip)[..., 2].astype(bool).tolist() == points_of(raw)[..., 2].astype(bool).tolist()
    assert np.abs(points_of(clip)[6] - points_of(raw)[6]).max() < 0.01, "the last frame before the cut is not smoothed with the next"


@pytest.mark.parametrize("name", ["liveportrait_d0.mp4", "1zlab_face.mp4", "pc_avs_pose4.mp4"])
def test_mediapipe_and_dlib_agree_on_real_faces(shared: Path, clip_of: Callable[..., Clip], name: str) -> None:
    from stages.clip import read_frames

    frames = list(read_frames(shared / "data/faces" / name, 20, 26))
    landmarks = []
    for backend in ("mediapipe", "dlib"):
        clip = clip_of(frames, backend)
        extract(clip, SketchOptions(backend=backend))
        landmarks.append(points_of(clip)[:, 0])
    error = np.linalg.norm(landmarks[0] - landmarks[1], axis=-1).mean(-1) / eye_distance(landmarks[0])
    assert np.median(error) < 0.08


@pytest.mark.parametrize("upside_down", [False, True])
def test_a_face_that_is_upside_down_causes_a_warning(upside_down: bool, clip_of, portrait) -> None:
    """The detector would place upright landmarks on it without a warning."""
    image = np.ascontiguousarray(portrait[::-1, ::-1]) if upside_down else portrait
    try:
        outcome = extract(clip_of([image] * 3), DLIB)
    except NoDetection:
        assert upside_down, "no detection is also correct"
        return
    assert any("upside down" in text for text in outcome.notes.get("warnings", ())) == upside_down


@pytest.mark.parametrize("backend", ["dlib", "mediapipe"])
def test_only_upside_down_real_faces_cause_a_warning(backend: str, shared: Path, clip_of) -> None:
    warnings = {False: 0, True: 0}
    detected = {False: 0, True: 0}
    for number, name in enumerate(("liveportrait_d0", "liveportrait_s20", "1zlab_face", "styletalk_clip13", "liveportrait_s18")):
        frames = [frame for _, frame in zip(range(2), read_frames(next((shared / "data" / "faces").glob(f"{name}.*"))), strict=False)]
        for upside_down in (False, True):
            clip = clip_of([np.ascontiguousarray(f[::-1, ::-1]) if upside_down else f for f in frames], f"{number}{upside_down}")
            try:
                outcome = extract(clip, SketchOptions(backend=backend, background="none"))
            except NoDetection:
                continue
            detected[upside_down] += 1
            warnings[upside_down] += any("upside down" in text for text in outcome.notes.get("warnings", ()))
    assert warnings[False] == 0 and detected[False] == 5
    assert warnings[True] == detected[True] > 0


def test_auto_keeps_the_backend_of_existing_landmarks(shared: Path, face_video: Path, tmp_path: Path) -> None:
    clip = as_clip(face_video, tmp_path / "a.clip")
    extract(clip, DLIB)
    assert extract(clip, SketchOptions(backend="auto")).status == "skipped"

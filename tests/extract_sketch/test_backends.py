"""The landmark backends and their registry."""

from __future__ import annotations

import dataclasses
import itertools
import threading
from pathlib import Path

import numpy as np
import pytest

from stages.backends import Backends, Package, every_backend
from stages.clip import read_frames
from stages.errors import MissingRequirement, UsageError
from weights import registry


def test_the_registry_lists_the_files_of_the_folder() -> None:
    assert Backends("landmarks").names() == ["dlib", "face-alignment", "mediapipe"]
    assert {kind for kind, _ in every_backend()} == {"landmarks", "poses", "segment", "flow"}


def test_the_error_for_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Choose one of: dlib, face-alignment, mediapipe"):
        Backends("landmarks").get("openface")


def test_a_missing_package_is_reported_with_its_remedy() -> None:
    backend = dataclasses.replace(Backends("landmarks").get("dlib"), packages=(Package("no_such_package", "no-such"),))
    assert backend.missing() == "the package no_such_package is not installed: pip install no-such"
    assert not backend.available


def test_auto_is_dlib_without_the_weights_of_mediapipe_and_reports_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The mirror contains a pointer of git-lfs instead of the weights."""
    (tmp_path / "face_landmarker.task").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3758596\n")
    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(tmp_path))
    chosen = Backends("landmarks").require("auto")
    assert chosen.name == "dlib"
    (note,) = chosen.notes["once"]
    assert note.startswith(f"dlib is used, because the better mediapipe is not available: {tmp_path}/face_landmarker.task is damaged")
    assert Backends("landmarks").require("dlib").notes == {}, "dlib was chosen by name"


def test_face_alignment_never_downloads_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FSV2V_WEIGHTS", "FSV2V_WEIGHTS_MIRROR", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    assert (
        Backends("landmarks").get("face-alignment").missing().startswith("the weights s3fd-619a316812.pth are not on this machine: curl -L")
    )
    with pytest.raises(MissingRequirement, match="face-alignment cannot run"):
        Backends("landmarks").require("face-alignment")

    (tmp_path / "s3fd-619a316812.pth").write_bytes(b"something else")
    from stages.extract_sketch.backends.face_alignment import _checked_path

    with pytest.raises(MissingRequirement, match="is damaged"):
        _checked_path("s3fd-619a316812.pth")


def test_output_of_face_alignment_is_converted_to_faces() -> None:
    from stages.extract_sketch.backends.face_alignment import FaceAlignmentFaces

    points = np.random.default_rng(0).uniform(10, 90, (68, 2)).astype(np.float32)
    detector = FaceAlignmentFaces(lambda frame: ([points], [np.full((68, 1), 1.2)], [np.array([10, 10, 90, 90, 0.99])]))
    (face,) = detector(np.zeros((100, 100, 3), np.uint8))
    assert np.array_equal(face.points[:, :2], points)
    assert (face.points[:, 2] == 1).all()
    assert FaceAlignmentFaces(lambda frame: (None, None, None))(np.zeros((100, 100, 3), np.uint8)) == []


def test_mediapipe_detects_a_small_face_again_in_an_enlarged_crop_if_the_eyes_are_wrong(shared: Path) -> None:
    """In this frame of 1080x1920, the landmarker alone places both irises a hundred pixels above the eyes."""
    from stages.extract_sketch.backends.mediapipe import MediapipeFaces

    frame = next(itertools.islice(read_frames(shared / "data/faces/latentsync_demo1_video.mp4"), 24, None))
    detect = MediapipeFaces(str(registry.path("face_landmarker.task")), "image")
    (face,) = detect(frame)
    (closer,) = detect(frame[500:900, 350:750])
    assert np.linalg.norm(face.points[:, :2] - closer.points[:, :2] - [350, 500], axis=1).max() < 0.03 * face.size
    assert (face.points[:, 2] > 0).all()

    unsure = detect._redetect(np.zeros_like(frame), face)
    assert np.array_equal(unsure.points[:68], face.points[:68])
    assert not unsure.points[68:].any(), "without a second detection the irises are missing"


@pytest.mark.parametrize("name", ["mediapipe", "dlib"])
def test_detectors_return_pixels_with_centres_at_integers(shared: Path, portrait: np.ndarray, name: str) -> None:
    """In an image enlarged three times by repeating pixels, points are at 3 x + 1. A constant offset of the detector is not enlarged.

    A single image shows the offset with a precision of half a pixel, so several crops are averaged.
    """
    offsets = []
    for left, top in itertools.product(range(0, 48, 12), range(0, 24, 8)):
        small = np.ascontiguousarray(portrait[top : top + 290, left : left + portrait.shape[1] - 48])
        detector = Backends("landmarks").require(name).open("cpu")
        one, other = detector(small), Backends("landmarks").require(name).open("cpu")(small.repeat(3, axis=0).repeat(3, axis=1))
        offsets += [(3 * a.points[:68, :2] + 1 - b.points[:68, :2]).mean(0) / 2 for a, b in zip(one[:1], other[:1], strict=True)]
    assert len(offsets) > 6
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.25


def test_mediapipe_places_irises_within_the_eyes(shared: Path, portrait: np.ndarray) -> None:
    """Each iris has five points: the centre, then the right, upper, left and lower end. The eye on the left of the image is first."""
    (face,) = Backends("landmarks").require("mediapipe").open("cpu")(portrait)
    assert face.points.shape == (78, 3)
    for eye, iris in ((face.points[36:42], face.points[68:73]), (face.points[42:48], face.points[73:78])):
        centre, right, upper, left, lower = iris[:, :2]
        assert eye[:, 0].min() < centre[0] < eye[:, 0].max()
        assert left[0] < centre[0] < right[0] and upper[1] < centre[1] < lower[1]
    assert np.array_equal(face.box, np.concatenate([face.points[:68, :2].min(0), face.points[:68, :2].max(0)]))


def test_closing_a_task_in_the_garbage_collector_never_waits_for_a_running_task() -> None:
    """A task may be collected during the call of another task, which holds the lock that MediaPipe needs for closing."""
    from stages.compute.mediapipe_task import _close

    running, closed = threading.Lock(), threading.Event()

    class Task:
        def close(self) -> None:
            with running:
                closed.set()

    with running:
        _close(Task())
        assert not closed.is_set()
    assert closed.wait(10)


def test_mediapipe_prints_nothing(shared: Path, portrait: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    detector = Backends("landmarks").require("mediapipe").open("cpu")
    assert len(detector(portrait)) == 1
    assert capfd.readouterr() == ("", "")

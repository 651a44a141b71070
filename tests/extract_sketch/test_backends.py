"""The landmark backends, and the registry they are found in."""

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


def test_a_file_in_the_folder_is_a_backend() -> None:
    assert Backends("landmarks").names() == ["dlib", "face-alignment", "mediapipe"]
    assert {kind for kind, _ in every_backend()} == {"landmarks", "poses", "segment", "flow"}


def test_a_name_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(UsageError, match="Choose one of: dlib, face-alignment, mediapipe"):
        Backends("landmarks").get("openface")


def test_a_missing_package_is_told_with_its_remedy_and_breaks_nothing() -> None:
    backend = dataclasses.replace(Backends("landmarks").get("dlib"), packages=(Package("no_such_package", "no-such"),))
    assert backend.missing() == "the package no_such_package is not installed: pip install no-such"
    assert not backend.available


def test_auto_is_dlib_where_mediapipe_cannot_be_had_and_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Here the mirror holds a pointer of git-lfs in the place of the weights."""
    (tmp_path / "face_landmarker.task").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3758596\n")
    monkeypatch.setenv("FSV2V_WEIGHTS_MIRROR", str(tmp_path))
    chosen = Backends("landmarks").require("auto")
    assert chosen.name == "dlib"
    (said,) = chosen.notes["once"]
    assert said.startswith(f"dlib is used, because the better mediapipe is not available: {tmp_path}/face_landmarker.task is damaged")
    assert Backends("landmarks").require("dlib").notes == {}, "dlib was chosen by name"


def test_face_alignment_never_downloads_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
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


def test_what_face_alignment_returns_becomes_faces() -> None:
    from stages.extract_sketch.backends.face_alignment import FaceAlignmentFaces

    points = np.random.default_rng(0).uniform(10, 90, (68, 2)).astype(np.float32)
    detector = FaceAlignmentFaces(lambda frame: ([points], [np.full((68, 1), 1.2)], [np.array([10, 10, 90, 90, 0.99])]))
    (face,) = detector(np.zeros((100, 100, 3), np.uint8))
    assert np.array_equal(face.points[:, :2], points)
    assert (face.points[:, 2] == 1).all()
    assert FaceAlignmentFaces(lambda frame: (None, None, None))(np.zeros((100, 100, 3), np.uint8)) == []


def test_mediapipe_looks_closer_where_it_misses_the_eyes_of_a_small_face(shared: Path) -> None:
    """In this frame of 1080x1920, its landmarker alone puts both irises a hundred pixels above the eyes."""
    from stages.extract_sketch.backends.mediapipe import MediapipeFaces

    frame = next(itertools.islice(read_frames(shared / "data/faces/latentsync_demo1_video.mp4"), 24, None))
    detect = MediapipeFaces(str(registry.path("face_landmarker.task")), "image")
    (face,) = detect(frame)
    (closer,) = detect(frame[500:900, 350:750])
    assert np.linalg.norm(face.points[:, :2] - closer.points[:, :2] - [350, 500], axis=1).max() < 0.03 * face.size
    assert (face.points[:, 2] > 0).all()

    unsure = detect._look_closer(np.zeros_like(frame), face)
    assert np.array_equal(unsure.points[:68], face.points[:68])
    assert not unsure.points[68:].any(), "without a second detection the irises are missing"


@pytest.mark.parametrize("name", ["mediapipe", "dlib"])
def test_detectors_return_pixels_with_centres_at_integers(shared: Path, portrait: np.ndarray, name: str) -> None:
    """A picture tripled by repeating pixels has its points at 3 x + 1: a constant offset of the detector would come out once, not thrice.

    A single picture measures it to within half a pixel, which is the size of the error to be found; therefore several crops are averaged.
    """
    offsets = []
    for left, top in itertools.product(range(0, 48, 12), range(0, 24, 8)):
        small = np.ascontiguousarray(portrait[top : top + 290, left : left + portrait.shape[1] - 48])
        detector = Backends("landmarks").require(name).open("cpu")
        one, other = detector(small), Backends("landmarks").require(name).open("cpu")(small.repeat(3, axis=0).repeat(3, axis=1))
        offsets += [(3 * a.points[:68, :2] + 1 - b.points[:68, :2]).mean(0) / 2 for a, b in zip(one[:1], other[:1], strict=True)]
    assert len(offsets) > 6
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.25


def test_mediapipe_sees_irises_within_the_eyes(shared: Path, portrait: np.ndarray) -> None:
    """Five points of each: the centre, then the right, upper, left and lower end; the eye at the left of the picture comes first."""
    (face,) = Backends("landmarks").require("mediapipe").open("cpu")(portrait)
    assert face.points.shape == (78, 3)
    for eye, iris in ((face.points[36:42], face.points[68:73]), (face.points[42:48], face.points[73:78])):
        centre, right, upper, left, lower = iris[:, :2]
        assert eye[:, 0].min() < centre[0] < eye[:, 0].max()
        assert left[0] < centre[0] < right[0] and upper[1] < centre[1] < lower[1]
    assert np.array_equal(face.box, np.concatenate([face.points[:68, :2].min(0), face.points[:68, :2].max(0)]))


def test_a_task_that_the_garbage_collector_closes_never_waits_for_one_that_runs() -> None:
    """It may be collected in the middle of another task's call, whose lock MediaPipe needs for closing."""
    from stages.mediapipe_task import _close

    running, closed = threading.Lock(), threading.Event()

    class Task:
        def close(self) -> None:
            with running:
                closed.set()

    with running:
        _close(Task())
        assert not closed.is_set()
    assert closed.wait(10)


def test_mediapipe_is_silent(shared: Path, portrait: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    detector = Backends("landmarks").require("mediapipe").open("cpu")
    assert len(detector(portrait)) == 1
    assert capfd.readouterr() == ("", "")

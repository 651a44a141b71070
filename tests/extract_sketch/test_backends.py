"""The landmark backends, and the registry they are found in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from stages.backends import Backends, Package, every_backend
from stages.errors import MissingRequirement, UsageProblem


def test_a_file_in_the_folder_is_a_backend() -> None:
    assert Backends("landmarks").names() == ["dlib", "face-alignment", "mediapipe"]
    assert {kind for kind, _ in every_backend()} == {"landmarks", "poses", "segment", "flow"}


def test_a_name_that_does_not_exist_lists_those_that_do() -> None:
    with pytest.raises(UsageProblem, match="Choose one of: dlib, face-alignment, mediapipe"):
        Backends("landmarks").get("openface")


def test_a_missing_package_is_told_with_its_remedy_and_breaks_nothing() -> None:
    backend = dataclasses.replace(Backends("landmarks").get("dlib"), packages=(Package("no_such_package", "no-such"),))
    assert backend.missing() == "the package no_such_package is not installed: pip install no-such"
    assert not backend.available


def test_auto_is_dlib_where_mediapipe_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    require = Backends.require

    def offline(self: Backends, name: str) -> object:
        if name == "mediapipe":
            raise MissingRequirement("no network")
        return require(self, name)

    monkeypatch.setattr(Backends, "require", offline)
    assert Backends("landmarks").require("auto").name == "dlib"


def test_face_alignment_never_downloads_by_itself(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("FSV2V_WEIGHTS", "FSV2V_WEIGHTS_MIRROR", "TORCH_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    assert Backends("landmarks").get("face-alignment").missing().startswith("the weights s3fd-619a316812.pth are not here: curl -L")
    with pytest.raises(MissingRequirement, match="face-alignment cannot run"):
        Backends("landmarks").require("face-alignment")

    (tmp_path / "s3fd-619a316812.pth").write_bytes(b"something else")
    from stages.extract_sketch.backends.face_alignment import _checked

    with pytest.raises(MissingRequirement, match="is damaged"):
        _checked("s3fd-619a316812.pth")


def test_what_face_alignment_returns_becomes_faces() -> None:
    from stages.extract_sketch.backends.face_alignment import FaceAlignmentFaces

    points = np.random.default_rng(0).uniform(10, 90, (68, 2)).astype(np.float32)
    detector = FaceAlignmentFaces(lambda frame: ([points], [np.full((68, 1), 1.2)], [np.array([10, 10, 90, 90, 0.99])]))
    (face,) = detector(np.zeros((100, 100, 3), np.uint8))
    assert np.array_equal(face.points[:, :2], points)
    assert (face.points[:, 2] == 1).all()
    assert FaceAlignmentFaces(lambda frame: (None, None, None))(np.zeros((100, 100, 3), np.uint8)) == []


@pytest.mark.parametrize("name", ["mediapipe", "dlib"])
def test_detectors_return_pixels_with_centres_at_integers(shared: Path, portrait: np.ndarray, name: str) -> None:
    """A picture doubled by repeating pixels has its points at 2 x + 0.5."""
    twice = portrait.repeat(2, axis=0).repeat(2, axis=1)
    small, large = (Backends("landmarks").require(name).open("cpu")(picture)[0].points[:, :2] for picture in (portrait, twice))
    assert np.abs((2 * small + 0.5) - large).mean() < 2.0
    assert abs(((2 * small + 0.5) - large).mean()) < 0.7


def test_mediapipe_is_silent(shared: Path, portrait: np.ndarray, capfd: pytest.CaptureFixture[str]) -> None:
    detector = Backends("landmarks").require("mediapipe").open("cpu")
    assert len(detector(portrait)) == 1
    assert capfd.readouterr() == ("", "")

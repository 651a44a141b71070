"""`--normalize auto`: proportions are not changed if the example shows the driver, and the decision is reported."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from stages.clip import Clip, Producer, create_clip, open_clip
from stages.conditions.landmarks import eye_distance
from stages.conditions.view import View
from stages.errors import UsageError
from stages.models import identity
from stages.synthesize.fitting import decide


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip) -> Clip:
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("driver") / "driver.clip", 1, num_frames=12, size=128))


def with_landmarks(path: Path, image: np.ndarray, points: np.ndarray) -> Clip:
    """A clip of one image; points [68, 3]."""
    clip = create_clip(path, iter([image]), storage="png")
    with clip.writing("landmarks", Producer("test"), {"frames": clip.frames_digest()}) as layer:
        layer.arrays(points=points[None, None].astype(np.float32))
    return open_clip(path)


def save_frame(clip: Clip, index: int, path: Path, scale: float) -> Clip:
    """A frame of the clip, resized, saved as JPEG, and with slightly different landmarks."""
    image = clip.frame(index)
    height, width = image.shape[:2]
    size = round(height * scale)
    _, coded = cv2.imencode(".jpg", cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR), [cv2.IMWRITE_JPEG_QUALITY, 85])
    view = View.scaled(height, width, size, size)
    points = view.points(clip.layer("landmarks").arrays()["points"][index, 0])
    points[:, :2] += np.random.default_rng(0).normal(0, 0.005 * eye_distance(points), (68, 2))
    return with_landmarks(path, np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)), points)


@pytest.mark.parametrize("scale", [0.8, 1.0, 1.6])
def test_a_saved_frame_of_the_driving_video_is_recognised(driver, tmp_path, scale):
    fitting = decide("auto", "landmarks", [save_frame(driver, 7, tmp_path / "saved.clip", scale)], driver)
    assert fitting.method == "place" and "frame 7 of the driving video" in fitting.reason


def test_another_person_in_the_same_pose_is_not_recognised(driver, tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "open_if_available", lambda: None)  # the network does not recognise painted faces
    points = driver.layer("landmarks").arrays()["points"][7, 0]
    inverted = with_landmarks(tmp_path / "other.clip", 255 - driver.frame(7), points)
    assert decide("auto", "landmarks", [inverted], driver).method == "proportions"


def test_the_driving_clip_as_its_own_example_is_not_fitted(driver):
    assert decide("auto", "landmarks", [driver], driver).method == "none"


def test_on_and_off_override_the_automatic_choice(driver):
    assert decide("on", "landmarks", [driver], driver).method == "proportions"
    assert decide("off", "landmarks", [driver], driver).method == "none"
    assert decide("auto", "segment", [driver], driver).method == "none"
    with pytest.raises(UsageError, match="cannot be normalized"):
        decide("on", "segment", [driver], driver)


def test_a_person_is_recognised_in_another_video(shared, tmp_path):
    """Two videos of one person, and one of another person."""
    describe = identity.open_if_available()
    if describe is None:
        pytest.skip("dlib's recognition network is not available")
    from stages.extract_sketch import SketchOptions, extract

    def embedding_of(name: str) -> np.ndarray:
        clip = create_clip(tmp_path / f"{name}.clip", first_frame(shared / "data" / "faces" / f"{name}.mp4"), storage="png")
        extract(clip, SketchOptions(backend="dlib", background="none"))
        return describe(clip.frame(0), open_clip(clip.path).layer("landmarks").arrays()["points"][0, 0])

    one, same, other = (embedding_of(name) for name in ("sadtalker_ref1", "video_retalking_3", "sadtalker_ref2"))
    assert np.linalg.norm(one - same) < identity.SAME_PERSON < 0.6 < np.linalg.norm(one - other)


def first_frame(path: Path):
    from stages.clip import read_frames

    yield from read_frames(path, 0, 1)


def test_a_dry_run_prints_the_automatic_choice(fsv2v, driver, tmp_path):
    saved = save_frame(driver, 3, tmp_path / "saved.clip", 1.0)
    result = fsv2v("synthesize", "--examples", saved.path, "--driving", driver.path, "-o", tmp_path / "out.mp4", "--dry-run")
    assert "# normalize: " in result.stdout and "the example is frame 3 of the driving video" in result.stdout
    assert not (tmp_path / "out.mp4").exists()
    missing = fsv2v("synthesize", "--examples", tmp_path / "none.jpg", "--driving", driver.path, "--dry-run")
    assert missing.exit_code == 0 and "none.jpg does not exist" in missing.stdout

"""Metrics of bodies and streets, which compare detections in the result with the driving layer, against values computed by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typed_metrics import not_none

from stages.backends import Backends
from stages.clip import Producer, create_clip
from stages.conditions.labels import CAMVID, VOID
from stages.conditions.poses import NAMES
from stages.errors import UsageError
from stages.evaluate import EvaluateOptions, evaluate
from stages.evaluate.metrics.pose_error import PoseError, error
from stages.evaluate.metrics.segment_miou import SegmentScore, label_lookup, mean_iou, most_probable_labels

STREET = EvaluateOptions(metrics=("segment-miou",), device="cpu")


def body(**positions: tuple[float, float]) -> np.ndarray:
    """Keypoints [25, 3], with confidence 1 for the named ones and 0 for the others."""
    points = np.zeros((len(NAMES), 3), np.float32)
    for name, (x, y) in positions.items():
        points[NAMES.index(name.replace("_", " "))] = x, y, 1
    return points


STANDING = body(nose=(50, 10), neck=(50, 30), right_ankle=(45, 110), left_ankle=(55, 110))
"""A body of 100 pixels in height."""
FRAME = np.zeros((1, 1, 3), np.uint8)
"""A frame that the detectors of these tests ignore."""


def test_the_error_of_a_shifted_body_is_in_pixels_or_in_percent_of_its_height():
    target, detected = 2 * STANDING, 2 * STANDING + np.array([3, 4, 0], np.float32)
    target[:, 2] = detected[:, 2] = STANDING[:, 2]
    assert PoseError(iter([target]), lambda: lambda frame: [detected], relative=False)(FRAME, [FRAME]) == [5]
    assert PoseError(iter([target]), lambda: lambda frame: [detected], relative=True)(FRAME, [FRAME]) == [2.5]


def test_keypoints_of_low_confidence_on_either_side_do_not_count():
    detected = STANDING + np.array([0, 2, 0], np.float32)
    detected[NAMES.index("left ankle")] = 500, 500, 0.1
    assert error(detected, STANDING) == 2
    assert error(STANDING, detected) == 2


def test_a_body_with_less_than_half_of_its_keypoints_counts_as_not_found():
    assert error(body(nose=(50, 10)), STANDING) is None
    assert error(body(nose=(50, 10), neck=(50, 30)), STANDING) == 0


def test_the_person_nearest_to_the_driving_body_counts():
    crowd = [STANDING + np.array([90, 0, 0], np.float32), STANDING + np.array([1, 0, 0], np.float32)]
    assert PoseError(iter([STANDING]), lambda: lambda frame: crowd, relative=False)(FRAME, [FRAME]) == [1]


def test_a_frame_without_a_driving_body_is_not_measured():
    assert PoseError(iter([0 * STANDING]), lambda: lambda frame: [STANDING], relative=True)(FRAME, [FRAME]) is None


@pytest.mark.parametrize(
    "target", [body(nose=(50, 10)), body(right_knee=(40, 50), left_knee=(60, 50))], ids=["one point", "two points of the same height"]
)
def test_a_driving_body_without_height_has_no_error_in_percent_of_it(target: np.ndarray):
    assert PoseError(iter([target]), lambda: lambda frame: [target], relative=True)(FRAME, [FRAME]) is None
    assert PoseError(iter([target]), lambda: lambda frame: [target], relative=False)(FRAME, [FRAME]) == [0]


def test_mean_iou_of_a_small_label_map():
    target = np.array([[0, 0, 0, 1], [0, 0, 0, 1]], np.uint8)
    labels = np.array([[0, 0, 1, 1], [0, 0, 0, 1]], np.uint8)
    assert mean_iou(labels, target) == pytest.approx((5 / 6 + 2 / 3) / 2)
    assert mean_iou(target, target) == 1


def test_void_pixels_of_the_driving_labels_do_not_count():
    target = np.array([[0, 0, VOID, VOID]], np.uint8)
    assert mean_iou(np.array([[0, 0, 1, 0]], np.uint8), target) == 1
    assert SegmentScore(iter([np.full((2, 2), VOID, np.uint8)]), lambda frame: frame, mean_iou)(FRAME, [target]) is None


def test_labels_are_matched_by_name():
    lookup = label_lookup(("road", "unicorn", "sky"), ("sky", "building", "road"))
    assert lookup[[0, 1, 2, VOID]].tolist() == [2, VOID, 0, VOID]


def test_the_most_probable_label_is_chosen_at_the_size_of_the_image():
    probabilities = np.array([[[0.9, 0.2]], [[0.1, 0.8]]], np.float32)
    assert most_probable_labels(probabilities, 4, 2).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """Three frames of sky above a road, with label maps."""
    ids = np.full((64, 96), CAMVID.names.index("road"), np.uint8)
    ids[:32] = CAMVID.names.index("sky")
    image = np.where((ids == CAMVID.names.index("sky"))[..., None], [150, 190, 240], [90, 90, 95]).astype(np.uint8)
    clip = create_clip(tmp_path / "street.clip", iter([image] * 3), storage="png")
    with clip.writing("segment", Producer("import"), {"frames": clip.frames_digest()}, CAMVID.meta()) as layer:
        for _ in range(3):
            layer.image(ids)
    return tmp_path / "street.clip"


def test_the_labels_of_a_street_are_measured_in_the_result_and_the_real_video(street: Path):
    skip_without("segment", "street")
    names = ("segment-miou", "pixel-accuracy")
    scores = list(evaluate([str(street)], [str(street)], EvaluateOptions(names, driving=str(street), device="cpu")))
    assert [score.metric for score in scores] == list(names)
    for score in scores:
        assert score.value == score.floor and 0 < not_none(score.value) <= 1
        assert score.frames == 2


def test_metrics_of_another_driving_kind_are_left_out_and_refused_if_named(street: Path):
    used = {score.metric for score in evaluate([str(street)], [str(street)], EvaluateOptions(driving=str(street), device="cpu"))}
    assert "segment-miou" in used and not {"pose-error", "pose-error-pixels"} & used
    with pytest.raises(UsageError, match="The driving has no layer poses"):
        list(evaluate([str(street)], [str(street)], EvaluateOptions(("pose-error",), driving=str(street), device="cpu")))


def test_the_pose_error_of_a_moved_person_is_the_distance(tmp_path: Path):
    skip_without("poses", "small")
    from skimage.data import astronaut

    from stages.extract_poses import PoseOptions, extract

    image = np.ascontiguousarray(astronaut()[:, 60:400])
    clip = create_clip(tmp_path / "person.clip", iter([image] * 3), storage="png")
    extract(clip, PoseOptions(backend="small", device="cpu"))
    moved = create_clip(tmp_path / "moved.clip", iter([np.roll(image, 20, 1)] * 3), storage="png")
    options = EvaluateOptions(("pose-error-pixels",), driving=str(clip.path), device="cpu")
    same, shifted = evaluate([str(clip.path), str(moved.path)], [str(clip.path)], options)
    assert same.value is not None and same.value < 2
    assert shifted.value == pytest.approx(20, abs=4)


def skip_without(kind: str, backend: str) -> None:
    if reason := Backends(kind).get(backend).missing():
        pytest.skip(reason)

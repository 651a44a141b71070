"""Conversion of other skeletons to BODY_25, with hands and face if they exist."""

from __future__ import annotations

import numpy as np
import pytest

from stages.conditions import poses
from stages.tables.skeletons import (
    BODY_25,
    BODY_25B,
    COCO_17,
    COCO_17_IN_BODY_25,
    COCO_WHOLEBODY,
    MEDIAPIPE_33,
    OPENPOSE_18,
    SKELETONS,
    convert_to_body_25,
)

COCO_NAMES = (
    "nose", "left eye", "right eye", "left ear", "right ear", "left shoulder", "right shoulder", "left elbow", "right elbow", "left wrist",
    "right wrist", "left hip", "right hip", "left knee", "right knee", "left ankle", "right ankle", "left big toe", "left small toe",
    "left heel", "right big toe", "right small toe", "right heel",
)  # fmt: skip
OPENPOSE_18_NAMES = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist", "right hip", "right knee",
    "right ankle", "left hip", "left knee", "left ankle", "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip
BODY_25B_NAMES = (*COCO_NAMES[:17], "upper neck", "top of the head", *COCO_NAMES[17:23])
MEANS = {"neck": ("left shoulder", "right shoulder"), "mid hip": ("left hip", "right hip")}


def numbered_points(count: int) -> np.ndarray:
    """Point i is at x = 100 + i, y = 200 + i, with confidence 1 - i / 1000."""
    index = np.arange(count, dtype=np.float32)
    return np.stack([100 + index, 200 + index, 1 - index / 1000], -1)


@pytest.mark.parametrize(
    ("skeleton", "names"),
    [
        (COCO_17, COCO_NAMES[:17]),
        (COCO_WHOLEBODY, COCO_NAMES),
        (OPENPOSE_18, OPENPOSE_18_NAMES),
        (BODY_25, poses.NAMES),
        (BODY_25B, BODY_25B_NAMES),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_points_are_matched_by_name(skeleton, names):
    points = numbered_points(skeleton.count)
    body = convert_to_body_25(points, skeleton)["keypoints"]
    for name, point in zip(poses.NAMES, body, strict=True):
        if name in names:
            assert np.array_equal(point, points[names.index(name)]), name
        elif name in MEANS:
            left, right = (points[names.index(part)] for part in MEANS[name])
            assert point.tolist() == [(left[0] + right[0]) / 2, (left[1] + right[1]) / 2, min(left[2], right[2])], name
        else:
            assert not point.any(), name


def test_a_whole_body_has_hands_and_a_face_without_pupils():
    points = numbered_points(133)
    arrays = convert_to_body_25(np.stack([points, points]), COCO_WHOLEBODY)
    assert {name: array.shape for name, array in arrays.items()} == {
        "keypoints": (2, 25, 3), "face": (2, 70, 3), "hand_left": (2, 21, 3), "hand_right": (2, 21, 3),
    }  # fmt: skip
    assert np.array_equal(arrays["face"][0, :68], points[23:91]) and not arrays["face"][0, 68:].any()
    assert np.array_equal(arrays["hand_left"][1], points[91:112]) and np.array_equal(arrays["hand_right"][1], points[112:])
    assert all(array.dtype == np.float32 for array in arrays.values())


def test_a_mean_is_absent_if_one_of_its_points_is():
    points = numbered_points(17)
    points[6, 2] = 0
    body = convert_to_body_25(points, COCO_17)["keypoints"]
    assert not body[[1, 2]].any() and body[5, 2] > 0


def test_points_without_confidence_are_zero():
    points = numbered_points(18)
    points[3, 2] = 0
    assert not convert_to_body_25(points, OPENPOSE_18)["keypoints"][3].any()


def test_the_points_of_coco_can_be_read_back_from_body_25():
    points = numbered_points(17)
    assert np.array_equal(convert_to_body_25(points, COCO_17)["keypoints"][list(COCO_17_IN_BODY_25)], points)


def test_another_number_of_points_is_refused():
    assert {skeleton.count for skeleton in SKELETONS.values()} == {17, 18, 25, 33, 133}
    assert all(len(skeleton.body) == 25 for skeleton in SKELETONS.values())
    with pytest.raises(ValueError, match="mediapipe-33 has 33 points"):
        convert_to_body_25(numbered_points(25), MEDIAPIPE_33)

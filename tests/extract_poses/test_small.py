"""The shipped pose network: windows that search for and follow a person, and keypoints decoded from heat maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stages.clip import read_frames
from stages.conditions.poses import NAMES
from stages.extract_poses.backends import small
from stages.extract_poses.backends.small import (
    INPUT,
    STRIDE,
    SmallPoses,
    decode,
    mirrored_images,
    probabilities,
    search_windows,
    window_around,
)
from weights import registry


def test_keypoints_are_decoded_between_the_cells_of_the_map() -> None:
    columns, rows = INPUT[0] // STRIDE, INPUT[1] // STRIDE
    y, x = np.mgrid[:rows, :columns]
    peak = -0.5 * (np.square(x - 10.25) + np.square(y - 20.5))
    nowhere = np.full((rows, columns), -12.0)
    points = decode(probabilities(np.stack([peak + 9, nowhere])[None].astype(np.float32))[0])
    assert points[0, :2] == pytest.approx([10.25 * STRIDE, 20.5 * STRIDE], abs=0.2)
    assert points[0, 2] > 0.99 and points[1, 2] < 0.05


def test_a_person_fills_a_fixed_part_of_the_window() -> None:
    person = np.zeros((25, 3), np.float32)
    person[0], person[11] = (100, 50, 1), (140, 450, 1)
    x, y, scale = window_around(person, 640, 480)
    assert (x, y) == (120, 250) and 400 / scale == pytest.approx(small.FILL * INPUT[1])


def test_the_window_around_a_head_includes_the_body() -> None:
    person = np.zeros((25, 3), np.float32)
    person[0], person[1] = (100, 50, 1), (100, 90, 1)
    _, y, scale = window_around(person, 640, 480)
    assert y + INPUT[1] * scale / 2 > 90 + 1.5 * 80  # the trunk is taken as twice the 40 pixels from nose to neck, "the hips are inside"
    _, y, scale = window_around(person, 640, 100)
    assert y == pytest.approx(74.5), "the window does not extend below the image"


def test_mirrored_images_keep_the_grid_of_cells() -> None:
    images = np.random.default_rng(0).integers(0, 255, (1, INPUT[1], INPUT[0], 3), np.uint8)
    mirrored = mirrored_images(images)
    cells = np.arange(0, INPUT[0], STRIDE)
    assert np.array_equal(mirrored[:, :, cells], images[:, :, cells[::-1]])


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (512, 758), (64, 64), (300, 2000)])
def test_the_search_windows_cover_the_whole_image(width: int, height: int) -> None:
    for windows in search_windows(width, height):
        covered = np.zeros((height, width), bool)
        for x, y, scale in windows:
            half = np.array(INPUT) * scale / 2
            left, top = np.maximum([x, y] - half, 0).round().astype(int)
            right, bottom = ([x, y] + half).round().astype(int)
            covered[top:bottom, left:right] = True
        assert covered.mean() > 0.99


def test_the_shipped_network_detects_and_follows_a_dancer(shared: Path) -> None:
    detect = SmallPoses(registry.path(small.WEIGHTS), "cpu")
    frames = list(read_frames(shared / "data/people/animate_x_dance3.mp4", 0, 10))
    for frame in frames:
        (person,) = detect(frame)
        height, width = frame.shape[:2]
        visible = person.points[person.points[:, 2] > 0]
        assert len(visible) > 15 and (visible[:, 0] < width).all() and (visible[:, 1] < height).all()
        nose, ankle = person.points[NAMES.index("nose")], person.points[NAMES.index("right ankle")]
        assert ankle[1] - nose[1] > 0.3 * height, "head above feet"


def test_the_shipped_network_detects_nobody_in_a_grey_image() -> None:
    detect = SmallPoses(registry.path(small.WEIGHTS), "cpu")
    assert [detect(np.full((240, 320, 3), 120, np.uint8)) for _ in range(2)] == [[], []]

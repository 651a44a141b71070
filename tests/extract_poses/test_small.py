"""Our own pose network: windows that find and track one person, and how a place is read off a map."""

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


def test_a_place_is_read_between_the_cells() -> None:
    columns, rows = INPUT[0] // STRIDE, INPUT[1] // STRIDE
    y, x = np.mgrid[:rows, :columns]
    peak = -0.5 * (np.square(x - 10.25) + np.square(y - 20.5))
    nowhere = np.full((rows, columns), -12.0)
    points = decode(probabilities(np.stack([peak + 9, nowhere])[None].astype(np.float32))[0])
    assert points[0, :2] == pytest.approx([10.25 * STRIDE, 20.5 * STRIDE], abs=0.2)
    assert points[0, 2] > 0.99 and points[1, 2] < 0.05


def test_the_window_around_a_person_is_filled_by_him() -> None:
    person = np.zeros((25, 3), np.float32)
    person[0], person[11] = (100, 50, 1), (140, 450, 1)
    x, y, scale = window_around(person, 640, 480)
    assert (x, y) == (120, 250) and 400 / scale == pytest.approx(small.FILL * INPUT[1])


def test_below_a_head_there_must_be_a_body() -> None:
    person = np.zeros((25, 3), np.float32)
    person[0], person[1] = (100, 50, 1), (100, 90, 1)
    _, y, scale = window_around(person, 640, 480)
    assert y + INPUT[1] * scale / 2 > 90 + 1.5 * 80, "the hips are shown"
    _, y, scale = window_around(person, 640, 100)
    assert y == pytest.approx(74.5), "but not what lies below the image"


def test_what_is_mirrored_twice_falls_on_the_same_cells() -> None:
    images = np.random.default_rng(0).integers(0, 255, (1, INPUT[1], INPUT[0], 3), np.uint8)
    mirrored = mirrored_images(images)
    cells = np.arange(0, INPUT[0], STRIDE)
    assert np.array_equal(mirrored[:, :, cells], images[:, :, cells[::-1]])


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (512, 758), (64, 64), (300, 2000)])
def test_the_search_covers_the_whole_picture(width: int, height: int) -> None:
    for windows in search_windows(width, height):
        seen = np.zeros((height, width), bool)
        for x, y, scale in windows:
            half = np.array(INPUT) * scale / 2
            left, top = np.maximum([x, y] - half, 0).round().astype(int)
            right, bottom = ([x, y] + half).round().astype(int)
            seen[top:bottom, left:right] = True
        assert seen.mean() > 0.99


def test_the_shipped_network_finds_a_dancer_and_stays_with_her(shared: Path) -> None:
    detect = SmallPoses(registry.path(small.WEIGHTS), "cpu")
    frames = list(read_frames(shared / "data/people/animate_x_dance3.mp4", 0, 10))
    for frame in frames:
        (person,) = detect(frame)
        height, width = frame.shape[:2]
        seen = person.points[person.points[:, 2] > 0]
        assert len(seen) > 15 and (seen[:, 0] < width).all() and (seen[:, 1] < height).all()
        nose, ankle = person.points[NAMES.index("nose")], person.points[NAMES.index("right ankle")]
        assert ankle[1] - nose[1] > 0.3 * height, "head above feet"


def test_it_sees_nobody_on_a_wall() -> None:
    detect = SmallPoses(registry.path(small.WEIGHTS), "cpu")
    assert [detect(np.full((240, 320, 3), 120, np.uint8)) for _ in range(2)] == [[], []]

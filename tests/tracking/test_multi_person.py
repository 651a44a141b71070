"""Tracking a crowd with an estimator that detects only one large person in an image."""

from __future__ import annotations

import numpy as np

from stages.tracking.multi_person import TILES_PER_FRAME, CrowdDetector, tiles
from stages.tracking.tracker import Subject, box_of_points

COLOURS = ((250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0))


def scene(*positions: tuple[int, int], size: int = 60) -> np.ndarray:
    """People drawn as rectangles of different colours on grey, centred at `positions`."""
    frame = np.full((360, 640, 3), 90, np.uint8)
    for (x, y), colour in zip(positions, COLOURS, strict=False):
        frame[y - size : y + size, x - size // 3 : x + size // 3] = colour
    return frame


def detect_largest(image: np.ndarray) -> list[Subject]:
    """Detects only the largest rectangle, if its height is at least a quarter of the image: nine points on its outline."""
    subjects: list[Subject] = []
    for colour in COLOURS:
        rows, columns = np.nonzero((np.abs(image.astype(int) - colour) < 60).all(-1))
        if len(rows) and np.ptp(rows) > 0.25 * len(image):
            grid = [(x, y) for x in (columns.min(), columns.mean(), columns.max()) for y in (rows.min(), rows.mean(), rows.max())]
            points = np.zeros((25, 3), np.float32)
            points[:9, :2], points[:9, 2] = grid, 1
            subjects.append(Subject(box_of_points(points[:9]), points))
    return sorted(subjects, key=lambda person: -person.size)[:1]


def centres(persons: list[Subject]) -> list[tuple[int, int]]:
    return sorted((round(float(person.centre[0])), round(float(person.centre[1]))) for person in persons)


def are_close(actual: list[tuple[int, int]], expected: list[tuple[int, int]]) -> bool:
    return len(actual) == len(expected) and bool(np.abs(np.subtract(actual, sorted(expected))).max() <= 3)


def test_all_people_are_detected_in_the_first_frame_and_followed() -> None:
    detect = CrowdDetector(detect_largest, lambda: detect_largest)
    for t in range(12):
        positions = [(80 + 4 * t, 100), (300, 250 - 2 * t), (560 - 5 * t, 120)]
        assert are_close(centres(detect(scene(*positions))), positions), f"frame {t}"


def test_a_person_who_appears_later_is_detected_within_one_round_of_tiles() -> None:
    detect = CrowdDetector(detect_largest, lambda: detect_largest)
    detect(scene((80, 100)))
    rounds = len(tiles(640, 360)) // TILES_PER_FRAME + 1
    counts = [len(detect(scene((80, 100), (500, 200)))) for _ in range(rounds)]
    assert counts[-1] == 2


def test_the_estimator_of_a_person_who_leaves_is_reused() -> None:
    estimators = []

    def open_estimator():
        estimators.append(1)
        return detect_largest

    detect = CrowdDetector(detect_largest, open_estimator)
    detect(scene((80, 100), (500, 200)))
    assert [len(detect(scene((80, 100)))) for _ in range(20)] == [1] * 20
    for _ in range(20):
        persons = detect(scene((80, 100), (300, 200)))
    assert len(persons) == 2 and len(estimators) <= 3


def test_an_empty_scene_has_no_detections() -> None:
    detect = CrowdDetector(detect_largest, lambda: detect_largest)
    assert [detect(scene()) for _ in range(3)] == [[], [], []]


def test_tiles_cover_the_image_with_overlap() -> None:
    covered = np.zeros((720, 1280), int)
    for x, y, width, height in tiles(1280, 720):
        covered[y : y + height, x : x + width] += 1
        assert x >= 0 and y >= 0 and x + width <= 1280 and y + height <= 720
    assert covered.min() >= 3


def test_all_people_are_detected_at_once_after_a_cut() -> None:
    detect = CrowdDetector(detect_largest, lambda: detect_largest)
    for _ in range(3):
        detect(255 - scene((80, 100)))
    positions = [(100, 120), (300, 200), (560, 140)]
    assert are_close(centres(detect(scene(*positions))), positions)

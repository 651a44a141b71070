"""An estimator that sees one person of a picture, and no small ones, follows a crowd."""

from __future__ import annotations

import numpy as np

from stages.tracking.multi_person import TILES_PER_FRAME, Crowd, tiles
from stages.tracking.tracker import Subject, box_of_points

COLOURS = ((250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0))


def scene(*places: tuple[int, int], size: int = 60) -> np.ndarray:
    """Persons as rectangles, each in a colour of its own, on grey."""
    frame = np.full((360, 640, 3), 90, np.uint8)
    for (x, y), colour in zip(places, COLOURS, strict=False):
        frame[y - size : y + size, x - size // 3 : x + size // 3] = colour
    return frame


def short_sighted(image: np.ndarray) -> list[Subject]:
    """Sees whoever fills most of the picture, if he is at least a quarter of it high: nine points on his outline."""
    best: list[Subject] = []
    for colour in COLOURS:
        rows, columns = np.nonzero((np.abs(image.astype(int) - colour) < 60).all(-1))
        if len(rows) and np.ptp(rows) > 0.25 * len(image):
            grid = [(x, y) for x in (columns.min(), columns.mean(), columns.max()) for y in (rows.min(), rows.mean(), rows.max())]
            points = np.zeros((25, 3), np.float32)
            points[:9, :2], points[:9, 2] = grid, 1
            best.append(Subject(box_of_points(points[:9]), points))
    return sorted(best, key=lambda person: -person.size)[:1]


def centres(persons: list[Subject]) -> list[tuple[int, int]]:
    return sorted((round(float(person.centre[0])), round(float(person.centre[1]))) for person in persons)


def near(found: list[tuple[int, int]], expected: list[tuple[int, int]]) -> bool:
    return len(found) == len(expected) and bool(np.abs(np.subtract(found, sorted(expected))).max() <= 3)


def test_everybody_is_found_in_the_first_frame_and_followed() -> None:
    detect = Crowd(short_sighted, lambda: short_sighted)
    for t in range(12):
        places = [(80 + 4 * t, 100), (300, 250 - 2 * t), (560 - 5 * t, 120)]
        assert near(centres(detect(scene(*places))), places), f"frame {t}"


def test_one_who_comes_later_is_found_within_a_round_of_tiles() -> None:
    detect = Crowd(short_sighted, lambda: short_sighted)
    detect(scene((80, 100)))
    rounds = len(tiles(640, 360)) // TILES_PER_FRAME + 1
    seen = [len(detect(scene((80, 100), (500, 200)))) for _ in range(rounds)]
    assert seen[-1] == 2


def test_one_who_leaves_is_given_up_and_his_estimator_used_again() -> None:
    opened = []

    def open_follower():
        opened.append(1)
        return short_sighted

    detect = Crowd(short_sighted, open_follower)
    detect(scene((80, 100), (500, 200)))
    assert [len(detect(scene((80, 100)))) for _ in range(20)] == [1] * 20
    for _ in range(20):
        persons = detect(scene((80, 100), (300, 200)))
    assert len(persons) == 2 and len(opened) <= 3


def test_nobody() -> None:
    detect = Crowd(short_sighted, lambda: short_sighted)
    assert [detect(scene()) for _ in range(3)] == [[], [], []]


def test_tiles_cover_the_picture_with_overlap() -> None:
    covered = np.zeros((720, 1280), int)
    for x, y, width, height in tiles(1280, 720):
        covered[y : y + height, x : x + width] += 1
        assert x >= 0 and y >= 0 and x + width <= 1280 and y + height <= 720
    assert covered.min() >= 3


def test_after_a_cut_everybody_is_searched_at_once() -> None:
    detect = Crowd(short_sighted, lambda: short_sighted)
    for _ in range(3):
        detect(255 - scene((80, 100)))
    places = [(100, 120), (300, 200), (560, 140)]
    assert near(centres(detect(scene(*places))), places)

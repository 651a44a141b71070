"""Tracking of the people or faces of a crowd (at most MAX_PERSONS), with a detector that finds only the most prominent one of an image.

The first frame of a shot is searched in overlapping tiles of several sizes. In each later frame the next four tiles are searched, in
rotation. In all frames each known person is followed in a separate window that moves and scales with the person, so that the detector
sees no one else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.tables.skeletons import boxes_of
from stages.tracking.cuts import CutDetector
from stages.tracking.tracker import Detector, Subject, point_distance
from stages.tracking.windows import cut_window

TILES_PER_FRAME = 4
"""Number of tiles that are searched in each frame; in the first frame of a shot all are searched."""
MAX_PERSONS = 10
PERSON_TILES, FACE_TILES = (1.0, 0.7, 0.5), (1.0, 0.5, 0.3)
"""Sides of the tiles, as shares of the shorter side of the image."""
TILE_STEP = 0.5
"""Largest distance between neighbouring tiles, in units of their side."""
MIN_TILE = 96
WINDOW_SCALE = 2.5
"""Side of a person's window, as a multiple of the longer side of the box."""
WINDOW_SIDE = 320
"""Side in pixels to which a window is scaled for the detector."""
MAX_LOST_FRAMES = 15
"""Number of frames for which a lost person is searched for at the last position."""
MAX_MOTION = 0.6
"""A detection whose `point_distance` from the last one is larger is another person."""
DUPLICATE_DISTANCE = 0.3
"""Two detections whose `point_distance` is smaller are the same person."""
MIN_POINTS = 8
"""Smallest number of points of a detection that starts a track."""

CONFIRMATION_DISTANCE = 0.7
"""Largest `point_distance` between the detection in a tile and that in the person's window."""
CONFIRMATIONS = 2
"""Number of detections in the window before a track starts."""

Area = tuple[int, int, int, int]
"""x, y, width and height in pixels."""


@dataclass
class _TrackedPerson:
    """follower: the detector for the person's window; velocity: in pixels per frame; missing: frames since the last detection."""

    subject: Subject
    follower: Detector
    velocity: NDArray[np.float32]
    missing: int = 0


class CrowdDetector:
    """A detector: frame, uint8 RGB [H, W, 3] -> all persons in it. It is called with the frames of one clip in order.

    search: finds persons in any image. open_follower: makes a detector for the windows of one person, which may track from window to
    window. tile_shares: sides of the tiles, as shares of the shorter side of the image.
    """

    def __init__(self, search: Detector, open_follower: Callable[[], Detector], tile_shares: tuple[float, ...] = PERSON_TILES) -> None:
        self._search, self._open_follower, self._tile_shares = search, open_follower, tile_shares
        self._tracked: list[_TrackedPerson] = []
        self._idle_followers: list[Detector] = []
        self._next_tiles: Iterator[Area] | None = None
        self._is_cut = CutDetector()

    def __call__(self, frame: NDArray[np.uint8]) -> list[Subject]:
        if self._is_cut(frame):
            self._idle_followers += [tracked.follower for tracked in self._tracked]
            self._tracked, self._next_tiles = [], None
        for tracked in self._tracked:
            self._follow(tracked, frame)
        self._drop_lost()
        self._find_new_people(frame)
        return [tracked.subject for tracked in self._tracked if not tracked.missing]

    def _follow(self, tracked: _TrackedPerson, frame: NDArray[np.uint8]) -> None:
        found = _detect_in_window(frame, tracked.subject, tracked.velocity, tracked.follower)
        if found is None or point_distance(found, tracked.subject) > MAX_MOTION:
            tracked.missing += 1
            tracked.velocity *= 0
            return
        if not tracked.missing:
            tracked.velocity = (0.5 * tracked.velocity + 0.5 * (found.centre - tracked.subject.centre)).astype(np.float32)
        tracked.subject, tracked.missing = found, 0

    def _drop_lost(self) -> None:
        """Drop people who have been lost for too long. If two windows show the same person, drop one of them."""
        kept: list[_TrackedPerson] = []
        for tracked in sorted(self._tracked, key=lambda tracked: (tracked.missing > 0, -_total_confidence(tracked.subject))):
            if tracked.missing <= MAX_LOST_FRAMES and not _is_among(tracked.subject, [other.subject for other in kept]):
                kept.append(tracked)
            else:
                self._idle_followers.append(tracked.follower)
        self._tracked = kept

    def _find_new_people(self, frame: NDArray[np.uint8]) -> None:
        """Search tiles for people who are not tracked yet, and start their tracks, large people first."""
        areas = tiles(frame.shape[1], frame.shape[0], self._tile_shares)
        if self._next_tiles is None:
            self._next_tiles = itertools.cycle(areas)
        else:
            areas = list(itertools.islice(self._next_tiles, TILES_PER_FRAME))
        found: list[Subject] = []
        for x, y, width, height in areas:
            tile = np.ascontiguousarray(frame[y : y + height, x : x + width])
            found += [_scale_and_shift(person, x, y) for person in self._search(tile) if (person.points[:, 2] > 0).sum() >= MIN_POINTS]
        for person in sorted(found, key=lambda person: -_total_confidence(person) * person.size):
            if len(self._tracked) < MAX_PERSONS and not _is_among(person, self._subjects()):
                self._start_track(person, frame)

    def _start_track(self, person: Subject, frame: NDArray[np.uint8]) -> None:
        follower = self._idle_followers.pop() if self._idle_followers else self._open_follower()
        follower(np.zeros((WINDOW_SIDE, WINDOW_SIDE, 3), np.uint8))  # an empty image resets the detector
        found: Subject | None = person
        for _ in range(CONFIRMATIONS):
            found = found and _detect_in_window(frame, found, np.zeros(2, np.float32), follower)
        if found is not None and point_distance(found, person) < CONFIRMATION_DISTANCE and not _is_among(found, self._subjects()):
            self._tracked.append(_TrackedPerson(found, follower, np.zeros(2, np.float32)))
        else:
            self._idle_followers.append(follower)

    def _subjects(self) -> list[Subject]:
        return [tracked.subject for tracked in self._tracked]


def tiles(width: int, height: int, shares: tuple[float, ...] = PERSON_TILES) -> list[Area]:
    """The areas to search in an image of this size: the whole image, and squares that overlap by at least a half."""
    areas: list[Area] = [(0, 0, width, height)]
    for share in shares:
        side = int(share * min(width, height))
        if side >= MIN_TILE:
            columns, rows = (_tile_offsets(length, side) for length in (width, height))
            areas += [(x, y, side, side) for y in rows for x in columns]
    return areas


def _tile_offsets(length: int, side: int) -> list[int]:
    count = 1 + int(np.ceil((length - side) / (side * TILE_STEP)))
    return [round(start) for start in np.linspace(0, length - side, count).tolist()]


def _detect_in_window(frame: NDArray[np.uint8], person: Subject, velocity: NDArray[np.float32], detect: Detector) -> Subject | None:
    """Run `detect` in a window around the expected position of `person`. Returns the detection nearest to its centre."""
    x0, y0, x1, y1 = map(float, person.box)
    scale = WINDOW_SCALE * max(x1 - x0, y1 - y0, 8.0) / WINDOW_SIDE
    corner = person.centre + velocity - scale * WINDOW_SIDE / 2
    found = detect(cut_window(frame, (float(corner[0]), float(corner[1])), scale, (WINDOW_SIDE, WINDOW_SIDE)))
    if not found:
        return None
    nearest = min(found, key=lambda other: float(np.linalg.norm(other.centre - WINDOW_SIDE / 2)))
    return _drop_outside_points(_scale_and_shift(nearest, float(corner[0]), float(corner[1]), scale), frame.shape[1], frame.shape[0])


def _drop_outside_points(person: Subject, width: int, height: int) -> Subject | None:
    """The person without points outside the image; None when no point is left."""
    points = person.points.copy()
    points[(points[:, :2] < -0.5).any(1) | (points[:, 0] > width - 0.5) | (points[:, 1] > height - 0.5)] = 0
    return Subject(boxes_of(points), points) if points[:, 2].any() else None


def _scale_and_shift(person: Subject, x: float, y: float, scale: float = 1.0) -> Subject:
    points = person.points.copy()
    points[:, :2] = points[:, :2] * scale + np.array([x, y], np.float32)
    points[person.points[:, 2] == 0] = 0
    return Subject(boxes_of(points), points)


def _total_confidence(person: Subject) -> float:
    return float(person.points[:, 2].sum())


def _is_among(person: Subject, others: list[Subject]) -> bool:
    return any(point_distance(person, other) < DUPLICATE_DISTANCE for other in others)

"""Tracking of the people or faces of a crowd (at most MAX_PERSONS), with an estimator that finds only the most prominent one of an image.

The first frame of a shot is searched in overlapping tiles of several sizes. In each later frame the next four tiles are searched, so that
all have their turn. In all frames each known person is followed through a separate window that moves and scales with the person, so that
the estimator sees no one else.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.tables.skeletons import boxes_of
from stages.tracking.cuts import CutDetector
from stages.tracking.tracker import Subject, points_apart
from stages.tracking.windows import cut_window

TILES_PER_FRAME = 4
"""Number of tiles that are searched in each frame; in the first frame of a shot it is all of them."""
MAX_PERSONS = 10
PERSON_TILES, FACE_TILES = (1.0, 0.7, 0.5), (1.0, 0.5, 0.3)
"""Sides of the tiles, as shares of the shorter side of the image."""
STEP = 0.5
"""Largest distance between neighbouring tiles, in units of their side."""
MIN_TILE = 96
WINDOW_SIDE = 2.5
"""Side of a person's window, in units of the longer side of the box."""
CANVAS = 320
"""Side in pixels to which a window is scaled."""
PATIENCE = 15
"""Number of frames for which a lost person is still looked for at the last position."""
MAX_STEP = 0.6
"""A detection farther than this from the last one, in units of the larger one's size, is another person."""
SAME_WITHIN = 0.3
"""Two detections whose points lie nearer than this share of their size are the same person."""
MIN_POINTS = 8
"""Smallest number of points of a detection that starts a track."""

NEAR_WITHIN = 0.7
"""Largest distance between a detection in a tile and the one in the person's window, in units of the larger one's size."""
CONFIRMATIONS = 2
"""Number of detections in the window before a track starts."""

Area = tuple[int, int, int, int]
"""x, y, width and height in pixels."""
Estimator = Callable[[NDArray[np.uint8]], list[Subject]]


@dataclass
class _Known:
    """A person, the estimator that follows it, its velocity in pixels per frame, and the number of frames since the last detection."""

    subject: Subject
    follow: Estimator
    velocity: NDArray[np.float32]
    missing: int = 0


class Crowd:
    """frame, uint8 RGB [H, W, 3] -> all persons in it. Frames of one clip are given in order.

    search: finds persons in any image; open_follower: makes an estimator for the windows of one person; the estimator may track from one
    window to the next. shares: sides of the tiles.
    """

    def __init__(self, search: Estimator, open_follower: Callable[[], Estimator], shares: tuple[float, ...] = PERSON_TILES) -> None:
        self._search, self._open, self._shares = search, open_follower, shares
        self._known: list[_Known] = []
        self._idle: list[Estimator] = []
        self._turn: Iterator[Area] | None = None
        self._is_cut = CutDetector()

    def __call__(self, frame: NDArray[np.uint8]) -> list[Subject]:
        if self._is_cut(frame):
            self._idle += [known.follow for known in self._known]
            self._known, self._turn = [], None
        for known in self._known:
            self._follow(known, frame)
        self._forget()
        self._find(frame)
        return [known.subject for known in self._known if not known.missing]

    def _follow(self, known: _Known, frame: NDArray[np.uint8]) -> None:
        found = _through_window(frame, known.subject, known.velocity, known.follow)
        if found is None or points_apart(found, known.subject) > MAX_STEP:
            known.missing += 1
            known.velocity *= 0
            return
        if not known.missing:
            known.velocity = (0.5 * known.velocity + 0.5 * (found.centre - known.subject.centre)).astype(np.float32)
        known.subject, known.missing = found, 0

    def _forget(self) -> None:
        """Drop people who are lost for too long, and the second of two windows that show the same person."""
        kept: list[_Known] = []
        for known in sorted(self._known, key=lambda known: (known.missing > 0, -_certainty(known.subject))):
            if known.missing <= PATIENCE and not _among(known.subject, [other.subject for other in kept]):
                kept.append(known)
            else:
                self._idle.append(known.follow)
        self._known = kept

    def _find(self, frame: NDArray[np.uint8]) -> None:
        """Start tracks of people who are not known yet, large ones first."""
        areas = tiles(frame.shape[1], frame.shape[0], self._shares)
        if self._turn is None:
            self._turn = itertools.cycle(areas)
        else:
            areas = list(itertools.islice(self._turn, TILES_PER_FRAME))
        found: list[Subject] = []
        for x, y, width, height in areas:
            tile = np.ascontiguousarray(frame[y : y + height, x : x + width])
            found += [_moved(person, x, y) for person in self._search(tile) if (person.points[:, 2] > 0).sum() >= MIN_POINTS]
        for person in sorted(found, key=lambda person: -_certainty(person) * person.size):
            if len(self._known) < MAX_PERSONS and not _among(person, self._subjects()):
                self._begin(person, frame)

    def _begin(self, person: Subject, frame: NDArray[np.uint8]) -> None:
        follower = self._idle.pop() if self._idle else self._open()
        follower(np.zeros((CANVAS, CANVAS, 3), np.uint8))  # an empty image makes it forget the person before
        seen: Subject | None = person
        for _ in range(CONFIRMATIONS):
            seen = seen and _through_window(frame, seen, np.zeros(2, np.float32), follower)
        if seen is not None and points_apart(seen, person) < NEAR_WITHIN and not _among(seen, self._subjects()):
            self._known.append(_Known(seen, follower, np.zeros(2, np.float32)))
        else:
            self._idle.append(follower)

    def _subjects(self) -> list[Subject]:
        return [known.subject for known in self._known]


def tiles(width: int, height: int, shares: tuple[float, ...] = PERSON_TILES) -> list[Area]:
    """The whole image, and squares that overlap by a half."""
    areas: list[Area] = [(0, 0, width, height)]
    for share in shares:
        side = int(share * min(width, height))
        if side >= MIN_TILE:
            columns, rows = (_starts(length, side) for length in (width, height))
            areas += [(x, y, side, side) for y in rows for x in columns]
    return areas


def _starts(length: int, side: int) -> list[int]:
    count = 1 + int(np.ceil((length - side) / (side * STEP)))
    return [round(start) for start in np.linspace(0, length - side, count).tolist()]


def _through_window(frame: NDArray[np.uint8], person: Subject, velocity: NDArray[np.float32], estimate: Estimator) -> Subject | None:
    """The detection of `estimate` nearest to the middle of the window around the expected position of `person`."""
    x0, y0, x1, y1 = map(float, person.box)
    scale = WINDOW_SIDE * max(x1 - x0, y1 - y0, 8.0) / CANVAS
    corner = person.centre + velocity - scale * CANVAS / 2
    found = estimate(cut_window(frame, (float(corner[0]), float(corner[1])), scale, (CANVAS, CANVAS)))
    if not found:
        return None
    nearest = min(found, key=lambda other: float(np.linalg.norm(other.centre - CANVAS / 2)))
    return _inside(_moved(nearest, float(corner[0]), float(corner[1]), scale), frame.shape[1], frame.shape[0])


def _inside(person: Subject, width: int, height: int) -> Subject | None:
    """The person without points outside the image; None when no point is left."""
    points = person.points.copy()
    points[(points[:, :2] < -0.5).any(1) | (points[:, 0] > width - 0.5) | (points[:, 1] > height - 0.5)] = 0
    return Subject(boxes_of(points), points) if points[:, 2].any() else None


def _moved(person: Subject, x: float, y: float, scale: float = 1.0) -> Subject:
    points = person.points.copy()
    points[:, :2] = points[:, :2] * scale + np.array([x, y], np.float32)
    points[person.points[:, 2] == 0] = 0
    return Subject(boxes_of(points), points)


def _certainty(person: Subject) -> float:
    return float(person.points[:, 2].sum())


def _among(person: Subject, others: list[Subject]) -> bool:
    return any(points_apart(person, other) < SAME_WITHIN for other in others)

"""Tracking: the identities of faces or people from frame to frame, and the choice of one of them.

A subject is a face or a person: a box and its points.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.compute.streaming import beside
from stages.errors import UsageError
from stages.tracking.cuts import CutDetector
from stages.tracking.smoothing import Tracked

GAP_SECONDS = 1.0
"""Time to wait for a lost subject before another one is chosen."""
CHOICE_SECONDS = 0.5
"""A choice between several subjects looks this far ahead."""
MAX_SLOTS = 16
SAME_FROM_OVERLAP = 0.6
SAME_WITHIN = 0.3
_IMPOSSIBLE = 1e6

Load = TypeVar("Load")


@dataclass(frozen=True)
class Subject:
    """One face or person in one frame.

    box: [4] float32, x0, y0, x1, y1 in pixels; points: [N, 3] float32, x, y in pixels (pixel centres at integers) and a confidence in
    [0, 1].
    """

    box: NDArray[np.float32]
    points: NDArray[np.float32]

    @property
    def size(self) -> float:
        """Side of the square of the same area as the box, in pixels."""
        width, height = self.box[2:] - self.box[:2]
        return float(np.sqrt(max(width, 0.0) * max(height, 0.0)))

    @property
    def centre(self) -> NDArray[np.float32]:
        """Middle of the box, [2]."""
        return np.asarray(self.box.reshape(2, 2).mean(axis=0, dtype=np.float32))


Detector = Callable[[NDArray[np.uint8]], list[Subject]]
"""frame, uint8 RGB [H, W, 3] -> its faces or people. Frames of one clip are given in order: a detector may track between them."""


def box_of_points(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """The tight box [4] around points [N, >=2]; zeros around none."""
    if not len(points):
        return np.zeros(4, np.float32)
    return np.concatenate([points[:, :2].min(axis=0), points[:, :2].max(axis=0)]).astype(np.float32)


def points_apart(one: Subject, other: Subject) -> float:
    """Mean distance of the points that both have, in units of the larger one's size; infinite when they share none."""
    shared = (one.points[:, 2] > 0) & (other.points[:, 2] > 0)
    if not shared.any():
        return math.inf
    distance = np.linalg.norm(one.points[shared, :2] - other.points[shared, :2], axis=1).mean()
    return float(distance) / max(one.size, other.size, 1.0)


@dataclass(frozen=True)
class Seen(Generic[Load]):
    """The detections in one frame; `cut` is True for the first frame of another shot."""

    subjects: list[Subject]
    cut: bool
    load: Load


@dataclass
class _Track:
    """A track, a subject followed over frames: its identity, last detection, number of frames since, and velocity in pixels per frame."""

    identity: int
    subject: Subject
    missing: int = 0
    velocity: NDArray[np.float32] = field(default_factory=lambda: np.zeros(2, np.float32))

    def expected(self) -> Subject:
        """Its expected position at constant velocity."""
        step = self.velocity * (self.missing + 1)
        points = self.subject.points + np.append(step, 0).astype(np.float32) * (self.subject.points[:, 2:] > 0)
        return Subject(self.subject.box + np.tile(step, 2), points)

    def seen_again(self, subject: Subject) -> None:
        """Update by a detection.

        The velocity is that of the mean of the shared points, since boxes change with occlusion; it is averaged.
        """
        shared = (subject.points[:, 2] > 0) & (self.subject.points[:, 2] > 0)
        if shared.any():
            step = (subject.points[shared, :2] - self.subject.points[shared, :2]).mean(0) / (self.missing + 1)
            self.velocity = (0.6 * self.velocity + 0.4 * step).astype(np.float32)
        self.subject, self.missing = subject, 0


def watch(frames: Iterable[tuple[NDArray[np.uint8], Load]], detect: Callable[[NDArray[np.uint8]], list[Subject]]) -> Iterator[Seen[Load]]:
    """The detections of `detect` for each (frame, payload); frame: uint8 [H, W, 3]. It runs in a thread beside the caller."""
    is_cut = CutDetector()
    marked = ((frame, is_cut(frame), load) for frame, load in frames)
    for (_, cut, load), subjects in beside(lambda item: detect(item[0]), marked):
        yield Seen(subjects, cut, load)


def parse_choice(choice: str | int) -> str | int:
    """largest | center | all | N, with N as text or number. Raises UsageError for anything else."""
    if isinstance(choice, str) and choice.isdecimal():
        return int(choice)
    if choice in ("largest", "center", "all") or (isinstance(choice, int) and choice >= 0):
        return choice
    raise UsageError(f"{choice!r} is not a choice of subjects", hint="Use largest, center, all, or a number: 0 is the leftmost")


def follow(frames: Iterable[Seen[Load]], choice: str | int, count: int, fps: float, width: int, height: int) -> Iterator[Tracked[Load]]:
    """The chosen subject of each frame, points [1, count, 3]; for "all" each subject in its own slot, points [P, count, 3].

    largest, center: decided over half a second at the start, after a cut, and when the chosen subject was lost for a second. N: the N-th
    from the left in the first frame of a shot with more than N subjects. Frames without the chosen subject have identity -1 and zeros.
    """
    choice = parse_choice(choice)
    identified = _identified(frames, fps)
    if choice == "all":
        yield from _all_slots(identified, count)
    else:
        yield from _one(identified, choice, count, fps, (width, height))


def _one(frames: Iterator[_Frame[Load]], choice: str | int, count: int, fps: float, image: tuple[int, int]) -> Iterator[Tracked[Load]]:
    ahead: deque[_Frame[Load]] = deque()
    reach = 1 + math.ceil(CHOICE_SECONDS * fps)
    chosen, gone = -1, 0
    while True:
        ahead.extend(itertools.islice(frames, reach - len(ahead)))
        if not ahead:
            return
        frame = ahead.popleft()
        gone += 1
        if frame.cut or gone > GAP_SECONDS * fps:
            chosen = -1
        if chosen < 0 and frame.subjects:
            chosen, gone = _choose([frame, *itertools.takewhile(lambda later: not later.cut, ahead)], choice, image), 0
        if chosen in frame.subjects:
            gone = 0
            yield Tracked(frame.subjects[chosen].points[None], np.array([chosen]), frame.load)
        else:
            yield Tracked(np.zeros((1, count, 3), np.float32), np.array([-1]), frame.load)


@dataclass(frozen=True)
class _Frame(Generic[Load]):
    """The subjects of a frame by identity, and the identities of all open tracks."""

    subjects: dict[int, Subject]
    identities: frozenset[int]
    cut: bool
    load: Load


def _choose(frames: list[_Frame[Load]], choice: str | int, image: tuple[int, int]) -> int:
    """The identity of the chosen subject; -1 where the first of `frames` has no N-th."""
    if isinstance(choice, int):
        candidates = frames[0].subjects
        order = sorted(candidates, key=lambda identity: float(candidates[identity].centre[0]))
        return order[choice] if choice < len(order) else -1
    weights: dict[int, float] = {}
    for frame in frames:
        for identity, subject in frame.subjects.items():
            weights[identity] = weights.get(identity, 0.0) + _weight(subject, choice, image)
    return max(weights, key=lambda identity: weights[identity])


def _weight(subject: Subject, choice: str, image: tuple[int, int]) -> float:
    if choice == "largest":
        return subject.size**2
    size = np.array(image)
    return float(np.exp(-8 * ((subject.centre - (size - 1) / 2) ** 2).sum() / (size**2).sum()))


def _all_slots(frames: Iterator[_Frame[Load]], count: int) -> Iterator[Tracked[Load]]:
    """Each identity keeps the first slot that was free when it appeared; the number of slots only grows."""
    slots: list[int] = []
    for frame in frames:
        for identity in frame.subjects:
            if identity not in slots:
                free = next((slot for slot, held in enumerate(slots) if held not in frame.identities), len(slots))
                slots[free : free + 1] = [identity]
        del slots[MAX_SLOTS:]
        points = np.zeros((max(len(slots), 1), count, 3), np.float32)
        identities = np.full(len(points), -1)
        for slot, identity in enumerate(slots):
            if identity in frame.subjects:
                points[slot], identities[slot] = frame.subjects[identity].points, identity
        yield Tracked(points, identities, frame.load)


def _identified(frames: Iterable[Seen[Load]], fps: float) -> Iterator[_Frame[Load]]:
    """Give every subject an identity that lasts over short gaps."""
    tracks: list[_Track] = []
    fresh = itertools.count()
    for frame in frames:
        tracks = [] if frame.cut else [track for track in tracks if track.missing <= GAP_SECONDS * fps]
        subjects = _distinct(frame.subjects)
        matches = _match(tracks, subjects)
        again = {track.identity for track in matches.values()}
        for track in tracks:
            track.missing += track.identity not in again
        named: dict[int, Subject] = {}
        for index, subject in enumerate(subjects):
            if index in matches:
                matches[index].seen_again(subject)
                named[matches[index].identity] = subject
            else:
                tracks.append(_Track(next(fresh), subject))
                named[tracks[-1].identity] = subject
        yield _Frame(named, frozenset(track.identity for track in tracks), frame.cut, frame.load)


def _match(tracks: list[_Track], subjects: list[Subject]) -> dict[int, _Track]:
    """Index of a subject -> its track: the assignment of least total cost (Hungarian method) among possible pairs.

    The cost is the distance of the points from their expected positions, in units of the size, and the lack of overlap of the boxes.
    """
    if not tracks or not subjects:
        return {}
    from scipy.optimize import linear_sum_assignment  # half a second to import, and not needed for --help

    expected = [track.expected() for track in tracks]
    apart = _points_apart(expected, subjects)
    sizes = np.array([[max(one.size, other.size, 1.0) for other in subjects] for one in expected])
    centres = np.linalg.norm([[one.centre - other.centre for other in subjects] for one in expected], axis=2) / sizes
    grown = np.abs(np.log([[(other.size + 1) / (one.size + 1) for other in subjects] for one in expected]))
    overlaps = np.array([[_overlap(one, other) for other in subjects] for one in expected])
    reach = np.array([0.6 + 0.05 * track.missing for track in tracks])[:, None]
    possible = (centres < reach) & (grown < 0.7)
    cost = np.where(possible, np.minimum(apart, 2 * reach) + grown + 0.5 * (1 - overlaps), _IMPOSSIBLE)
    rows, columns = linear_sum_assignment(cost)
    return {int(column): tracks[row] for row, column in zip(rows, columns, strict=True) if possible[row, column]}


def _points_apart(ones: list[Subject], others: list[Subject]) -> NDArray[np.float64]:
    """`points_apart` of all pairs, [len(ones), len(others)]."""
    a, b = (np.stack([subject.points for subject in subjects]).astype(np.float64) for subjects in (ones, others))
    shared = (a[:, None, :, 2] > 0) & (b[None, :, :, 2] > 0)
    distance = np.where(shared, np.linalg.norm(a[:, None, :, :2] - b[None, :, :, :2], axis=-1), 0).sum(-1)
    count = shared.sum(-1)
    sizes = np.maximum([[max(one.size, other.size) for other in others] for one in ones], 1.0)
    return np.where(count > 0, distance / np.maximum(count, 1) / sizes, np.inf)


def _distinct(subjects: list[Subject]) -> list[Subject]:
    """The subjects, largest first, without duplicates, since detectors sometimes report a subject twice.

    The boxes of two people, one in front of the other, may overlap as much, but their points lie in different places.
    """
    kept: list[Subject] = []
    for subject in sorted(subjects, key=lambda subject: -subject.size):
        if all(_overlap(subject, other) < SAME_FROM_OVERLAP or points_apart(subject, other) > SAME_WITHIN for other in kept):
            kept.append(subject)
    return kept


def _overlap(one: Subject, other: Subject) -> float:
    """Intersection of the boxes over their union."""
    sides = np.minimum(one.box[2:], other.box[2:]) - np.maximum(one.box[:2], other.box[:2])
    shared = float(np.prod(np.maximum(sides, 0)))
    return shared / max(one.size**2 + other.size**2 - shared, 1e-6)

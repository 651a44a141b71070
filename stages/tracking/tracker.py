"""Tracking of faces or people: their identities from frame to frame, and the choice of one of them.

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

from stages.compute.streaming import map_in_thread
from stages.errors import UsageError
from stages.tracking.cuts import CutDetector
from stages.tracking.smoothing import TrackedFrame

GAP_SECONDS = 1.0
"""Time after which a lost track ends, and another subject is chosen in place of a lost one."""
CHOICE_SECONDS = 0.5
"""A choice between several subjects looks this far ahead."""
MAX_SLOTS = 16
DUPLICATE_OVERLAP, DUPLICATE_DISTANCE = 0.6, 0.3
"""Two detections with at least this overlap of boxes and at most this `point_distance` are the same subject."""
_IMPOSSIBLE_COST = 1e6

Payload = TypeVar("Payload")


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


def point_distance(first: Subject, second: Subject) -> float:
    """Mean distance of the points that both subjects have, divided by the larger size; infinite when they have none in common."""
    shared = (first.points[:, 2] > 0) & (second.points[:, 2] > 0)
    if not shared.any():
        return math.inf
    mean_distance = np.linalg.norm(first.points[shared, :2] - second.points[shared, :2], axis=1).mean()
    return float(mean_distance) / max(first.size, second.size, 1.0)


@dataclass(frozen=True)
class Detections(Generic[Payload]):
    """The detections in one frame. cut: whether the frame begins another shot. payload: passed through."""

    subjects: list[Subject]
    cut: bool
    payload: Payload


@dataclass
class _Track:
    """A subject over time. subject: its last detection; missing: frames since then; velocity: pixels per frame, [2]."""

    identity: int
    subject: Subject
    missing: int = 0
    velocity: NDArray[np.float32] = field(default_factory=lambda: np.zeros(2, np.float32))

    def predict(self) -> Subject:
        """The subject in the next frame, at constant velocity."""
        step = self.velocity * (self.missing + 1)
        points = self.subject.points + np.append(step, 0).astype(np.float32) * (self.subject.points[:, 2:] > 0)
        return Subject(self.subject.box + np.tile(step, 2), points)

    def update(self, subject: Subject) -> None:
        """Update the track with a detection.

        The velocity is a running mean of the motion of the points in both detections. The motion of the box would change with occlusion.
        """
        shared = (subject.points[:, 2] > 0) & (self.subject.points[:, 2] > 0)
        if shared.any():
            step = (subject.points[shared, :2] - self.subject.points[shared, :2]).mean(0) / (self.missing + 1)
            self.velocity = (0.6 * self.velocity + 0.4 * step).astype(np.float32)
        self.subject, self.missing = subject, 0


def detect_in_frames(frames: Iterable[tuple[NDArray[np.uint8], Payload]], detect: Detector) -> Iterator[Detections[Payload]]:
    """Run `detect` on each frame (uint8 [H, W, 3]) of the pairs (frame, payload), in a thread ahead of the caller."""
    is_cut = CutDetector()
    frames_and_cuts = ((frame, is_cut(frame), payload) for frame, payload in frames)
    for (_, cut, payload), subjects in map_in_thread(lambda item: detect(item[0]), frames_and_cuts):
        yield Detections(subjects, cut, payload)


def parse_choice(choice: str | int) -> str | int:
    """The choice "largest", "center", "all", or a number N, which may be text. Raises UsageError for anything else."""
    if isinstance(choice, str) and choice.isdecimal():
        return int(choice)
    if choice in ("largest", "center", "all") or (isinstance(choice, int) and choice >= 0):
        return choice
    raise UsageError(f"{choice!r} is not a choice of subjects", hint="Use largest, center, all, or a number: 0 is the leftmost")


def follow(
    frames: Iterable[Detections[Payload]], choice: str | int, count: int, fps: float, width: int, height: int
) -> Iterator[TrackedFrame[Payload]]:
    """The chosen subject of each frame as points [1, count, 3]; for "all" each subject in a slot of its own, points [P, count, 3].

    A subject is chosen at the start, after a cut, and after the chosen one was lost for a second. largest, center: chosen over half a
    second. N: the N-th from the left (0 is the leftmost) in the next frame that has more than N subjects. In frames without the chosen
    subject, identity is -1 and points are zero.
    """
    choice = parse_choice(choice)
    frames_with_identities = _assign_identities(frames, fps)
    if choice == "all":
        yield from _follow_all(frames_with_identities, count)
    else:
        yield from _follow_one(frames_with_identities, choice, count, fps, (width, height))


def _follow_one(
    frames: Iterator[_Frame[Payload]], choice: str | int, count: int, fps: float, image_size: tuple[int, int]
) -> Iterator[TrackedFrame[Payload]]:
    buffer: deque[_Frame[Payload]] = deque()
    lookahead = 1 + math.ceil(CHOICE_SECONDS * fps)
    chosen, frames_lost = -1, 0
    while True:
        buffer.extend(itertools.islice(frames, lookahead - len(buffer)))
        if not buffer:
            return
        frame = buffer.popleft()
        frames_lost += 1
        if frame.cut or frames_lost > GAP_SECONDS * fps:
            chosen = -1
        if chosen < 0 and frame.subjects:
            same_shot = [frame, *itertools.takewhile(lambda later: not later.cut, buffer)]
            chosen, frames_lost = _choose_identity(same_shot, choice, image_size), 0
        if chosen in frame.subjects:
            frames_lost = 0
            yield TrackedFrame(frame.subjects[chosen].points[None], np.array([chosen]), frame.payload)
        else:
            yield TrackedFrame(np.zeros((1, count, 3), np.float32), np.array([-1]), frame.payload)


@dataclass(frozen=True)
class _Frame(Generic[Payload]):
    """The subjects of a frame by identity, and the identities of all tracks that have not ended."""

    subjects: dict[int, Subject]
    identities: frozenset[int]
    cut: bool
    payload: Payload


def _choose_identity(frames: list[_Frame[Payload]], choice: str | int, image_size: tuple[int, int]) -> int:
    """The identity of the chosen subject; -1 if the choice is N and the first of `frames` has no N-th subject."""
    if isinstance(choice, int):
        candidates = frames[0].subjects
        order = sorted(candidates, key=lambda identity: float(candidates[identity].centre[0]))
        return order[choice] if choice < len(order) else -1
    total_weights: dict[int, float] = {}
    for frame in frames:
        for identity, subject in frame.subjects.items():
            total_weights[identity] = total_weights.get(identity, 0.0) + _choice_weight(subject, choice, image_size)
    return max(total_weights, key=lambda identity: total_weights[identity])


def _choice_weight(subject: Subject, choice: str, image_size: tuple[int, int]) -> float:
    if choice == "largest":
        return subject.size**2
    size = np.array(image_size)
    return float(np.exp(-8 * ((subject.centre - (size - 1) / 2) ** 2).sum() / (size**2).sum()))


def _follow_all(frames: Iterator[_Frame[Payload]], count: int) -> Iterator[TrackedFrame[Payload]]:
    """Give each identity the first slot that is free when it appears. The number of slots only grows, to at most MAX_SLOTS."""
    slots: list[int] = []
    for frame in frames:
        for identity in frame.subjects:
            if identity not in slots:
                free = next((slot for slot, occupant in enumerate(slots) if occupant not in frame.identities), len(slots))
                slots[free : free + 1] = [identity]
        del slots[MAX_SLOTS:]
        points = np.zeros((max(len(slots), 1), count, 3), np.float32)
        identities = np.full(len(points), -1)
        for slot, identity in enumerate(slots):
            if identity in frame.subjects:
                points[slot], identities[slot] = frame.subjects[identity].points, identity
        yield TrackedFrame(points, identities, frame.payload)


def _assign_identities(frames: Iterable[Detections[Payload]], fps: float) -> Iterator[_Frame[Payload]]:
    """Give every subject an identity, which it keeps across gaps of up to GAP_SECONDS."""
    tracks: list[_Track] = []
    new_identities = itertools.count()
    for frame in frames:
        tracks = [] if frame.cut else [track for track in tracks if track.missing <= GAP_SECONDS * fps]
        subjects = _remove_duplicates(frame.subjects)
        matches = _match_tracks(tracks, subjects)
        matched = {track.identity for track in matches.values()}
        for track in tracks:
            track.missing += track.identity not in matched
        by_identity: dict[int, Subject] = {}
        for index, subject in enumerate(subjects):
            if index in matches:
                matches[index].update(subject)
                by_identity[matches[index].identity] = subject
            else:
                tracks.append(_Track(next(new_identities), subject))
                by_identity[tracks[-1].identity] = subject
        yield _Frame(by_identity, frozenset(track.identity for track in tracks), frame.cut, frame.payload)


def _match_tracks(tracks: list[_Track], subjects: list[Subject]) -> dict[int, _Track]:
    """Index of a subject -> its track: the assignment of possible pairs with the least total cost (Hungarian method).

    The cost is the distance of the points from the prediction, plus the change of size, plus 0.5 (1 - IoU of the boxes).
    """
    if not tracks or not subjects:
        return {}
    from scipy.optimize import linear_sum_assignment  # its import takes half a second

    predicted = [track.predict() for track in tracks]
    distances = _point_distances(predicted, subjects)
    sizes = np.array([[max(prediction.size, subject.size, 1.0) for subject in subjects] for prediction in predicted])
    centres = np.linalg.norm([[prediction.centre - subject.centre for subject in subjects] for prediction in predicted], axis=2) / sizes
    size_changes = np.abs(np.log([[(subject.size + 1) / (prediction.size + 1) for subject in subjects] for prediction in predicted]))
    overlaps = np.array([[_overlap(prediction, subject) for subject in subjects] for prediction in predicted])
    max_distance = np.array([0.6 + 0.05 * track.missing for track in tracks])[:, None]
    possible = (centres < max_distance) & (size_changes < 0.7)
    cost = np.where(possible, np.minimum(distances, 2 * max_distance) + size_changes + 0.5 * (1 - overlaps), _IMPOSSIBLE_COST)
    rows, columns = linear_sum_assignment(cost)
    return {int(column): tracks[row] for row, column in zip(rows, columns, strict=True) if possible[row, column]}


def _point_distances(first: list[Subject], second: list[Subject]) -> NDArray[np.float64]:
    """`point_distance` of all pairs, [len(first), len(second)]."""
    a, b = (np.stack([subject.points for subject in subjects]).astype(np.float64) for subjects in (first, second))
    shared = (a[:, None, :, 2] > 0) & (b[None, :, :, 2] > 0)
    distance = np.where(shared, np.linalg.norm(a[:, None, :, :2] - b[None, :, :, :2], axis=-1), 0).sum(-1)
    count = shared.sum(-1)
    sizes = np.maximum([[max(x.size, y.size) for y in second] for x in first], 1.0)
    return np.where(count > 0, distance / np.maximum(count, 1) / sizes, np.inf)


def _remove_duplicates(subjects: list[Subject]) -> list[Subject]:
    """The subjects, largest first, without those that the detector has reported twice.

    The boxes of two people, one in front of the other, may overlap as much, but not their points.
    """
    kept: list[Subject] = []
    for subject in sorted(subjects, key=lambda subject: -subject.size):
        if all(_overlap(subject, other) < DUPLICATE_OVERLAP or point_distance(subject, other) > DUPLICATE_DISTANCE for other in kept):
            kept.append(subject)
    return kept


def _overlap(first: Subject, second: Subject) -> float:
    """Intersection over union (IoU) of the boxes."""
    intersection_sides = np.minimum(first.box[2:], second.box[2:]) - np.maximum(first.box[:2], second.box[:2])
    intersection = float(np.prod(np.maximum(intersection_sides, 0)))
    return intersection / max(first.size**2 + second.size**2 - intersection, 1e-6)

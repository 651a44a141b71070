"""Which of the faces in a frame is meant, and that it stays the same one from frame to frame."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.errors import UsageProblem
from stages.extract_sketch.faces import Face
from stages.smoothing import Tracked

GAP_SECONDS = 1.0
"""A face that was lost is waited for this long before another one is chosen."""
CHOICE_SECONDS = 0.5
"""A choice between faces looks this far ahead."""
MOST_SLOTS = 8

Load = TypeVar("Load")


@dataclass(frozen=True)
class Seen(Generic[Load]):
    """What a detector saw in one frame; `cut` is True for the first frame of another shot."""

    faces: list[Face]
    cut: bool
    load: Load


@dataclass
class _Known:
    """A face that was seen before: who it is, where it was, and since how many frames it is missing."""

    identity: int
    face: Face
    missing: int = 0
    weight: float = field(default=0.0, compare=False)


def parse_choice(face: str | int) -> str | int:
    """largest | center | all | N, with N as text or number. Raises UsageProblem for anything else."""
    if isinstance(face, str) and face.isdigit():
        return int(face)
    if face in ("largest", "center", "all") or (isinstance(face, int) and face >= 0):
        return face
    raise UsageProblem(f"There is no face {face!r}", hint="Choose largest, center, all, or a number: 0 is the leftmost face")


def follow(frames: Iterable[Seen[Load]], face: str | int, fps: float, width: int, height: int) -> Iterator[Tracked[Load]]:
    """The chosen face of each frame, points [1, 68, 3], or for "all" every face in its own slot, points [P, 68, 3].

    largest, center: whichever is so on the whole over the next half second when the choice is made: at the start, after a cut, and when
    the one before was gone for a second. N: the N-th from the left in the first frame of a shot that shows more than N faces. Frames
    without the chosen face have identity -1 and zeros.
    """
    choice = parse_choice(face)
    identified = _identified(frames, fps)
    if choice == "all":
        yield from _all_slots(identified)
    else:
        yield from _one(identified, choice, fps, width, height)


def _one(frames: Iterator[_Frame[Load]], choice: str | int, fps: float, width: int, height: int) -> Iterator[Tracked[Load]]:
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
        if chosen < 0 and frame.faces:
            chosen = _choose([frame, *itertools.takewhile(lambda later: not later.cut, ahead)], choice, width, height)
        if chosen in frame.faces:
            gone = 0
            yield Tracked(frame.faces[chosen].points[None], np.array([chosen]), frame.load)
        else:
            yield Tracked(np.zeros((1, 68, 3), np.float32), np.array([-1]), frame.load)


@dataclass(frozen=True)
class _Frame(Generic[Load]):
    faces: dict[int, Face]
    cut: bool
    load: Load


def _choose(frames: list[_Frame[Load]], choice: str | int, width: int, height: int) -> int:
    """The identity of the chosen face among those in the first of `frames`, or -1 where there is no N-th face."""
    candidates = frames[0].faces
    if isinstance(choice, int):
        order = sorted(candidates, key=lambda identity: float(candidates[identity].points[:, 0].mean()))
        return order[choice] if choice < len(order) else -1
    weights = {
        identity: sum(_weight(frame.faces[identity], choice, width, height) for frame in frames if identity in frame.faces)
        for identity in candidates
    }
    return max(weights, key=lambda identity: weights[identity])


def _weight(face: Face, choice: str, width: int, height: int) -> float:
    if choice == "largest":
        return face.size**2
    distance = face.points[:, :2].mean(axis=0) - np.array([(width - 1) / 2, (height - 1) / 2])
    return float(np.exp(-8 * (distance**2).sum() / (width**2 + height**2)))


def _all_slots(frames: Iterator[_Frame[Load]]) -> Iterator[Tracked[Load]]:
    """Each identity keeps the first slot that was free when it appeared; the number of slots only grows."""
    slots: list[int] = []
    for frame in frames:
        if frame.cut:
            slots = [-1] * len(slots)
        newcomers = [identity for identity in frame.faces if identity not in slots]
        for identity in newcomers:
            free = next((slot for slot, held in enumerate(slots) if held not in frame.faces), len(slots))
            slots[free : free + 1] = [identity]
        del slots[MOST_SLOTS:]
        points = np.zeros((max(len(slots), 1), 68, 3), np.float32)
        identities = np.full(len(points), -1)
        for slot, identity in enumerate(slots):
            if identity in frame.faces:
                points[slot], identities[slot] = frame.faces[identity].points, identity
        yield Tracked(points, identities, frame.load)


def _identified(frames: Iterable[Seen[Load]], fps: float) -> Iterator[_Frame[Load]]:
    """Gives every face an identity that it keeps over short gaps."""
    known: list[_Known] = []
    fresh = itertools.count()
    for frame in frames:
        known = [] if frame.cut else [other for other in known if other.missing <= GAP_SECONDS * fps]
        faces = _distinct(frame.faces)
        matches = _match(known, faces)
        for other in known:
            other.missing += 1
        named: dict[int, Face] = {}
        for index, face in enumerate(faces):
            if index in matches:
                matches[index].face, matches[index].missing = face, 0
                named[matches[index].identity] = face
            else:
                known.append(_Known(next(fresh), face))
                named[known[-1].identity] = face
        yield _Frame(named, frame.cut, frame.load)


def _match(known: list[_Known], faces: list[Face]) -> dict[int, _Known]:
    """Index of a face -> who it is: nearest pairs first, none farther apart than a face (a little more for each missing frame)."""
    pairs = []
    for other, (index, face) in itertools.product(known, enumerate(faces)):
        size = max(other.face.size, face.size, 1.0)
        distance = float(np.linalg.norm(_centre(other.face) - _centre(face))) / size
        grown = abs(math.log((face.size + 1) / (other.face.size + 1)))
        if distance < 0.6 + 0.05 * other.missing and grown < 0.7:
            pairs.append((distance + grown, other.identity, index, other))
    matches: dict[int, _Known] = {}
    for _, _, index, other in sorted(pairs, key=lambda pair: pair[:3]):
        if index not in matches and other not in matches.values():
            matches[index] = other
    return matches


def _distinct(faces: list[Face]) -> list[Face]:
    """Larger faces first, without those that lie on a larger one: detectors now and then see the same face twice."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda face: -face.size):
        if all(np.linalg.norm(_centre(face) - _centre(other)) > 0.3 * other.size for other in kept):
            kept.append(face)
    return kept


def _centre(face: Face) -> NDArray[np.float32]:
    return np.asarray(face.points[:, :2].mean(axis=0), np.float32)

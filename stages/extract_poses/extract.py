"""The stage `extract-poses`: detects people in the frames of a clip and writes the layer `poses`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Backends
from stages.clip import Clip, Producer
from stages.conditions.poses import NAMES
from stages.errors import NoDetection, UsageError
from stages.extract_poses import rules
from stages.runner import Outcome
from stages.tables.skeletons import POINT_COUNTS, boxes_of
from stages.tracking.interpolation import fill_gaps
from stages.tracking.smoothing import TrackedFrame, smooth_tracks
from stages.tracking.tracker import Detections, Detector, detect_in_frames, follow, parse_choice

Boxes = NDArray[np.float32]
"""Boxes of all people in a frame, [N, 4]."""


@dataclass(frozen=True)
class PoseOptions:
    """The options of the stage; all but `device` are part of the layer's key.

    person: largest, center, all, or a number from the left, from 0.
    smoothing: strength of the lag-free filter in time; 1 averages over about 40 ms, 0 turns it off.
    drop: names of `rules.RULES` that remove people.
    """

    backend: str = "auto"
    person: str | int = "largest"
    smoothing: float = 1.0
    drop: tuple[str, ...] = ()
    device: str = "auto"


def extract(clip: Clip, options: PoseOptions, overwrite: bool = False) -> Outcome:
    """Detect the chosen person, or all, in every frame of `clip`.

    Writes `poses`: keypoints [T, P, 25, 3] (x, y in pixels, confidence; BODY_25), boxes [T, P, 4] and track_id [T, P]; with a backend that
    finds them also face [T, P, 70, 3], hand_left and hand_right [T, P, 21, 3]. Where a frame has fewer than P people, track_id is -1 and
    the other arrays are 0. The notes count the frames without a person, and those in which each rule of `drop` applied.

    Raises NoDetection when no frame shows a person, ParametersDiffer when another layer exists and `overwrite` is not set.
    """
    parameters = _parameters(options)
    backend = Backends("poses").require_for(clip, "poses", options.backend)
    parameters |= backend.parameters()
    producer = Producer("extract-poses", backend.name, parameters, backend.weight_digests(), device=options.device)
    inputs = {"frames": clip.frames_digest()}
    if not clip.needs("poses", producer, inputs, overwrite):
        return Outcome("poses", "skipped", clip.num_frames)
    with clip.writing("poses", producer, inputs, {"skeleton": "BODY_25", "keypoint_names": list(NAMES)}) as poses:
        frames = list(_track_people(clip, backend, options))
        arrays = _arrays(frames)
        if not (arrays["track_id"] >= 0).any():
            raise _no_person_error(clip, options.person, max(len(frame.payload) for frame in frames))
        dropped = _drop(arrays, [frame.payload for frame in frames], clip, options.drop)
        poses.arrays(arrays)
    notes = _notes(arrays, dropped) | backend.notes
    if options.person == "all" and backend.one_only:
        notes["warnings"] = [f"the backend {backend.name} detects only one person"]
    return Outcome("poses", "done", clip.num_frames, notes)


def _parameters(options: PoseOptions) -> dict[str, Any]:
    if not 0 <= options.smoothing <= 100:
        raise UsageError(f"Smoothing cannot be {options.smoothing}", hint="Choose a number from 0 (off); 1 is the default")
    if unknown := set(options.drop) - set(rules.RULES):
        raise UsageError(f"There is no rule {min(unknown)!r}", hint=f"Choose from {', '.join(rules.RULES)}")
    return {"person": parse_choice(options.person), "smoothing": float(options.smoothing), "drop": sorted(set(options.drop))}


def _track_people(clip: Clip, backend: Backend[Detector], options: PoseOptions) -> Iterator[TrackedFrame[Boxes]]:
    """The chosen people in each frame: tracked, with short gaps filled, and smoothed."""
    fps = float(clip.fps)
    detect = backend.open_for(options.person, options.device)
    detections = detect_in_frames(((frame, None) for frame in clip.frames()), detect)
    with_boxes = (
        Detections(frame.subjects, frame.cut, np.array([subject.box for subject in frame.subjects], np.float32).reshape(-1, 4))
        for frame in detections
    )
    chosen = follow(with_boxes, options.person, backend.points or len(NAMES), fps, clip.width, clip.height)
    return smooth_tracks(fill_gaps(chosen, fps), fps, options.smoothing)


def _arrays(frames: list[TrackedFrame[Boxes]]) -> dict[str, NDArray[Any]]:
    """The arrays of the layer. Their second axis has the largest number of people in a frame."""
    persons = max(len(frame.points) for frame in frames)
    points = np.zeros((len(frames), persons, *frames[0].points.shape[1:]), np.float32)
    track_id = np.full((len(frames), persons), -1, np.int32)
    for index, frame in enumerate(frames):
        points[index, : len(frame.points)] = frame.points
        track_id[index, : len(frame.points)] = frame.identity
    ends = np.cumsum(list(POINT_COUNTS.values()))
    parts = {
        name: points[..., end - POINT_COUNTS[name] : end, :] for name, end in zip(POINT_COUNTS, ends, strict=True) if end <= points.shape[2]
    }
    return {**parts, "boxes": boxes_of(points[..., : len(NAMES), :]), "track_id": track_id}


def _drop(arrays: dict[str, NDArray[Any]], all_boxes: list[Boxes], clip: Clip, names: tuple[str, ...]) -> dict[str, int]:
    """Remove, in place, the people that the rules select. Raises NoDetection when none is left."""
    dropped, counts = rules.apply(names, rules.ClipPoses(arrays["keypoints"], all_boxes, float(clip.fps), clip.height))
    for name, array in arrays.items():
        array[dropped] = -1 if name == "track_id" else 0
    if not (arrays["track_id"] >= 0).any():
        strictest = max(counts, key=lambda name: counts[name])
        raise NoDetection(
            f"The rules leave no person in {clip.path}", hint=f"The rule {strictest} alone applied in {counts[strictest]} frames"
        )
    return counts


def _no_person_error(clip: Clip, person: str | int, most: int) -> NoDetection:
    """most: the largest number of people that are seen in a frame."""
    if most:
        count = f"{most} person is" if most == 1 else f"{most} persons are"
        return NoDetection(
            f"{clip.path} has no person number {person}: {count} seen at once", hint="People are numbered from the left, from 0"
        )
    return NoDetection(
        f"No person was found in any of the {clip.num_frames} frames of {clip.path}",
        hint="A person should be at least a fifth of the image high",
        code="no-person",
    )


def _notes(arrays: dict[str, NDArray[Any]], dropped: dict[str, int]) -> dict[str, Any]:
    notes: dict[str, Any] = {"frames_without_person": int((arrays["track_id"] < 0).all(axis=1).sum())}
    if dropped:
        notes["frames_dropped"] = dropped
    return notes

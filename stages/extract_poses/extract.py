"""The stage: from the frames of a clip to its layer `poses`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backends
from stages.clip import Clip, Producer
from stages.conditions.poses import NAMES
from stages.errors import NoDetection, UsageProblem
from stages.following import Subject, box_of_points, follow, parse_choice, watch
from stages.runner import Outcome
from stages.smoothing import Tracked, smoothed


@dataclass(frozen=True)
class PoseOptions:
    """What shapes the poses; all but `device` enters the layer's key.

    person: largest, center, all, or N for the N-th from the left. smoothing: strength of the lag-free filter in time, 1 averages over
    about 40 ms; 0 turns it off.
    """

    backend: str = "auto"
    person: str | int = "largest"
    smoothing: float = 1.0
    device: str = "auto"


def extract(clip: Clip, options: PoseOptions, overwrite: bool = False) -> Outcome:
    """Detect the chosen person, or all, in every frame of `clip`.

    Writes `poses`: keypoints [T, P, 25, 3] (x, y in pixels, confidence; BODY_25), boxes [T, P, 4] and track_id [T, P], -1 and zeros where
    nobody is. Raises NoDetection when no frame shows a person, ParametersDiffer when another layer is there and `overwrite` is not set.
    """
    if not 0 <= options.smoothing <= 100:
        raise UsageProblem(f"Smoothing cannot be {options.smoothing}", hint="Choose a number from 0 (off); 1 is the default")
    parameters: dict[str, Any] = {"person": parse_choice(options.person), "smoothing": float(options.smoothing)}
    backend = Backends("poses").require(options.backend)
    producer = Producer("extract-poses", backend.name, parameters, backend.weight_digests(), device=options.device)
    inputs = {"frames": clip.frames_digest()}
    if not clip.needs("poses", producer, inputs, overwrite):
        return Outcome("poses", "skipped", clip.num_frames)
    with clip.writing("poses", producer, inputs, {"skeleton": "BODY_25", "keypoint_names": list(NAMES)}) as poses:
        arrays = _arrays(list(_persons(clip, backend.open(options.device), options)))
        seen = (arrays["track_id"] >= 0).any(axis=1)
        if not seen.any():
            raise NoDetection(
                f"No person was found in any of the {clip.num_frames} frames of {clip.path}",
                hint="Look at the clip with `fsv2v clip preview`; a person should be at least a fifth of the picture high",
            )
        poses.arrays(arrays)
    return Outcome("poses", "done", clip.num_frames, {"frames_without_person": int((~seen).sum())})


def _persons(clip: Clip, detect: Callable[[NDArray[np.uint8]], list[Subject]], options: PoseOptions) -> Iterator[Tracked[None]]:
    fps = float(clip.fps)
    seen = watch(((frame, None) for frame in clip.frames()), detect)
    return smoothed(follow(seen, options.person, len(NAMES), fps, clip.width, clip.height), fps, options.smoothing)


def _arrays(frames: list[Tracked[None]]) -> dict[str, NDArray[Any]]:
    """keypoints, boxes and track_id of all frames, with as many persons as the fullest frame."""
    persons = max(len(frame.points) for frame in frames)
    keypoints = np.zeros((len(frames), persons, len(NAMES), 3), np.float32)
    boxes = np.zeros((len(frames), persons, 4), np.float32)
    track_id = np.full((len(frames), persons), -1, np.int32)
    for index, frame in enumerate(frames):
        keypoints[index, : len(frame.points)] = frame.points
        track_id[index, : len(frame.points)] = frame.identity
        boxes[index, : len(frame.points)] = [box_of_points(person[person[:, 2] > 0]) for person in frame.points]
    return {"keypoints": keypoints, "boxes": boxes, "track_id": track_id}

"""What is shown of a synthesis, collected while its frames are made: a few small pictures, and a number or two for each frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.clip.preview import evenly_spaced
from stages.conditions.kinds import find
from stages.conditions.landmarks import LANDMARKS, LEFT_EYE, RIGHT_EYE
from stages.conditions.redetection import detector_factory, landmark_error, missing_detector, nearest
from stages.errors import add_prefix
from stages.models import identity
from stages.networks.common.generator import Synthesis
from stages.synthesize.rendering import Rendering
from stages.synthesize.transforms import Frames

COLUMNS = 12
"""Number of frames that are shown as pictures."""
KEPT_SIDE = 256
"""Longer side in pixels of the pictures that are kept."""
Image = NDArray[np.uint8]
Spans = list[tuple[int, int]]
"""First and last frame of each."""


class Record:
    """Watches a rendering: `made` is called with the parts of each frame, and `frames` sees the frames that are written.

    painted: the mean of m_e of each frame; errors: the landmark error of each, None without a face; identity: the distance of the face from
    that of the first example by dlib's network, for those of `shown` that have a face. Empty where they cannot be had, and `reasons` says
    why.
    """

    def __init__(self, rendering: Rendering) -> None:
        self.rendering = rendering
        driving = rendering.driving
        self.shown = evenly_spaced(driving.num_frames, COLUMNS)
        self.held = [not driving.track.seen(index) for index in range(driving.num_frames)]
        self.size = ""
        self.painted: list[float | None] = []
        self.errors: list[float | None] = []
        self.identity: dict[int, float] = {}
        self.reasons: list[str] = []
        self._masks: dict[int, Image] = {}
        self._results: dict[int, Image] = {}
        self._detect = self._open_detector()
        self._describe = identity.open_if_available() if self._detect else None
        self._example_face: NDArray[np.float64] | None = None
        if self._detect and self._describe is None:
            self.reasons.append("the identity of the face is not measured: dlib or its recognition network is not on this machine")

    def _open_detector(self) -> Any:
        """A detector of faces in the result; None, with a reason, where there is none to compare."""
        if not find(self.rendering.kind).shows_face or self.rendering.options.show == "mask":
            return None
        if missing := missing_detector():
            self.reasons.append(add_prefix("the landmark error is not measured: ", missing))
            return None
        return detector_factory("auto", self.rendering.options.device)()

    def made(self, index: int, synthesis: Synthesis) -> None:
        """The parts of frame `index`."""
        if synthesis.example_mask is None:
            return
        self.painted += [None] * (index - len(self.painted))  # frames that were not made
        self.painted.append(float(synthesis.example_mask.float().mean()))
        if index in self.shown:
            mask = synthesis.example_mask[0, 0].float().clamp(0, 1).mul(255).round().byte().cpu().numpy()
            self._masks[index] = np.repeat(mask[..., None], 3, -1)

    def frames(self, frames: Frames) -> Frames:
        """The same frames, seen on their way."""
        for index, (frame, keypoints) in enumerate(zip(frames, self.rendering.keypoints(), strict=False)):
            self.size = f"{frame.shape[1]} x {frame.shape[0]} pixels"
            if index in self.shown:
                self._results[index] = _small(frame)
            if self._detect is not None:
                self._find(index, frame, keypoints[:LANDMARKS])
            yield frame

    def _find(self, index: int, frame: Image, target: NDArray[np.float32]) -> None:
        if not (target[RIGHT_EYE, 2].all() and target[LEFT_EYE, 2].all()):
            self.errors.append(None)
            return
        face = nearest(self._detect(frame), target)
        self.errors.append(landmark_error(face, target))
        if face is not None and index in self.shown and self._describe is not None and self.rendering.examples:
            self.identity[index] = float(np.linalg.norm(self._describe(frame, face) - self._of_example()))

    def _of_example(self) -> NDArray[np.float64]:
        """What the recognition network says of the first example."""
        if self._example_face is None:
            assert self._describe is not None
            sample = self.rendering.examples[0].sample
            self._example_face = self._describe(sample.required_image, sample.keypoints[:LANDMARKS])
        return self._example_face

    def examples(self) -> list[tuple[str, Image]]:
        """Name and picture of each, at most `COLUMNS`."""
        examples = self.rendering.examples
        chosen = [examples[index] for index in evenly_spaced(len(examples), COLUMNS)] if examples else []
        return [(f"{example.clip.id}, frame {example.index}", example.sample.required_image) for example in chosen]

    def rows(self) -> dict[str, dict[int, Image]]:
        """name -> the pictures of the frames in `shown`."""
        rows = {"driving layer": dict(self._drawings()), "result": self._results}
        if self.rendering.driving.clip.has("frames"):
            rows = {"driving video": dict(self._driving_images()), **rows}
        return {**rows, "painted (white), warped (black)": self._masks} if self._masks else rows

    def _driving_images(self) -> Iterator[tuple[int, Image]]:
        driving = self.rendering.driving
        for frame in self.shown:
            yield frame, np.asarray(driving.image(frame), np.uint8)

    def _drawings(self) -> Iterator[tuple[int, Image]]:
        for frame in self.shown:
            yield frame, self.rendering.driving.drawing(frame)

    def curves(self) -> dict[str, Sequence[float | None]]:
        """Title -> a value for each frame."""
        curves: dict[str, Sequence[float | None]] = {}
        if any(value is not None for value in self.errors):
            curves["landmark error, % of the eye distance (lower is better)"] = self.errors
        if self.painted:
            curves["share of the image that is painted (the mean of m_e)"] = self.painted
        return curves

    def bands(self) -> dict[str, Spans]:
        """held: driving frames without a detection; beyond: those whose subject is beyond what the examples show."""
        beyond = {frame for frames in self.rendering.frames_beyond().values() for frame in frames}
        return {"held": _spans(self.held), "beyond": _spans([frame in beyond for frame in range(len(self.held))])}


def _small(image: Image) -> Image:
    scale = KEPT_SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def _spans(flags: Sequence[bool]) -> Spans:
    edges = np.flatnonzero(np.diff([False, *flags, False]))
    return [(int(first), int(last) - 1) for first, last in zip(edges[::2], edges[1::2], strict=True)]

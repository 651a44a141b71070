"""Collects the content of the report while the frames are made: a few small pictures, and some numbers for each frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.clip.preview import evenly_spaced
from stages.conditions.kinds import find_kind
from stages.conditions.landmarks import LANDMARKS, LEFT_EYE, RIGHT_EYE
from stages.conditions.redetection import detector_factory, landmark_error, missing_detector, nearest
from stages.conditions.view import View
from stages.errors import add_prefix
from stages.models import identity
from stages.networks.common.generator import Synthesis
from stages.synthesize.rendering import Rendering
from stages.synthesize.transforms import Frames

COLUMNS = 12
"""Largest number of frames that the page shows."""
KEPT_SIDE = 256
"""Longer side in pixels of the pictures that are kept."""
CLOSE_UP = 2.0
"""Side of the close-up of a face or body, relative to the longer side of the box around its keypoints."""
Image = NDArray[np.uint8]
Spans = list[tuple[int, int]]
"""(first frame, last frame) of each span."""


class Record:
    """Records a rendering, which calls `add_synthesis` with the output of the network for each frame, and passes its
    frames through `frames`.

    shown: the frames that the page shows.
    held: for each driving frame whether it has no detection.
    size: the size of the frames, as text.
    painted: the mean of m_e for each frame.
    errors: the landmark error of each frame, None without a face.
    identity: frame in `shown` with a face -> the distance of the face from that of the first example, by dlib's network.
    reasons: sentences about why some of these values could not be measured.
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
        self._close_ups: dict[int, Image] = {}
        self._detect = self._open_detector()
        self._describe = identity.open_if_available() if self._detect else None
        self._cached_embedding: NDArray[np.float64] | None = None
        if self._detect and self._describe is None:
            self.reasons.append("the identity of the face is not measured: dlib or its recognition network is not on this machine")

    def _open_detector(self) -> Any:
        """A detector of faces in the result. None if the result shows no face, or, with a reason, if no detector can run."""
        if not find_kind(self.rendering.kind).shows_face or self.rendering.options.show == "mask":
            return None
        if missing := missing_detector():
            self.reasons.append(add_prefix("the landmark error is not measured: ", missing))
            return None
        return detector_factory("auto", self.rendering.options.device)()

    def add_synthesis(self, index: int, synthesis: Synthesis) -> None:
        """Record the output of the network for frame `index`."""
        if synthesis.example_mask is None:
            return
        self.painted += [None] * (index - len(self.painted))  # frames that were not made
        self.painted.append(float(synthesis.example_mask.float().mean()))
        if index in self.shown:
            mask = synthesis.example_mask[0, 0].float().clamp(0, 1).mul(255).round().byte().cpu().numpy()
            self._masks[index] = np.repeat(mask[..., None], 3, -1)

    def frames(self, frames: Frames) -> Frames:
        """Record the frames and pass them on."""
        for index, (frame, keypoints) in enumerate(zip(frames, self.rendering.keypoints(), strict=False)):
            self.size = f"{frame.shape[1]} x {frame.shape[0]} pixels"
            if index in self.shown:
                self._results[index] = _small(frame)
                if (crop := close_up(frame, keypoints)) is not None:
                    self._close_ups[index] = crop
            if self._detect is not None:
                self._measure_face(index, frame, keypoints[:LANDMARKS])
            yield frame

    def _measure_face(self, index: int, frame: Image, target: NDArray[np.float32]) -> None:
        if not (target[RIGHT_EYE, 2].all() and target[LEFT_EYE, 2].all()):
            self.errors.append(None)
            return
        face = nearest(self._detect(frame), target)
        self.errors.append(landmark_error(face, target))
        if face is not None and index in self.shown and self._describe is not None and self.rendering.examples:
            self.identity[index] = float(np.linalg.norm(self._describe(frame, face) - self._example_embedding()))

    def _example_embedding(self) -> NDArray[np.float64]:
        """The embedding of the face in the first example."""
        if self._cached_embedding is None:
            assert self._describe is not None
            sample = self.rendering.examples[0].sample
            self._cached_embedding = self._describe(sample.required_image, sample.keypoints[:LANDMARKS])
        return self._cached_embedding

    def examples(self) -> list[tuple[str, Image]]:
        """(name, picture) of at most `COLUMNS` examples."""
        examples = self.rendering.examples
        chosen = [examples[index] for index in evenly_spaced(len(examples), COLUMNS)] if examples else []
        return [(f"{example.clip.id}, frame {example.index}", example.sample.required_image) for example in chosen]

    def rows(self) -> dict[str, dict[int, Image]]:
        """Name of the row -> {frame in `shown`: its picture}."""
        rows = {"driving layer": dict(self._drawings()), "result": self._results}
        if self.rendering.driving.clip.has("frames"):
            rows = {"driving video": dict(self._driving_images()), **rows}
        if self._close_ups:
            rows["close-up of the result"] = self._close_ups
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
        """held: spans of driving frames without a detection; beyond: spans in which the subject is beyond what the examples show."""
        beyond = {frame for frames in self.rendering.frames_beyond().values() for frame in frames}
        return {"held": _spans(self.held), "beyond": _spans([frame in beyond for frame in range(len(self.held))])}


def _small(image: Image) -> Image:
    scale = KEPT_SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def close_up(frame: Image, keypoints: NDArray[np.float32]) -> Image | None:
    """A crop around the keypoints [N, 3], of KEPT_SIDE pixels; None without keypoints, or if the frame is hardly larger than the crop."""
    seen = keypoints[keypoints[:, 2] > 0, :2]
    if len(seen) < 2:
        return None
    low, high = seen.min(0), seen.max(0)
    side = CLOSE_UP * float((high - low).max())
    if not 0 < side < 0.75 * max(frame.shape[:2]):
        return None
    return View.crop(np.array([*((low + high - side) / 2), side]), KEPT_SIDE, KEPT_SIDE).image(frame)


def _spans(flags: Sequence[bool]) -> Spans:
    edges = np.flatnonzero(np.diff([False, *flags, False]))
    return [(int(first), int(last) - 1) for first, last in zip(edges[::2], edges[1::2], strict=True)]

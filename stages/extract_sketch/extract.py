"""The stage: from the frames of a clip to its layers `landmarks` and `sketch`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend, Backends
from stages.clip import Clip, Producer
from stages.conditions import background
from stages.conditions.landmarks import LANDMARKS, draw_sketch
from stages.errors import NoDetection, UsageError
from stages.extract_sketch.orientation import Orientation
from stages.runner import Outcome
from stages.tracking.interpolation import fill_gaps
from stages.tracking.smoothing import Tracked, smooth_tracks
from stages.tracking.tracker import Detector, detect_in_frames, follow, parse_choice

STAGE = "extract-sketch"

Edges = NDArray[np.uint8] | None


@dataclass(frozen=True)
class SketchOptions:
    """What shapes the landmarks and the sketch; all but `device` enters the layers' keys.

    backend: a landmark backend, or auto for MediaPipe if its weights are available, else dlib. background: edges drawn outside the face.
    face: largest, center, all, or N for the N-th from the left. smoothing: strength of the lag-free filter in time, 1 averages over
    about 40 ms; 0 turns it off.
    """

    backend: str = "auto"
    background: Literal["canny", "none"] = "canny"
    face: str | int = "largest"
    smoothing: float = 1.0
    device: str = "auto"


def extract(clip: Clip, options: SketchOptions, overwrite: bool = False) -> Outcome:
    """Detect the chosen face in every frame of `clip` and draw its sketch.

    Writes `landmarks` (points [T, P, 68, 3]: x, y in pixels, confidence; P is 1 unless all faces are wanted; with a backend that finds
    irises also iris [T, P, 10, 3]), then `sketch` (uint8 [H, W]). Frames without a face get zeros and an empty sketch. The notes count
    them, and the frames with a face cut by the border of the image. Raises NoDetection when no frame has a face, ParametersDiffer when
    other layers exist and `overwrite` is not set.
    """
    _check(options)
    backend = Backends("landmarks").require_for(clip, "landmarks", options.backend)
    making = {"landmarks": _landmarks_producer(backend, options), "sketch": _sketch_producer(backend, options)}
    inputs = {"frames": clip.frames_digest()}
    needed = [kind for kind, producer in making.items() if clip.needs(kind, producer, inputs, overwrite)]
    if not needed:
        return Outcome("sketch", "skipped", clip.num_frames)
    detector = Orientation(backend.open_for(options.face, options.device)) if "landmarks" in needed else None
    frames = _known_faces(clip, options) if detector is None else _detected_faces(clip, detector, backend.points or LANDMARKS, options)
    with clip.writing("sketch", making["sketch"], inputs) as sketch:
        points = _draw(clip, frames, sketch)
        if not points[..., 2].any():
            nothing = f"No face was found in any of the {clip.num_frames} frames of {clip.path}"
            numbered = f"Face {options.face} was chosen: they count from 0, from the left" if str(options.face).isdigit() else ""
            raise NoDetection(nothing, hint=numbered, code="no-face", facts=_alternatives(backend.name, options.face))
        if "landmarks" in needed:
            with clip.writing("landmarks", making["landmarks"], inputs) as landmarks:
                landmarks.arrays(_arrays(points))
    upside_down = detector is not None and detector.upside_down
    notes = _notes(points[..., :LANDMARKS, :], clip.width, clip.height, upside_down) | backend.notes
    return Outcome("sketch", "done", clip.num_frames, notes)


def _check(options: SketchOptions) -> None:
    parse_choice(options.face)
    if options.background not in ("canny", "none"):
        raise UsageError(f"There is no background {options.background!r}", hint="Choose canny or none")
    if not 0 <= options.smoothing <= 100:
        raise UsageError(f"Smoothing cannot be {options.smoothing}", hint="Choose a number from 0 (off); 1 is the default")


def _landmarks_producer(backend: Backend[Detector], options: SketchOptions) -> Producer:
    parameters: dict[str, Any] = {"face": parse_choice(options.face), "smoothing": float(options.smoothing), **backend.parameters()}
    return Producer(STAGE, backend.name, parameters, backend.weight_digests(), device=options.device)


def _sketch_producer(backend: Backend[Detector], options: SketchOptions) -> Producer:
    landmarks = _landmarks_producer(backend, options)
    parameters = {**landmarks.parameters, "background": options.background}
    return Producer(STAGE, backend.name, parameters, landmarks.weights, device=options.device)


def _detected_faces(clip: Clip, detector: Orientation, count: int, options: SketchOptions) -> Iterator[Tracked[Edges]]:
    fps = float(clip.fps)
    chosen = follow(detect_in_frames(_with_edges(clip, options), detector), options.face, count, fps, clip.width, clip.height)
    return smooth_tracks(fill_gaps(chosen, fps), fps, options.smoothing)


def _known_faces(clip: Clip, options: SketchOptions) -> Iterator[Tracked[Edges]]:
    """As `_detected_faces`, from the finished layer."""
    points = clip.layer("landmarks").arrays()["points"]
    identity = np.zeros(points.shape[1], np.int64)
    if options.background == "none":
        return (Tracked(faces, identity, None) for faces in points)
    edges = (edges for _, edges in _with_edges(clip, options))
    return (Tracked(faces, identity, payload) for faces, payload in zip(points, edges, strict=True))


def _with_edges(clip: Clip, options: SketchOptions) -> Iterator[tuple[NDArray[np.uint8], Edges]]:
    for frame in clip.frames():
        yield frame, background.packed_edges(frame) if options.background == "canny" else None


def _draw(clip: Clip, frames: Iterator[Tracked[Edges]], sketch: Any) -> NDArray[np.float32]:
    """Write the sketch of each frame to the layer `sketch`; returns the points of all frames, [T, P, 68 or 78, 3]."""
    points = []
    for frame in frames:
        points.append(frame.points)
        faces = frame.points[:, :LANDMARKS]
        image = draw_sketch(faces, clip.height, clip.width)
        if frame.payload is not None and faces[..., 2].any():
            np.maximum(image, background.edges_outside_faces(frame.payload, faces, clip.width), out=image)
        sketch.image(image)
    persons = max((len(faces) for faces in points), default=1)
    together = np.zeros((len(points), persons, *points[0].shape[1:]), np.float32)
    for row, faces in zip(together, points, strict=True):
        row[: len(faces)] = faces
    return together


def _arrays(points: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The arrays of the layer `landmarks` for faces [T, P, 68 or 78, 3]."""
    arrays = {"points": points[..., :LANDMARKS, :]}
    return {**arrays, "iris": points[..., LANDMARKS:, :]} if points.shape[2] > LANDMARKS else arrays


def _notes(points: NDArray[np.float32], width: int, height: int, upside_down: bool) -> dict[str, Any]:
    """Notes of the outcome: frames without a face, frames whose face is cut by the border of the image, an upside-down face."""
    seen = points[..., 2].max(axis=-1) > 0
    outside = (points[..., :2] < -1).any(axis=-1) | (points[..., 0] > width) | (points[..., 1] > height)
    cut = int((seen & outside.any(axis=-1)).any(axis=-1).sum())
    notes: dict[str, Any] = {"frames_without_face": int((~seen.any(axis=-1)).sum()), "frames_with_cut_face": cut}
    warnings = [f"the face is cut by the border of the image in {cut} of {len(points)} frames; results suffer"] if cut else []
    if upside_down:
        warnings.append("the face seems to be upside down, and its landmarks are wrong then: turn the images by 180 degrees first")
    return notes | ({"warnings": warnings} if warnings else {})


def _alternatives(backend: str, face: str | int) -> dict[str, Any]:
    """What else can be tried here: other backends, and those that find smaller faces when a face is chosen by its number."""
    usable = [one for one in Backends("landmarks").every() if one.available]
    return {
        "backend": backend,
        "face": str(face),
        "others": [one.name for one in usable if one.name != backend],
        "find_smaller": [one.name for one in usable if one.open_many and face in ("largest", "center")],
    }

"""The stage `extract-sketch`: detects faces in the frames of a clip and writes the layers `landmarks` and `sketch`."""

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
from stages.extract_sketch.orientation import UpsideDownCheck
from stages.runner import Outcome
from stages.tracking.interpolation import fill_gaps
from stages.tracking.smoothing import TrackedFrame, smooth_tracks
from stages.tracking.tracker import Detector, detect_in_frames, follow, parse_choice

STAGE = "extract-sketch"

Edges = NDArray[np.uint8] | None


@dataclass(frozen=True)
class SketchOptions:
    """The options of the stage; all but `device` are part of the layers' keys.

    backend: a landmark backend, or auto for MediaPipe if its weights are available, else dlib.
    background: edges drawn outside the face.
    face: largest, center, all, or a number from the left, from 0.
    smoothing: strength of the lag-free filter in time; 1 averages over about 40 ms, 0 turns it off.
    """

    backend: str = "auto"
    background: Literal["canny", "none"] = "canny"
    face: str | int = "largest"
    smoothing: float = 1.0
    device: str = "auto"


def extract(clip: Clip, options: SketchOptions, overwrite: bool = False) -> Outcome:
    """Detect the chosen face in every frame of `clip` and draw its sketch.

    Writes `landmarks`: points [T, P, 68, 3] (x, y in pixels, confidence), where P is 1 unless `face` is all; with a backend that finds
    irises also iris [T, P, 10, 3]. Writes `sketch`: uint8 [H, W] for each frame. Frames without a face have zeros and an empty sketch. The
    notes count them, and the frames in which the border of the image cuts a face.

    Raises NoDetection when no frame has a face, ParametersDiffer when other layers exist and `overwrite` is not set.
    """
    _check_options(options)
    backend = Backends("landmarks").require_for(clip, "landmarks", options.backend)
    producers = {"landmarks": _landmarks_producer(backend, options), "sketch": _sketch_producer(backend, options)}
    inputs = {"frames": clip.frames_digest()}
    needed = [kind for kind, producer in producers.items() if clip.needs(kind, producer, inputs, overwrite)]
    if not needed:
        return Outcome("sketch", "skipped", clip.num_frames)
    detector = UpsideDownCheck(backend.open_for(options.face, options.device)) if "landmarks" in needed else None
    frames = _known_faces(clip, options) if detector is None else _detected_faces(clip, detector, backend.points or LANDMARKS, options)
    with clip.writing("sketch", producers["sketch"], inputs) as sketch:
        points = _draw(clip, frames, sketch)
        if not points[..., 2].any():
            message = f"No face was found in any of the {clip.num_frames} frames of {clip.path}"
            hint = f"Face {options.face} was chosen; faces are numbered from the left, from 0" if str(options.face).isdigit() else ""
            raise NoDetection(message, hint=hint, code="no-face", facts=_alternatives(backend.name, options.face))
        if "landmarks" in needed:
            with clip.writing("landmarks", producers["landmarks"], inputs) as landmarks:
                landmarks.arrays(_arrays(points))
    upside_down = detector is not None and detector.upside_down
    notes = _notes(points[..., :LANDMARKS, :], clip.width, clip.height, upside_down) | backend.notes
    return Outcome("sketch", "done", clip.num_frames, notes)


def _check_options(options: SketchOptions) -> None:
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


def _detected_faces(clip: Clip, detector: UpsideDownCheck, count: int, options: SketchOptions) -> Iterator[TrackedFrame[Edges]]:
    """The chosen faces of each frame: tracked, with short gaps filled, and smoothed. count: number of points of a face."""
    fps = float(clip.fps)
    chosen = follow(detect_in_frames(_with_edges(clip, options), detector), options.face, count, fps, clip.width, clip.height)
    return smooth_tracks(fill_gaps(chosen, fps), fps, options.smoothing)


def _known_faces(clip: Clip, options: SketchOptions) -> Iterator[TrackedFrame[Edges]]:
    """As `_detected_faces`, but from the finished layer `landmarks`."""
    points = clip.layer("landmarks").arrays()["points"]
    identity = np.zeros(points.shape[1], np.int64)
    if options.background == "none":
        return (TrackedFrame(faces, identity, None) for faces in points)
    all_edges = (edges for _, edges in _with_edges(clip, options))
    return (TrackedFrame(faces, identity, edges) for faces, edges in zip(points, all_edges, strict=True))


def _with_edges(clip: Clip, options: SketchOptions) -> Iterator[tuple[NDArray[np.uint8], Edges]]:
    """(frame, its edges, or None without a background) for each frame."""
    for frame in clip.frames():
        yield frame, background.packed_edges(frame) if options.background == "canny" else None


def _draw(clip: Clip, frames: Iterator[TrackedFrame[Edges]], sketch: Any) -> NDArray[np.float32]:
    """Draw the sketch of each frame and write it to the layer `sketch`. Returns the points of all frames, [T, P, 68 or 78, 3]."""
    points = []
    for frame in frames:
        points.append(frame.points)
        faces = frame.points[:, :LANDMARKS]
        image = draw_sketch(faces, clip.height, clip.width)
        if frame.payload is not None and faces[..., 2].any():
            np.maximum(image, background.edges_outside_faces(frame.payload, faces, clip.width), out=image)
        sketch.image(image)
    persons = max((len(faces) for faces in points), default=1)
    all_points = np.zeros((len(points), persons, *points[0].shape[1:]), np.float32)
    for row, faces in zip(all_points, points, strict=True):
        row[: len(faces)] = faces
    return all_points


def _arrays(points: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """The arrays of the layer `landmarks` for faces [T, P, 68 or 78, 3]."""
    arrays = {"points": points[..., :LANDMARKS, :]}
    return {**arrays, "iris": points[..., LANDMARKS:, :]} if points.shape[2] > LANDMARKS else arrays


def _notes(points: NDArray[np.float32], width: int, height: int, upside_down: bool) -> dict[str, Any]:
    """The notes of the outcome: the number of frames without a face, the number with a face at the border of the image, and warnings."""
    seen = points[..., 2].max(axis=-1) > 0
    outside = (points[..., :2] < -1).any(axis=-1) | (points[..., 0] > width) | (points[..., 1] > height)
    cut = int((seen & outside.any(axis=-1)).any(axis=-1).sum())
    notes: dict[str, Any] = {"frames_without_face": int((~seen.any(axis=-1)).sum()), "frames_with_cut_face": cut}
    warnings = [f"the face is cut by the border of the image in {cut} of {len(points)} frames, which makes results worse"] if cut else []
    if upside_down:
        warnings.append("the face seems to be upside down; if it is, its landmarks are wrong: rotate the images by 180 degrees first")
    return notes | ({"warnings": warnings} if warnings else {})


def _alternatives(name: str, face: str | int) -> dict[str, Any]:
    """What else the user can try: other backends, and those that find smaller faces if a number is chosen instead of largest or center."""
    usable = [backend for backend in Backends("landmarks").every() if backend.available]
    return {
        "backend": name,
        "face": str(face),
        "others": [backend.name for backend in usable if backend.name != name],
        "find_smaller": [backend.name for backend in usable if backend.open_many and face in ("largest", "center")],
    }

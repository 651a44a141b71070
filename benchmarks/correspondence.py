"""Checks that detections move with the image: their mean shift in mirrored, doubled, padded and rotated copies.

    python benchmarks/correspondence.py VIDEO... [--frames 3] [--side 400] [--backend landmarks/dlib ...]

The pixel (x, y) of an image lies at (W - 1 - x, y) in the mirrored copy, at (2 x + 0.5, 2 y + 0.5) in the doubled copy (the centre of four
pixels), at (x + left, y + top) in the padded copy and at (y, W - 1 - x) in the copy rotated left. The points detected in an image are
mapped into the copy and compared with the points detected there. dx and dy are mean differences over the images, in pixels of the copy;
`+-` is the larger of their standard errors. A detector's noise averages out, but an error of half a pixel does not. Goal: less than half a
pixel.

For masks and label maps, the shift is the one that best explains the difference of their blurred edges (Lucas and Kanade 1981).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measuring import report

from stages.backends import Backends
from stages.clip import probe, read_frames
from stages.conditions import landmarks, poses
from weights import registry

GOAL = 0.5
LEFT, TOP, RIGHT, BOTTOM = 37, 21, 16, 30
"""Pixels of padding on each side; the padding repeats the border of the image."""
MIN_CONFIDENCE = 0.5
"""Points below this confidence are not compared."""
MIN_POINTS = 8
"""An image with fewer points to compare is left out."""
BLUR = 4.0
"""Standard deviation, in pixels, of the blur of masks before they are compared."""

Image = np.ndarray
Detector = Callable[[Image], "np.ndarray | None"]
"""uint8 RGB [H, W, 3] -> points [N, 3] or a mask, bool [1, H, W], of the only subject; or masks, bool [L, H, W], of all labels.

Detectors of subjects return None unless exactly one is detected.
"""


@dataclass(frozen=True)
class Copy:
    """make: image [H, W(, C)] -> copy; map_points: x and y in the image, its W and H -> x and y in the copy."""

    make: Callable[[Image], Image]
    map_points: Callable[..., tuple[np.ndarray, np.ndarray]]
    mirrored: bool = False


COPIES: Mapping[str, Copy] = {
    "mirrored": Copy(lambda image: image[:, ::-1], lambda x, y, w, h: (w - 1 - x, y), mirrored=True),
    "doubled": Copy(lambda image: image.repeat(2, axis=0).repeat(2, axis=1), lambda x, y, w, h: (2 * x + 0.5, 2 * y + 0.5)),
    "padded": Copy(
        lambda image: cv2.copyMakeBorder(image, TOP, BOTTOM, LEFT, RIGHT, cv2.BORDER_REPLICATE), lambda x, y, w, h: (x + LEFT, y + TOP)
    ),
    "left": Copy(lambda image: np.rot90(image), lambda x, y, w, h: (y, w - 1 - x)),
    "half": Copy(lambda image: np.rot90(image, 2), lambda x, y, w, h: (w - 1 - x, h - 1 - y)),
    "right": Copy(lambda image: np.rot90(image, 3), lambda x, y, w, h: (h - 1 - y, x)),
}
"""left, half and right are rotated counter-clockwise by 90, 180 and 270 degrees."""
UPRIGHT = ("mirrored", "doubled", "padded")
"""The copies in which heads stay upright."""


def shift_of_points(detect: Detector, image: Image, copy: Copy, mirror: np.ndarray) -> np.ndarray | None:
    """Mean difference [2] between the points detected in the copy and those detected in the image and mapped into the copy.

    mirror: the index of each point's mirror image. None if there are too few points.
    """
    before, after = detect(image), detect(np.ascontiguousarray(copy.make(image)))
    if before is None or after is None:
        return None
    after = after[mirror] if copy.mirrored else after
    compared = (before[:, 2] > MIN_CONFIDENCE) & (after[:, 2] > MIN_CONFIDENCE)
    if compared.sum() < MIN_POINTS:
        return None
    expected = np.stack(copy.map_points(before[:, 0], before[:, 1], image.shape[1], image.shape[0]), 1)
    distance = np.linalg.norm(after[:, :2] - expected, axis=1)
    compared &= distance <= 3 * np.median(distance[compared])  # without outliers such as a left arm detected as the right one
    return (after[:, :2] - expected)[compared].mean(0)


def shift_of_masks(detect: Detector, image: Image, copy: Copy) -> np.ndarray | None:
    """As `shift_of_points`, for masks [L, H, W]."""
    before, after = detect(image), detect(np.ascontiguousarray(copy.make(image)))
    if before is None or after is None:
        return None
    pairs = [(copy.make(one.astype(np.float32)), other.astype(np.float32)) for one, other in zip(before, after, strict=True)]
    return shift_between([(_blur(one), _blur(other)) for one, other in pairs])


def _blur(mask: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(np.ascontiguousarray(mask), (0, 0), BLUR), np.float32)


def shift_between(pairs: Sequence[tuple[Image, Image]]) -> np.ndarray | None:
    """The shift d [2] that best satisfies other(x) = one(x - d) for all pairs (one, other) of smooth images [H, W].

    None if the images do not determine it.
    """
    matrix, vector = np.zeros((2, 2)), np.zeros(2)
    for one, other in pairs:
        slope = np.stack(np.gradient((one + other) / 2)[::-1], -1)[16:-16, 16:-16].reshape(-1, 2)  # without the border of the image
        matrix += slope.T @ slope
        vector += slope.T @ (one - other)[16:-16, 16:-16].ravel()
    return np.linalg.solve(matrix, vector) if np.linalg.cond(matrix) < 1e6 else None


def face_detector(name: str) -> Detector:
    from stages.extract_sketch.backends.dlib import DlibFaces
    from stages.extract_sketch.backends.mediapipe import MediapipeFaces

    weights = str(registry.path(Backends("landmarks").get(name).weights[0]))
    if name == "mediapipe":
        detect = MediapipeFaces(weights, "image")
        return lambda image: faces[0].points[:68] if len(faces := detect(image)) == 1 else None
    return lambda image: _with_full_confidence(faces[0].points) if len(faces := DlibFaces(weights)(image)) == 1 else None


def _with_full_confidence(points: np.ndarray) -> np.ndarray:
    """dlib's confidence is that of the whole face, not of a point."""
    return np.where([True, True, False], points, 1.0)


def body_detector(name: str) -> Detector:
    from stages.extract_poses.backends.mediapipe import MediapipePoses
    from stages.extract_poses.backends.small import SmallPoses

    weights = registry.path(Backends("poses").get(name).weights[0])
    if name == "mediapipe":
        detect = MediapipePoses(str(weights), "image")
        return lambda image: people[0].points if len(people := detect(image)) == 1 else None
    network = SmallPoses(weights, "cpu")

    def detect_body(image: Image) -> np.ndarray | None:
        network._window = None  # treat every image as the first frame of a video
        return people[0].points if (people := network(image)) else None

    return detect_body


def mask_detector(name: str) -> Detector:
    if name == "person":
        from stages.compute.mediapipe_task import VisionTask
        from stages.segment.backends.person import MIN_PROBABILITY, WEIGHTS

        task = VisionTask(lambda vision: _person_task(vision, str(registry.path(WEIGHTS))), lambda result: True, None)

        def detect_person(image: Image) -> np.ndarray | None:
            masks: Sequence[Any] = task(image).segmentation_masks or ()
            return masks[0].numpy_view().reshape(1, *image.shape[:2]) > MIN_PROBABILITY if len(masks) == 1 else None

        return detect_person
    from stages.segment.extract import most_probable_labels

    open_labeller: Callable[..., Any] = Backends("segment").require(name).open("cpu")
    labeller = open_labeller(None)
    ids = np.arange(len(labeller.table.names))[:, None, None]
    return lambda image: most_probable_labels(labeller(image), image.shape[1], image.shape[0]) == ids


def _person_task(vision: Any, weights: str) -> Any:
    from mediapipe.tasks.python import BaseOptions

    mode, base = vision.RunningMode.IMAGE, BaseOptions(model_asset_path=weights)
    return vision.PoseLandmarker.create_from_options(
        vision.PoseLandmarkerOptions(base_options=base, running_mode=mode, num_poses=6, output_segmentation_masks=True)
    )


def measurer(backend: str) -> Callable[[Image, Copy], np.ndarray | None]:
    """A function that measures the shift in a copy of an image. backend: KIND/NAME."""
    kind, name = backend.split("/")
    if kind == "segment":
        detect = mask_detector(name)
        return lambda image, copy: shift_of_masks(detect, image, copy)
    detect, mirror = (face_detector(name), landmarks.MIRROR) if kind == "landmarks" else (body_detector(name), poses.MIRROR)
    return lambda image, copy: shift_of_points(detect, image, copy, mirror)


def images(videos: Sequence[Path], frames: int, side: int) -> Iterator[Image]:
    """Frames spread over each video, reduced so that the longer side has at most `side` pixels."""
    for video in videos:
        count = probe(video).num_frames
        for index in np.linspace(0, count - 1, frames + 2).astype(int)[1:-1]:
            image = next(iter(read_frames(video, int(index), int(index) + 1)))
            scale = min(1.0, side / max(image.shape[:2]))
            size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
            yield np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--frames", type=int, default=3, help="images of each video")
    parser.add_argument("--side", type=int, default=400, help="images are reduced to at most this many pixels on the longer side")
    parser.add_argument("--backend", action="append", required=True, help="landmarks/mediapipe, poses/small, segment/person, ...")
    parser.add_argument(
        "--copy", action="append", choices=list(COPIES), help=f"default: {', '.join(UPRIGHT)}, because detectors expect upright heads"
    )
    arguments = parser.parse_args()
    pictures = list(images(arguments.videos, arguments.frames, arguments.side))
    rows, goals = [], {}
    for backend in arguments.backend:
        measure = measurer(backend)
        for name in arguments.copy or UPRIGHT:
            shifts = np.array([found for image in pictures if (found := measure(image, COPIES[name])) is not None])
            if len(shifts) < 3:
                continue
            mean, error = shifts.mean(0), float((shifts.std(0) / len(shifts) ** 0.5).max())
            rows.append(
                {"backend": backend, "copy": name, "pictures": str(len(shifts)), "dx": float(mean[0]), "dy": float(mean[1]), "+-": error}
            )
            print(*rows[-1].values(), file=sys.stderr)
            shift = float(np.abs(mean).max())
            goals[f"{backend} {name}"] = (shift, GOAL, shift < GOAL)
    report("correspondence", rows, goals)


if __name__ == "__main__":
    main()

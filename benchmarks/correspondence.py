"""Whether what a detector finds moves with the image: in mirrored, doubled, padded and turned copies, by the mean shift.

    python benchmarks/correspondence.py VIDEO... [--frames 3] [--side 400] [--backend landmarks/dlib ...]

A pixel at (x, y) lies at (W - 1 - x, y) in the mirrored copy, at (2 x + 0.5, 2 y + 0.5) in the doubled one, where it is the mean of four,
at (x + left, y + top) in the padded one, at (y, W - 1 - x) in the one turned to the left. Each point that is found in an image is taken
there and compared with what is found in the copy. dx and dy are means over the images, in pixels of the copy, and `+-` is the larger of
their standard errors: the noise of a detector averages out, a wrong half pixel does not. Goal: less than half a pixel.

Masks and label maps are compared by the shift that explains the difference of their blurred edges best (Lucas and Kanade 1981).
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
"""Pixels of padding, in which the border of the image is repeated."""
MIN_CONFIDENCE = 0.5
MIN_POINTS = 8
BLUR = 4.0
"""Standard deviation, in pixels, of the blur under which masks are compared."""
STREET = 480
"""The width at which streets are labelled: copies of images that wide are not scaled on the way."""

Image = np.ndarray
Find = Callable[[Image], "np.ndarray | None"]
"""uint8 RGB [H, W, 3] -> the points [N, 3] of the only subject, or masks, bool [L, H, W]; None where there is no single subject."""


@dataclass(frozen=True)
class Copy:
    """make: of an image [H, W(, C)]; place: x, y, W, H -> x and y in the copy."""

    make: Callable[[Image], Image]
    place: Callable[..., tuple[np.ndarray, np.ndarray]]
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
"""The last three are turned by 90, 180 and 270 degrees against the clock."""
UPRIGHT = ("mirrored", "doubled", "padded")


def shift_of_points(find: Find, image: Image, copy: Copy, mirror: np.ndarray) -> np.ndarray | None:
    """The mean of (found in the copy) - (found in the image, taken there), [2]; `mirror` puts points of a mirrored image in order."""
    before, after = find(image), find(np.ascontiguousarray(copy.make(image)))
    if before is None or after is None:
        return None
    after = after[mirror] if copy.mirrored else after
    both = (before[:, 2] > MIN_CONFIDENCE) & (after[:, 2] > MIN_CONFIDENCE)
    if both.sum() < MIN_POINTS:
        return None
    expected = np.stack(copy.place(before[:, 0], before[:, 1], image.shape[1], image.shape[0]), 1)
    apart = np.linalg.norm(after[:, :2] - expected, axis=1)
    both &= apart <= 3 * np.median(apart[both])  # an arm that is taken for the other one says nothing of pixels
    return (after[:, :2] - expected)[both].mean(0)


def shift_of_masks(find: Find, image: Image, copy: Copy) -> np.ndarray | None:
    """The same of masks [L, H, W]."""
    before, after = find(image), find(np.ascontiguousarray(copy.make(image)))
    if before is None or after is None:
        return None
    pairs = [(copy.make(one.astype(np.float32)), other.astype(np.float32)) for one, other in zip(before, after, strict=True)]
    return shift_between([(_blurred(one), _blurred(other)) for one, other in pairs])


def _blurred(mask: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(np.ascontiguousarray(mask), (0, 0), BLUR), np.float32)


def shift_between(pairs: Sequence[tuple[Image, Image]]) -> np.ndarray | None:
    """The d for which other(x) = one(x - d) holds best in all pairs of smooth images [H, W]."""
    system, right = np.zeros((2, 2)), np.zeros(2)
    for one, other in pairs:
        slope = np.stack(np.gradient((one + other) / 2)[::-1], -1)[16:-16, 16:-16].reshape(-1, 2)  # the image's border is no edge
        system += slope.T @ slope
        right += slope.T @ (one - other)[16:-16, 16:-16].ravel()
    return np.linalg.solve(system, right) if np.linalg.cond(system) < 1e6 else None


def face_finder(name: str) -> Find:
    from stages.extract_sketch.backends.dlib import DlibFaces
    from stages.extract_sketch.backends.mediapipe import MediapipeFaces

    weights = str(registry.path(Backends("landmarks").get(name).weights[0]))
    if name == "mediapipe":
        detect = MediapipeFaces(weights, "image")
        return lambda image: faces[0].points[:68] if len(faces := detect(image)) == 1 else None
    return lambda image: _certain(faces[0].points) if len(faces := DlibFaces(weights)(image)) == 1 else None


def _certain(points: np.ndarray) -> np.ndarray:
    """dlib has one confidence for the whole face."""
    return np.where([True, True, False], points, 1.0)


def body_finder(name: str) -> Find:
    from stages.extract_poses.backends.mediapipe import MediapipePoses
    from stages.extract_poses.backends.small import SmallPoses

    weights = registry.path(Backends("poses").get(name).weights[0])
    if name == "mediapipe":
        detect = MediapipePoses(str(weights), "image")
        return lambda image: people[0].points if len(people := detect(image)) == 1 else None
    network = SmallPoses(weights, "cpu")

    def find(image: Image) -> np.ndarray | None:
        network._window = None  # every image is the first one
        return people[0].points if (people := network(image)) else None

    return find


def mask_finder(name: str) -> Find:
    if name == "person":
        from stages.mediapipe_task import VisionTask
        from stages.segment.backends.person import MIN_PROBABILITY, WEIGHTS

        task = VisionTask(lambda vision: _person_task(vision, str(registry.path(WEIGHTS))), lambda result: True, None)

        def find(image: Image) -> np.ndarray | None:
            masks: Sequence[Any] = task(image).segmentation_masks or ()
            return masks[0].numpy_view().reshape(1, *image.shape[:2]) > MIN_PROBABILITY if len(masks) == 1 else None

        return find
    from stages.segment.extract import most_probable_labels

    open_labeller: Callable[..., Any] = Backends("segment").require(name).open("cpu")
    labeller = open_labeller(None)
    count = np.arange(len(labeller.table.names))[:, None, None]
    return lambda image: most_probable_labels(labeller(image), image.shape[1], image.shape[0]) == count


def _person_task(vision: Any, weights: str) -> Any:
    from mediapipe.tasks.python import BaseOptions

    mode, base = vision.RunningMode.IMAGE, BaseOptions(model_asset_path=weights)
    return vision.PoseLandmarker.create_from_options(
        vision.PoseLandmarkerOptions(base_options=base, running_mode=mode, num_poses=6, output_segmentation_masks=True)
    )


def measurer(backend: str) -> Callable[[Image, Copy], np.ndarray | None]:
    """kind/name of a backend -> the shift in a copy of an image."""
    kind, name = backend.split("/")
    if kind == "segment":
        find = mask_finder(name)
        return lambda image, copy: shift_of_masks(find, image, copy)
    find, mirror = (face_finder(name), landmarks.MIRROR) if kind == "landmarks" else (body_finder(name), poses.MIRROR)
    return lambda image, copy: shift_of_points(find, image, copy, mirror)


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
    parser.add_argument("--side", type=int, default=400, help="pixels of the longer side at most")
    parser.add_argument("--backend", action="append", required=True, help="landmarks/mediapipe, poses/small, segment/person, ...")
    parser.add_argument("--copy", action="append", choices=list(COPIES), help=f"default: {', '.join(UPRIGHT)}; detectors want heads up")
    arguments = parser.parse_args()
    shown = list(images(arguments.videos, arguments.frames, arguments.side))
    rows, goals = [], {}
    for backend in arguments.backend:
        measure = measurer(backend)
        for name in arguments.copy or UPRIGHT:
            shifts = np.array([shift for image in shown if (shift := measure(image, COPIES[name])) is not None])
            if len(shifts) < 3:
                continue
            mean, error = shifts.mean(0), float((shifts.std(0) / len(shifts) ** 0.5).max())
            rows.append(
                {"backend": backend, "copy": name, "pictures": str(len(shifts)), "dx": float(mean[0]), "dy": float(mean[1]), "+-": error}
            )
            print(*rows[-1].values(), file=sys.stderr)
            most = float(np.abs(mean).max())
            goals[f"{backend} {name}"] = (most, GOAL, most < GOAL)
    report("correspondence", rows, goals)


if __name__ == "__main__":
    main()

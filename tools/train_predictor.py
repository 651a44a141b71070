"""Trains the shipped 68-point predictor of the dlib backend: `python tools/train_predictor.py --help`.

The targets are the landmarks of the MediaPipe backend in the frames of clips whose licence permits training. The boxes are those of dlib's
detector, as at inference, or random ones. Each face is also shown mirrored and rotated. The people in tools/held_out_people.py are left
out; the table that is printed at the end contains the error on them.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import dlib
import held_out_people
import numpy as np
from compact_predictor import compact
from numpy.typing import NDArray

from stages.clip import probe, read_frames
from stages.conditions.landmarks import LANDMARKS, MIRROR, eye_distance
from stages.extract_sketch.backends.dlib import DlibFaces, rectangle_of
from stages.extract_sketch.backends.mediapipe import MediapipeFaces
from stages.extract_sketch.faces import Face
from stages.extract_sketch.patches import SIDE, Square, cut_patch, square_of_points
from weights import registry

log = logging.getLogger("train_predictor")


@dataclass(frozen=True)
class Recipe:
    """How the predictor is trained. Its file has about cascades * trees * 2**depth * 560 bytes.

    views: each labelled frame is used once for each of these largest rotations, in degrees; stretch, gamma: standard deviations of the
    logarithms of the random stretch and gamma. The other fields are options of dlib.
    """

    frames_per_clip: int = 56
    views: tuple[float, ...] = (4.0, 8.0, 25.0)
    cascades: int = 12
    trees: int = 215
    depth: int = 3
    features: int = 500
    padding: float = 0.15
    oversampling: int = 8
    nu: float = 0.1
    test_splits: int = 30
    stretch: float = 0.05
    gamma: float = 0.25
    seed: int = 20191028


@dataclass(frozen=True)
class Sample:
    """grey: the patch, uint8 [SIDE, SIDE]; points: the landmarks [68, 2] in it; box: a dlib rectangle."""

    grey: NDArray[np.uint8]
    points: NDArray[np.float32]
    box: Any


def clips_of(data: Path) -> Iterator[tuple[str, Path]]:
    """(person, file) of each face clip whose licence permits training shipped weights."""
    with open(data / "SOURCES.tsv", newline="", encoding="utf-8") as table:
        for row in csv.DictReader(table, delimiter="\t"):
            if row["file"].startswith("faces/") and row["may_train_shipped_weights"] == "yes":
                yield row["person"], data / row["file"]


def labelled_frames(video: Path, count: int) -> Iterator[tuple[NDArray[np.uint8], Face]]:
    """About `count` frames at even distances in `video`, each with the largest face that MediaPipe detects in it."""
    detector = MediapipeFaces(str(registry.path("face_landmarker.task")))
    step = max(1, (probe(video).num_frames or count) // count)
    for index, frame in enumerate(read_frames(video, 0, None)):
        faces = detector(frame)
        if faces and index % step == 0:
            largest = max(faces, key=lambda face: face.size)
            yield frame, Face(largest.box, largest.points[:LANDMARKS])


def _deform(
    frame: NDArray[np.uint8], points: NDArray[np.float32], degrees: float, stretch: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Rotate the frame and the points [68, 2] around the face, and make the face wider or narrower, like that of another person."""
    square = square_of_points(points)
    matrix = np.asarray(cv2.getRotationMatrix2D((square.x, square.y), degrees, 1.0), np.float32)
    matrix[:, :2] *= np.exp([stretch, -stretch])
    matrix[:, 2] = np.array([square.x, square.y]) - matrix[:, :2] @ [square.x, square.y]
    height, width = frame.shape[:2]
    deformed = cv2.warpAffine(frame, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(deformed, np.uint8), points @ matrix[:, :2].T + matrix[:, 2]


def _change_gamma(grey: NDArray[np.uint8], gamma: float) -> NDArray[np.uint8]:
    return np.asarray(255 * (grey / 255) ** gamma, np.uint8)


def _mirror(grey: NDArray[np.uint8], points: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    return np.ascontiguousarray(grey[:, ::-1]), (np.array([SIDE - 1, 0]) + points[MIRROR] * np.array([-1, 1])).astype(np.float32)


def _jitter(square: Square, random: np.random.Generator) -> Square:
    """A square with a random shift and scale."""
    x, y, scale = random.normal(size=3)
    return replace(
        square, x=square.x + 0.05 * square.side * x, y=square.y + 0.05 * square.side * y, side=square.side * float(np.exp(0.08 * scale))
    )


def _choose_box(grey: NDArray[np.uint8], points: NDArray[np.float32], random: np.random.Generator, detector: Any) -> Any:
    """The box of dlib's detector in half of the cases in which it finds the face, else a random one."""
    truth = square_of_points(points)
    if random.random() < 0.5:
        for box in detector(grey, 0):
            if abs(box.center().x - truth.x) + abs(box.center().y - truth.y) < truth.side / 3:
                return box
    return rectangle_of(_jitter(truth, random))


def samples_of(video: Path, recipe: Recipe, random: np.random.Generator, detector: Any) -> Iterator[Sample]:
    """Two samples for each labelled frame and each entry of `recipe.views`: one as it is and one mirrored."""
    for frame, face in labelled_frames(video, recipe.frames_per_clip):
        for max_degrees in recipe.views:
            degrees, stretch = random.uniform(-max_degrees, max_degrees), recipe.stretch * random.normal()
            deformed, target = _deform(frame, face.points[:, :2], degrees, stretch)
            patch = cut_patch(deformed, _jitter(square_of_points(target), random))
            points = patch.to_patch(target)
            image = _change_gamma(patch.grey, float(np.exp(recipe.gamma * random.normal())))
            for grey, truth in ((image, points), _mirror(image, points)):
                yield Sample(grey, truth, _choose_box(grey, truth, random, detector))


def _dlib_detection(sample: Sample) -> Any:
    return dlib.full_object_detection(sample.box, [dlib.point(round(float(x)), round(float(y))) for x, y in sample.points])


def train(samples: list[Sample], recipe: Recipe, out: Path) -> None:
    """Train the predictor on one thread, so that the result is reproducible, and write it to `out`."""
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.num_trees_per_cascade_level, options.tree_depth = recipe.cascades, recipe.trees, recipe.depth
    options.feature_pool_size, options.num_test_splits = recipe.features, recipe.test_splits
    options.oversampling_amount, options.nu = recipe.oversampling, recipe.nu
    options.feature_pool_region_padding = recipe.padding
    options.random_seed, options.num_threads, options.be_verbose = str(recipe.seed), 1, False
    predictor = dlib.train_shape_predictor([s.grey for s in samples], [[_dlib_detection(s)] for s in samples], options)
    partial = out.with_name(f".{out.name}.tmp")
    predictor.save(str(partial))
    partial.write_bytes(compact(partial.read_bytes()))
    partial.replace(out)


def measure(video: Path, weights: Path, recipe: Recipe) -> tuple[list[float], int]:
    """(errors, number of frames in which dlib detected no face).

    An error is the mean distance of a frame's landmarks from those of MediaPipe, in units of the distance between the eye centres.
    """
    errors, missed = [], 0
    for frame, face in labelled_frames(video, recipe.frames_per_clip):
        detections = DlibFaces(str(weights))(frame)
        if not detections:
            missed += 1
            continue
        scale = eye_distance(face.points)
        distances = [np.linalg.norm(other.points[:, :2] - face.points[:, :2], axis=1).mean() / scale for other in detections]
        errors.append(float(min(distances)))
    return errors, missed


def report(data: Path, weights: Path, recipe: Recipe) -> dict[str, Any]:
    """The table of errors on the held-out people, for JSON."""
    rows: list[dict[str, Any]] = []
    all_errors: list[float] = []
    for person, video in clips_of(data):
        if person in held_out_people.FACES:
            errors, missed = measure(video, weights, recipe)
            all_errors += errors
            median = round(100 * float(np.median(errors)), 2) if errors else None
            rows.append({"person": person, "clip": video.stem, "frames": len(errors), "missed": missed, "median_percent": median})
    percent = (100 * np.percentile(all_errors, [25, 50, 75, 95])).round(2).tolist()
    quantiles = dict(zip(("p25", "median", "p75", "p95"), percent, strict=True))
    return {"overall_percent": quantiles, "bytes": weights.stat().st_size, "clips": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with SOURCES.tsv and faces/")
    parser.add_argument("--out", type=Path, default=Path("weights/face_68_fsv2v.dat"))
    parser.add_argument("--measure-only", action="store_true", help="only measure --out on the held-out people")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = Recipe()
    if not arguments.measure_only:
        random, detector = np.random.default_rng(recipe.seed), dlib.get_frontal_face_detector()
        samples: list[Sample] = []
        for person, video in clips_of(arguments.data):
            if person not in held_out_people.FACES:
                samples += samples_of(video, recipe, random, detector)
                log.info("%s: %d samples so far", video.name, len(samples))
        train(samples, recipe, arguments.out)
    sys.stdout.write(json.dumps(report(arguments.data, arguments.out, recipe), indent=1) + "\n")


if __name__ == "__main__":
    main()

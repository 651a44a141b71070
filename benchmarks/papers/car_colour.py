"""Does a car keep its colour? The deviation over time of each instance's mean colour, in results and in the drawn drives themselves.

    fsv2v synthesize --model runs/street --driving data/streets/drive-0112.clip --appearance sample:1 -o out/drive-0112.clip
    python benchmarks/papers/car_colour.py --drives data/streets --results out [--label car]

A result is a clip or video with the name of the drive that drove it. Where an instance is in a frame is known from the drawn truth; its
colour is the mean of these pixels, and its deviation is the root mean square distance, in grey levels of RGB, from its own mean over time.
A real car deviates, too: its shaded side turns to the camera, it comes nearer, it is hidden in part. The figure is therefore the mean
deviation of all instances in the results relative to that in the real frames, at the results' size. Goal: 1.5.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np
from commands import sentences
from numpy.typing import NDArray

from stages.clip import Clip, open_clip, read_frames
from stages.conditions.labels import LabelLayer
from stages.conditions.view import View
from stages.errors import InputError

GOAL = 1.5
MIN_PIXELS = 16
"""An instance counts in the frames that show at least this number of its pixels, at the size of the result."""
MIN_FRAMES = 5
"""Instances that fewer frames show are left out."""
VIDEOS = (".mp4", ".mkv", ".mov")


@dataclass(frozen=True)
class Deviation:
    """Of one instance, in grey levels."""

    number: int
    frames: int
    result: float
    real: float


def deviations(result: Iterator[NDArray[np.uint8]], drive: Clip, label: str = "car") -> list[Deviation]:
    """The instances of a label in a drive with the layers frames, segment and instances.

    result: a frame of any size for each of the drive's.

    Raises InputError for a drive without these layers or the label, and for a result of another length.
    """
    if missing := [layer for layer in ("frames", "segment", "instances") if not drive.has(layer)]:
        raise InputError(f"{drive.path} has no layer {missing[0]}")
    labels, instances = LabelLayer(drive.layer("segment"), drive.path), drive.layer("instances")
    if label not in labels.names:
        raise InputError(f"the labels of {drive.path} have no {label}, only {', '.join(labels.names)}")
    wanted = labels.names.index(label)
    colours: dict[int, list[NDArray[np.float64]]] = {}
    for index, (made, real) in enumerate(zip_longest(result, drive.frames())):
        if made is None or real is None:
            raise InputError(f"the result has not the {drive.num_frames} frames of {drive.path}")
        view = View.scaled(drive.height, drive.width, *made.shape[:2])
        ids, numbers = (view.image(image, cv2.INTER_NEAREST) for image in (labels.image(index), instances.image(index)))
        for number, pair in _mean_colours(np.where(ids == wanted, numbers, 0), (made, view.image(real))):
            colours.setdefault(number, []).append(pair)
    return [
        Deviation(number, len(pairs), *(float(value) for value in spread(np.stack(pairs))))
        for number, pairs in sorted(colours.items())
        if len(pairs) >= MIN_FRAMES
    ]


def _mean_colours(
    numbers: NDArray[np.uint8], images: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Each instance but 0 with its mean colour in both images, [2, 3]."""
    for number in np.unique(numbers[numbers > 0]).tolist():
        there = numbers == number
        if there.sum() >= MIN_PIXELS:
            yield number, np.stack([image[there].mean(0, dtype=np.float64) for image in images])


def spread(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours over time [T, ..., 3] -> root mean square distance from their mean, [...]."""
    return np.asarray(np.sqrt(np.square(colours - colours.mean(0)).sum(-1).mean(0)))


def main() -> None:
    options = _options()
    found = {path.stem: deviations(frames, drive, options.label) for path, frames, drive in _pairs(options.results, options.drives)}
    every = [one for each in found.values() for one in each]
    if not every:
        raise InputError(f"no {options.label} is seen in {MIN_FRAMES} frames of any drive")
    result, real = (float(np.mean([getattr(one, name) for one in every])) for name in ("result", "real"))
    print(json.dumps({"benchmark": "car_colour", "instances": len(every), "result": result, "real": real, "ratio": result / real}))
    for name, each in found.items():
        for one in each:
            print(f"{name} {options.label} {one.number}: {one.frames} frames, {one.result:.2f} grey levels, real {one.real:.2f}")
    verdict = "met" if result / real <= GOAL else "MISSED"
    print(f"{len(every)} instances: {result:.2f} grey levels, real {real:.2f}, ratio {result / real:.2f}, goal {GOAL}: {verdict}")


def _pairs(results: Path, drives: Path) -> Iterator[tuple[Path, Iterator[NDArray[np.uint8]], Clip]]:
    """Each result of a folder, its frames, and the drive of its name."""
    chosen = sorted(path for path in results.iterdir() if path.suffix in (*VIDEOS, ".clip"))
    if not chosen:
        raise InputError(f"{results} has neither clips nor videos")
    for path in chosen:
        frames = read_frames(path) if path.suffix in VIDEOS else open_clip(path).frames()
        yield path, frames, open_clip(drives / f"{path.stem}.clip")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drives", type=Path, required=True, help="a folder of drives.py, with the layers segment and instances")
    parser.add_argument("--results", type=Path, required=True, help="a folder of clips or videos with the names of drives")
    parser.add_argument("--label", default="car")
    return parser.parse_args()


if __name__ == "__main__":
    sentences(main)

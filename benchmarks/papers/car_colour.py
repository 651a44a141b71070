"""Whether cars keep their colour: how much the mean colour of each instance deviates over time, in results and in the rendered drives.

    fsv2v synthesize --model runs/street --driving data/streets/drive-0112.clip --appearance sample:1 -o out/drive-0112.clip
    python benchmarks/papers/car_colour.py --drives data/streets --results out [--label car]

A result is a clip or video synthesized from the label maps of a drive, and has the name of that drive. The pixels of an instance are known
from the drive. Its colour in a frame is their mean, and its deviation is the root mean square distance of these colours from their mean
over time, in grey levels. The colour of a car in the real frames deviates, too: the car turns its shaded side to the camera, comes nearer
or is partly hidden. The figure is therefore the ratio of the mean deviation in the results to that in the real frames, at the size of the
results. Goal: at most 1.5.
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
from commands import run_script
from numpy.typing import NDArray

from stages.clip import Clip, open_clip, read_frames
from stages.conditions.labels import LabelLayer
from stages.conditions.view import View
from stages.errors import InputError

GOAL = 1.5
MIN_PIXELS = 16
"""An instance counts in frames that show at least this number of its pixels, at the size of the result."""
MIN_FRAMES = 5
"""Instances that count in fewer frames are left out."""
VIDEOS = (".mp4", ".mkv", ".mov")


@dataclass(frozen=True)
class Deviation:
    """The deviation of one instance in the result and in the real frames, in grey levels."""

    number: int
    frames: int
    result: float
    real: float


def deviations(result: Iterator[NDArray[np.uint8]], drive: Clip, label: str = "car") -> list[Deviation]:
    """The deviations of a label's instances in a drive with the layers frames, segment and instances.

    result: one frame of any size for each frame of the drive.

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
            raise InputError(f"the result and {drive.path} have different numbers of frames; the drive has {drive.num_frames}")
        view = View.scaled(drive.height, drive.width, *made.shape[:2])
        label_ids, instance_ids = (view.image(image, cv2.INTER_NEAREST) for image in (labels.image(index), instances.image(index)))
        for number, pair in _mean_colours(np.where(label_ids == wanted, instance_ids, 0), (made, view.image(real))):
            colours.setdefault(number, []).append(pair)
    return [
        Deviation(number, len(pairs), *(float(value) for value in rms_from_mean(np.stack(pairs))))
        for number, pairs in sorted(colours.items())
        if len(pairs) >= MIN_FRAMES
    ]


def _mean_colours(
    instances: NDArray[np.uint8], images: tuple[NDArray[np.uint8], NDArray[np.uint8]]
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """The number of each instance (0 is none) with at least MIN_PIXELS pixels, and its mean colours in both images, [2, 3]."""
    for number in np.unique(instances[instances > 0]).tolist():
        pixels = instances == number
        if pixels.sum() >= MIN_PIXELS:
            yield number, np.stack([image[pixels].mean(0, dtype=np.float64) for image in images])


def rms_from_mean(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours over time [T, ..., 3] -> root mean square distance from their mean, [...]."""
    return np.asarray(np.sqrt(np.square(colours - colours.mean(0)).sum(-1).mean(0)))


def main() -> None:
    options = _options()
    found = {path.stem: deviations(frames, drive, options.label) for path, frames, drive in _pairs(options.results, options.drives)}
    instances = [instance for group in found.values() for instance in group]
    if not instances:
        raise InputError(f"no {options.label} is visible in at least {MIN_FRAMES} frames of a drive")
    result, real = (float(np.mean([getattr(instance, name) for instance in instances])) for name in ("result", "real"))
    print(json.dumps({"benchmark": "car_colour", "instances": len(instances), "result": result, "real": real, "ratio": result / real}))
    for name, group in found.items():
        for instance in group:
            figures = f"{instance.result:.2f} grey levels, real {instance.real:.2f}"
            print(f"{name} {options.label} {instance.number}: {instance.frames} frames, {figures}")
    verdict = "met" if result / real <= GOAL else "MISSED"
    print(f"{len(instances)} instances: {result:.2f} grey levels, real {real:.2f}, ratio {result / real:.2f}, goal {GOAL}: {verdict}")


def _pairs(results: Path, drives: Path) -> Iterator[tuple[Path, Iterator[NDArray[np.uint8]], Clip]]:
    """The path and frames of each result in a folder, and the drive of the same name."""
    paths = sorted(path for path in results.iterdir() if path.suffix in (*VIDEOS, ".clip"))
    if not paths:
        raise InputError(f"{results} contains neither clips nor videos")
    for path in paths:
        frames = read_frames(path) if path.suffix in VIDEOS else open_clip(path).frames()
        yield path, frames, open_clip(drives / f"{path.stem}.clip")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drives", type=Path, required=True, help="folder of clips made by drives.py")
    parser.add_argument("--results", type=Path, required=True, help="folder of clips or videos with the names of the drives")
    parser.add_argument("--label", default="car")
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)

"""CamVid in the version of SegNet's tutorial: 480 x 360, eleven classes and void.

    ROOT/
      train/DRIVE_FRAME.png             0016E5_07961.png, 0006R0_f00930.png: drive, number of the frame at 30 per second
      trainannot/DRIVE_FRAME.png        label ids 0 sky ... 10 bicyclist, 11 void        -> segment
      val/ valannot/ test/ testannot/   the same

Most drives have one labelled frame per second (steps of 30 in the number), a part of 0016E5 has 15 (steps of 2). A clip is a run of frames
of one drive without a gap, named like train-0016E5_00390. Its rate is 30 / step; if steps vary, it stores the times of frames.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from stages.clip.datasets.recording import Layout, Recording, common_step, consecutive_runs, images_in, matching_files, timing
from stages.clip.images import add_frame
from stages.errors import InputError

RATE = 30
"""By how much the frame number grows per second."""
_SPLITS = ("train", "val", "test")
_NAME = re.compile(r"(.+)_f?(\d+)")


def _recognises(root: Path) -> bool:
    return any((root / split).is_dir() and (root / f"{split}annot").is_dir() for split in _SPLITS)


def _recordings(root: Path) -> Iterator[Recording]:
    for split in _SPLITS:
        for drive in _drives(root / split):
            yield from _runs(drive, split, root / f"{split}annot")


def _drives(folder: Path) -> list[dict[int, Path]]:
    """Frame number -> image for each drive."""
    drives: dict[str, dict[int, Path]] = defaultdict(dict)
    for image in images_in(folder):
        match = _NAME.fullmatch(image.stem)
        if match is None:
            raise InputError(f"{image} is not named DRIVE_FRAME as CamVid's images are")
        add_frame(drives[match[1]], int(match[2]), image)
    return list(drives.values())


def _runs(drive: dict[int, Path], split: str, annotations: Path) -> Iterator[Recording]:
    numbers = sorted(drive)
    for run in consecutive_runs(numbers):
        images = tuple(drive[number] for number in numbers[run])
        layers = {"segment": matching_files(images, annotations)} if annotations.is_dir() else {}
        fps, timestamps = timing(numbers[run], RATE, common_step(numbers))
        yield Recording(f"{split}-{images[0].stem}", images, layers, fps, timestamps, labels="camvid")


LAYOUT = Layout("camvid", _recognises, _recordings)

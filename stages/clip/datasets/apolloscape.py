"""ApolloScape's scene parsing set: streets of Chinese cities, 3384 x 2710, labelled frame by frame.

    ROOT/                                                        ROOT may also be one of the roads
      road01_ins/                                                also road01_seg/ and so on
        ColorImage/Record001/Camera 5/170908_061502408_Camera_5.jpg
        Label/Record001/Camera 5/170908_061502408_Camera_5_bin.png            label ids                -> segment
                                 170908_061502408_Camera_5_instanceIds.png    not imported, like .json: an instance has another
                                                                              number in each frame

The name of an image is its date and time, to the millisecond. Frames are unevenly spaced, so clips store their times, and the frame rate is
the mean. A clip has successive frames of one record and camera, all of them labelled or none, with gaps of at most two seconds, and the
name road01_ins-Record001-FIRSTFRAME. Label ids become indices of the table `apolloscape`; ids that it does not have become void.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby
from pathlib import Path

from stages.clip.datasets.recording import Layout, Recording, consecutive_runs, folders_in, images_in, timing
from stages.clip.images import add_frame
from stages.errors import InputError

_IMAGE_FOLDER = "ColorImage"
_LONGEST_GAP = 2000
"""Longest time between two frames of a clip, in milliseconds."""
_NAME = re.compile(r"(\d{6}_\d{9})_Camera_(\d+)")

Frames = dict[int, Path]
"""Time in milliseconds -> image."""


def _recognises(root: Path) -> bool:
    return bool(_roads(root))


def _roads(root: Path) -> list[Path]:
    return [road for road in (root, *folders_in(root)) if (road / _IMAGE_FOLDER).is_dir()]


def _recordings(root: Path) -> Iterator[Recording]:
    for road in _roads(root):
        for record in folders_in(road / _IMAGE_FOLDER):
            for folder in (record, *folders_in(record)):
                labels = road / "Label" / folder.relative_to(road / _IMAGE_FOLDER)
                for camera in _cameras(folder):
                    yield from _runs(camera, f"{road.resolve().name}-{record.name}", labels)


def _cameras(folder: Path) -> list[Frames]:
    cameras: dict[str, Frames] = defaultdict(dict)
    for image in images_in(folder):
        match = _NAME.fullmatch(image.stem)
        if match is None:
            raise InputError(f"{image} is not named DATE_TIME_Camera_N as ApolloScape's images are")
        add_frame(cameras[match[2]], _milliseconds(image, match[1]), image)
    return list(cameras.values())


def _milliseconds(image: Path, stamp: str) -> int:
    try:
        time = datetime.strptime(stamp, "%y%m%d_%H%M%S%f")
    except ValueError as error:
        raise InputError(f"{image}: {stamp} is no date and time") from error
    return round((time - datetime(2000, 1, 1)).total_seconds() * 1000)


def _runs(frames: Frames, name: str, labels: Path) -> Iterator[Recording]:
    for labelled, group in groupby(sorted(frames), lambda time: _label(frames[time], labels).is_file()):
        stamps = list(group)
        for run in consecutive_runs(stamps, _LONGEST_GAP):
            images = tuple(frames[time] for time in stamps[run])
            layers = {"segment": tuple(_label(image, labels) for image in images)} if labelled else {}
            fps, timestamps = timing(stamps[run], 1000, 1000)
            yield Recording(f"{name}-{images[0].stem}", images, layers, fps, timestamps, labels="apolloscape")


def _label(image: Path, labels: Path) -> Path:
    return labels / f"{image.stem}_bin.png"


LAYOUT = Layout("apolloscape", _recognises, _recordings)

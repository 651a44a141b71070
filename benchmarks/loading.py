"""How fast training reads its windows: frames per second and core of a packed dataset, against bare decoding of the same JPEGs.

    python benchmarks/loading.py --data DATASET [--windows 60] [--frames 8]

DATASET was made by build-dataset with --store copy or pack; clips that are not packed are packed for the trial. Windows are random, their
frames 256x256 or of as many pixels as that (goals count pixels). Each row does what the row before does, and more; one thread, time of the
processor, the best of several rounds in which the rows take turns. Goals: 600 decoded frames, and 0.8 of the bare decoder's speed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from measuring import report

from stages.clip import open_clip
from stages.clip.pack import pack
from stages.conditions.dataset_files import read_index
from stages.train.augment import draw_colours, draw_view
from stages.train.dataset_clip import DatasetClip, check_kind

FRAMES_PER_SECOND, OF_BARE = 600.0, 0.8
ROUNDS = 5
Window = tuple[DatasetClip, list[int]]


def windows_of(data: Path, kind: str, packed: Path, count: int, frames: int) -> list[Window]:
    """Random windows of the packed clips of a dataset."""
    draw, rows = np.random.default_rng(0), read_index(data)
    long = [row for row in rows if row["num_frames"] >= frames and "crops" not in row]
    chosen = [long[draw.integers(len(long))] for _ in range(count)]
    opened = {row["id"]: DatasetClip(packed, {**row, "clip": _packed(data / row["clip"], packed)}, kind) for row in chosen}
    windows = []
    for row in chosen:
        footage = opened[row["id"]]
        start = int(draw.integers(max(1, len(footage.usable) - frames + 1)))
        windows.append((footage, footage.usable[start : start + frames]))
    return windows


def _packed(clip: Path, folder: Path) -> str:
    return str(clip.resolve() if clip.is_file() else pack(clip, folder / f"{clip.stem}.zip"))


def speeds(ways: dict[str, Callable[[], object]], frames: int) -> dict[str, float]:
    """Frames per second of processor time of each way to work through the same frames."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            begun = time.thread_time()
            way()
            best[name] = min(best[name], time.thread_time() - begun)
    return {name: frames / seconds for name, seconds in best.items()}


def ways_to_read(windows: list[Window]) -> dict[str, Callable[[], object]]:
    height, width = windows[0][0].shape
    draw = np.random.default_rng(0)
    view, colours = draw_view(draw, (height, width), height, width, 1.0), draw_colours(draw, 1.0, 0.0)
    stored = [
        np.frombuffer(footage.clip.store.read(f"frames/{footage.clip.layer('frames').entry(index)}"), np.uint8)
        for footage, window in windows
        for index in window
    ]

    def decode() -> None:
        for data in stored:
            cv2.imdecode(data, cv2.IMREAD_COLOR)

    def read() -> None:
        for footage, window in windows:
            for index in window:
                footage.clip.frame(index)

    def look() -> None:
        for footage, window in windows:
            for index in window:
                view.image(footage.clip.frame(index))

    def show() -> None:
        for footage, window in windows:
            footage.samples(window, view, colours, None)

    def reopen() -> None:
        for footage, window in windows:
            clip = open_clip(footage.path)
            for index in window:
                clip.frame(index)

    return {
        "cv2.imdecode of the same bytes": decode,
        "frames of packed clips": read,
        "each window's clip opened anew": reopen,
        "frames through a view": look,
        "with colours and the semantic image": show,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kind", default="landmarks", help="landmarks, poses or segment: what the dataset is of")
    parser.add_argument("--windows", type=int, default=60)
    parser.add_argument("--frames", type=int, default=8)
    arguments = parser.parse_args()
    check_kind(arguments.data, arguments.kind)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        windows = windows_of(arguments.data, arguments.kind, Path(folder), arguments.windows, arguments.frames)
        found = speeds(ways_to_read(windows), sum(len(window) for _, window in windows))
    height, width = windows[0][0].shape
    bare, read = found["cv2.imdecode of the same bytes"], found["frames of packed clips"]
    rows: list[dict[str, float | str]] = [
        {"what": name, "frames per second": speed, "of bare decoding": speed / bare} for name, speed in found.items()
    ]
    pixels = height * width / 256**2
    goals = {
        "256x256 frames per second and core": (read * pixels, FRAMES_PER_SECOND, read * pixels >= FRAMES_PER_SECOND),
        "of bare decoding": (read / bare, OF_BARE, read / bare >= OF_BARE),
    }
    report("loading", rows, goals)


if __name__ == "__main__":
    main()

"""How fast training reads its windows: frames per second of a packed dataset on one core, relative to bare decoding of the same JPEGs.

    python benchmarks/loading.py --data DATASET [--windows 60] [--frames 8]

DATASET was made by build-dataset with --store copy or pack; clips that are not packed are packed first. A window is a random run of
consecutive frames. The baseline only decodes; each other method reads the same frames and does more, as its name says. All run in one
thread. In each round they run one after another, and the CPU time of a method's fastest round counts.

Goals: 600 frames of 256x256 per second (frames of another size count by their pixels), and 0.8 of the bare decoder's speed.
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

MIN_FRAMES_PER_SECOND, MIN_RATIO = 600.0, 0.8
ROUNDS = 5
Window = tuple[DatasetClip, list[int]]
"""A clip, and the indices of its frames in the window."""


def windows_of(data: Path, kind: str, packed: Path, count: int, frames: int) -> list[Window]:
    """`count` random windows of `frames` frames from a dataset. Clips that are not packed are packed into the folder `packed`."""
    rng, rows = np.random.default_rng(0), read_index(data)
    candidates = [row for row in rows if row["num_frames"] >= frames and "crops" not in row]
    chosen = [candidates[rng.integers(len(candidates))] for _ in range(count)]
    clips = {row["id"]: DatasetClip(packed, {**row, "clip": _pack(data / row["clip"], packed)}, kind) for row in chosen}
    windows = []
    for row in chosen:
        clip = clips[row["id"]]
        start = int(rng.integers(max(1, len(clip.usable) - frames + 1)))
        windows.append((clip, clip.usable[start : start + frames]))
    return windows


def _pack(clip: Path, folder: Path) -> str:
    return str(clip.resolve() if clip.is_file() else pack(clip, folder / f"{clip.stem}.zip"))


def speeds(methods: dict[str, Callable[[], object]], frames: int) -> dict[str, float]:
    """Frames per second of CPU time of each method; all process the same `frames` frames."""
    best = dict.fromkeys(methods, float("inf"))
    for _ in range(ROUNDS):
        for name, method in methods.items():
            start = time.thread_time()
            method()
            best[name] = min(best[name], time.thread_time() - start)
    return {name: frames / seconds for name, seconds in best.items()}


def reading_methods(windows: list[Window]) -> dict[str, Callable[[], object]]:
    """name -> a function that reads all frames of the windows."""
    height, width = windows[0][0].shape
    rng = np.random.default_rng(0)
    view, colours = draw_view(rng, (height, width), height, width, 1.0), draw_colours(rng, 1.0, 0.0)
    stored = [
        np.frombuffer(clip.clip.store.read(f"frames/{clip.clip.layer('frames').entry(index)}"), np.uint8)
        for clip, window in windows
        for index in window
    ]

    def decode() -> None:
        for data in stored:
            cv2.imdecode(data, cv2.IMREAD_COLOR)

    def read_frames() -> None:
        for clip, window in windows:
            for index in window:
                clip.clip.frame(index)

    def read_views() -> None:
        for clip, window in windows:
            for index in window:
                view.image(clip.clip.frame(index))

    def read_samples() -> None:
        for clip, window in windows:
            clip.samples(window, view, colours, None)

    def reopen_clips() -> None:
        for clip, window in windows:
            opened = open_clip(clip.path)
            for index in window:
                opened.frame(index)

    return {
        "cv2.imdecode of the same bytes": decode,
        "frames of packed clips": read_frames,
        "clip opened for each window": reopen_clips,
        "frames transformed by a view": read_views,
        "with colour jitter and semantic image": read_samples,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--kind", default="landmarks", help="kind of the dataset: landmarks, poses or segment")
    parser.add_argument("--windows", type=int, default=60, help="number of windows")
    parser.add_argument("--frames", type=int, default=8, help="frames of a window")
    arguments = parser.parse_args()
    check_kind(arguments.data, arguments.kind)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        windows = windows_of(arguments.data, arguments.kind, Path(folder), arguments.windows, arguments.frames)
        rates = speeds(reading_methods(windows), sum(len(window) for _, window in windows))
    height, width = windows[0][0].shape
    bare, read = rates["cv2.imdecode of the same bytes"], rates["frames of packed clips"]
    rows: list[dict[str, float | str]] = [
        {"what": name, "frames per second": speed, "relative to bare decoding": speed / bare} for name, speed in rates.items()
    ]
    pixels = height * width / 256**2
    goals = {
        "frames of 256x256 per second": (read * pixels, MIN_FRAMES_PER_SECOND, read * pixels >= MIN_FRAMES_PER_SECOND),
        "relative to bare decoding": (read / bare, MIN_RATIO, read / bare >= MIN_RATIO),
    }
    report("loading", rows, goals)


if __name__ == "__main__":
    main()

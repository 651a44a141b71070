"""Speed of an extractor relative to its bare backend, the gain from a second process, and the time for tracking and drawing.

    python benchmarks/extract_speed.py VIDEO [--extractor extract-sketch/mediapipe] [--frames 300] [--clips 8]

The baseline of the first ratio is the bare backend, called in a loop on frames that are already decoded. Goal: the stage, which also
decodes, smooths, draws and writes, reaches 0.9 of that speed. The baseline of the second ratio is --jobs 1. Goal: --jobs 2 is 1.7 times as
fast on two cores, including the start of the command. Goal for tracking and drawing one person in a 512x512 frame: less than 2 ms. The bare
loop is timed before and after the stage, and the faster time counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from measuring import fsv2v, loop_video, report

from stages.backends import Backends
from stages.clip import Clip, as_clip, read_frames
from stages.conditions.poses import draw_pose
from stages.tracking.interpolation import fill_gaps
from stages.tracking.smoothing import smooth_tracks
from stages.tracking.tracker import Detections, Subject, box_of_points, follow

BACKEND_GOAL, JOBS_GOAL, TRACKING_GOAL = 0.9, 1.7, 2.0


@dataclass(frozen=True)
class Extractor:
    """An extraction command with one of its backends. kind: the kind of its backends; stage: extracts the layers of a clip."""

    command: str
    kind: str
    backend: str
    stage: Callable[[Clip], object]

    def open(self) -> Callable[[np.ndarray], object]:
        """The bare backend: a function of a frame, uint8 [H, W, 3] RGB."""
        detector = Backends(self.kind).require(self.backend).open("cpu")
        return detector(None) if self.kind == "segment" and self.backend != "person" else detector


def extractors() -> dict[str, Extractor]:
    """The extractors that can be measured, by COMMAND/BACKEND."""
    from stages.extract_poses import PoseOptions
    from stages.extract_poses import extract as poses
    from stages.extract_sketch import SketchOptions
    from stages.extract_sketch import extract as sketch
    from stages.segment import SegmentOptions
    from stages.segment import extract as segment

    def with_sketch(name: str) -> Extractor:
        return Extractor("extract-sketch", "landmarks", name, lambda clip: sketch(clip, SketchOptions(backend=name, device="cpu")))

    def with_poses(name: str) -> Extractor:
        return Extractor("extract-poses", "poses", name, lambda clip: poses(clip, PoseOptions(backend=name, device="cpu")))

    def with_segment(name: str) -> Extractor:
        return Extractor("segment", "segment", name, lambda clip: segment(clip, SegmentOptions(backend=name, device="cpu")))

    variants = [
        *map(with_sketch, ("mediapipe", "dlib")),
        *map(with_poses, ("mediapipe", "small")),
        *map(with_segment, ("street", "person")),
    ]
    return {f"{extractor.command}/{extractor.backend}": extractor for extractor in variants}


def time_backend(video: Path, extractor: Extractor, frames: int) -> float:
    """Seconds that the bare backend takes for the first `frames` frames, including opening it."""
    decoded = list(islice(read_frames(video), frames))
    start = time.perf_counter()
    detect = extractor.open()
    for frame in decoded:
        detect(frame)
    return time.perf_counter() - start


def time_stage(video: Path, extractor: Extractor, folder: Path) -> float:
    """Seconds that the stage takes, in this process, from the video to the finished layers."""
    start = time.perf_counter()
    extractor.stage(as_clip(video, out=folder))
    return time.perf_counter() - start


def time_command(videos: list[Path], extractor: Extractor, folder: Path, jobs: int) -> float:
    """Seconds that the command takes for all videos, including its start."""
    return fsv2v(extractor.command, *videos, "-o", folder, "--backend", extractor.backend, "--jobs", str(jobs), "-q").seconds


def time_tracking(persons: int, frames: int = 300, side: int = 512) -> tuple[float, float]:
    """Milliseconds per frame: for tracking, filling gaps and smoothing `persons` people, and for drawing them on side x side pixels."""
    walk = [[_walker(20 + 60 * person + t % 300, side / 2, t / 4 + person) for person in range(persons)] for t in range(frames)]
    start = time.perf_counter()
    chosen = follow((Detections(subjects, False, None) for subjects in walk), "all", 25, 25.0, side, side)
    tracks = list(smooth_tracks(fill_gaps(chosen, 25.0), 25.0, 1.0))
    tracking_seconds = time.perf_counter() - start
    start = time.perf_counter()
    for track in tracks:
        draw_pose(track.points, side, side)
    return 1e3 * tracking_seconds / frames, 1e3 * (time.perf_counter() - start) / frames


def _walker(x: float, y: float, phase: float) -> Subject:
    """A person of 400 pixels whose arms and legs swing."""
    points = np.ones((25, 3), np.float32)
    points[:, :2] = np.array([x, y - 180]) + 4 * _SHAPE + np.outer(np.sin(phase + np.arange(25)), [8, 0])
    return Subject(box_of_points(points), points)


_SHAPE = np.array(
    [(0, 0), (0, 15), (-10, 15), (-15, 30), (-15, 45), (10, 15), (15, 30), (15, 45), (0, 45), (-7, 45), (-7, 70), (-7, 95), (7, 45),
     (7, 70), (7, 95), (-2, -2), (2, -2), (-4, -1), (4, -1), (9, 100), (10, 99), (6, 100), (-9, 100), (-10, 99), (-6, 100)]
)  # fmt: skip
"""BODY_25 of an upright person, in hundredths of the height."""


def main() -> None:
    known = extractors()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--extractor", choices=list(known), default="extract-sketch/mediapipe")
    parser.add_argument("--frames", type=int, default=300, help="frames of a video")
    parser.add_argument("--clips", type=int, default=8, help="number of videos for --jobs")
    arguments = parser.parse_args()
    extractor = known[arguments.extractor]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        videos = [loop_video(arguments.video, arguments.frames + index, folder / f"{index}.mp4") for index in range(arguments.clips)]
        time_backend(videos[0], extractor, 5)  # for the imports
        first = time_backend(videos[0], extractor, arguments.frames)
        stage = time_stage(videos[0], extractor, folder / "stage")
        bare = min(first, time_backend(videos[0], extractor, arguments.frames))
        one = time_command(videos, extractor, folder / "one", 1)
        two = time_command(videos, extractor, folder / "two", 2)
    total = sum(arguments.frames + index for index in range(arguments.clips))
    rows: list[dict[str, float | str]] = [
        {
            "what": f"bare {extractor.backend}",
            "frames": arguments.frames,
            "seconds": bare,
            "frames/s": arguments.frames / bare,
            "ratio": 1.0,
        },
        {
            "what": extractor.command,
            "frames": arguments.frames,
            "seconds": stage,
            "frames/s": arguments.frames / stage,
            "ratio": bare / stage,
        },
        {"what": "--jobs 1", "frames": total, "seconds": one, "frames/s": total / one, "ratio": 1.0},
        {"what": "--jobs 2", "frames": total, "seconds": two, "frames/s": total / two, "ratio": one / two},
    ]
    time_tracking(1, 5)  # for the imports
    cost = {persons: sum(time_tracking(persons)) for persons in (1, 4)}
    rows += [{"what": f"tracking and drawing {persons}", "ms per frame": value} for persons, value in cost.items()]
    goals = {
        f"{extractor.command} relative to the bare backend": (bare / stage, BACKEND_GOAL, bare / stage >= BACKEND_GOAL),
        "--jobs 2 relative to --jobs 1": (one / two, JOBS_GOAL, one / two >= JOBS_GOAL),
        "ms to track and draw one person": (cost[1], TRACKING_GOAL, cost[1] < TRACKING_GOAL),
    }
    report("extract_speed", rows, goals)


if __name__ == "__main__":
    main()

"""What smoothing does to the keypoints of a video: how much less they tremble, and how late they come.

    python benchmarks/smoothing.py VIDEO [--smoothing 1]

Tremble is the mean length of the second difference of a point in time, over points that are seen in three frames running. Lag is the
shift in time that makes the smoothed speed of the points most like the raw one's, by correlation, between frames too. Goal: 40 per cent
less tremble, less than one frame of lag.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from measuring import report

from stages.clip import as_clip
from stages.extract_poses import PoseOptions, extract

LESS, LAG = 0.4, 1.0


def tremble(points: np.ndarray) -> float:
    """points [T, N, 3] -> mean length of x[t - 1] - 2 x[t] + x[t + 1], in pixels."""
    there = (points[:-2, :, 2] > 0) & (points[1:-1, :, 2] > 0) & (points[2:, :, 2] > 0)
    second = np.linalg.norm(points[:-2, :, :2] - 2 * points[1:-1, :, :2] + points[2:, :, :2], axis=-1)
    return float(second[there].mean())


def lag(raw: np.ndarray, smooth: np.ndarray, most: int = 5, parts: int = 20) -> float:
    """By how many frames the smoothed points [T, N, 3] come after the raw ones; positive is late."""
    both = (raw[..., 2] > 0).all(0) & (smooth[..., 2] > 0).all(0)
    if not both.any():
        both = (raw[..., 2] > 0).mean(0) > 0.9
    times = np.arange(len(raw))
    fine = np.arange(most, len(raw) - 1 - most, 1 / parts)
    shifts = np.arange(-most * parts, most * parts + 1) / parts
    scores = np.zeros(len(shifts))
    for point in np.flatnonzero(both):
        for axis in (0, 1):
            ours, theirs = (np.interp(fine, times, series[:, point, axis]) for series in (smooth, raw))
            ours = ours - ours.mean()
            for index, shift in enumerate(shifts):
                shifted = np.interp(fine - shift, times, raw[:, point, axis])
                scores[index] += float(((shifted - shifted.mean()) * ours).sum() / (np.std(theirs) * max(np.std(ours), 1e-6)))
    return float(shifts[int(scores.argmax())])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--smoothing", type=float, default=1.0)
    parser.add_argument("--backend", default="auto")
    arguments = parser.parse_args()
    points = {}
    for strength in (0.0, arguments.smoothing):
        with tempfile.TemporaryDirectory() as folder:
            clip = as_clip(arguments.video, Path(folder) / "a.clip")
            extract(clip, PoseOptions(backend=arguments.backend, smoothing=strength))
            points[strength] = clip.layer("poses").arrays()["keypoints"][:, 0].copy()
    raw, smooth = points[0.0], points[arguments.smoothing]
    less, late = 1 - tremble(smooth) / tremble(raw), lag(raw, smooth)
    rows: list[dict[str, float | str]] = [
        {"what": "raw", "tremble in pixels": tremble(raw), "lag in frames": 0.0},
        {"what": f"--smoothing {arguments.smoothing:g}", "tremble in pixels": tremble(smooth), "lag in frames": late},
    ]
    goals = {"less tremble": (less, LESS, less >= LESS), "lag in frames": (abs(late), LAG, abs(late) < LAG)}
    report("smoothing", rows, goals)


if __name__ == "__main__":
    main()

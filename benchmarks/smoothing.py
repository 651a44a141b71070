"""Effect of smoothing on the keypoints of a video: how much their jitter decreases, and how far they lag behind.

    python benchmarks/smoothing.py VIDEO [--smoothing 1]

Jitter is the mean length of the second difference of a point in time, over points that are visible in three consecutive frames. Lag is the
shift in time, in frames, at which the raw positions correlate best with the smoothed ones. Goals: 40 % less jitter, less than one frame of
lag.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from measuring import report

from stages.clip import as_clip
from stages.extract_poses import PoseOptions, extract

MIN_REDUCTION, MAX_LAG = 0.4, 1.0


def jitter(points: np.ndarray) -> float:
    """points [T, N, 3] -> mean length of x[t - 1] - 2 x[t] + x[t + 1], in pixels."""
    visible = (points[:-2, :, 2] > 0) & (points[1:-1, :, 2] > 0) & (points[2:, :, 2] > 0)
    second = np.linalg.norm(points[:-2, :, :2] - 2 * points[1:-1, :, :2] + points[2:, :, :2], axis=-1)
    return float(second[visible].mean())


def lag(raw: np.ndarray, smooth: np.ndarray, max_lag: int = 5, steps: int = 20) -> float:
    """By how many frames the smoothed points [T, N, 3] lag behind the raw points: at most `max_lag`, in steps of 1 / `steps` frame."""
    visible = (raw[..., 2] > 0).all(0) & (smooth[..., 2] > 0).all(0)
    if not visible.any():
        visible = (raw[..., 2] > 0).mean(0) > 0.9
    times = np.arange(len(raw))
    fine_times = np.arange(max_lag, len(raw) - 1 - max_lag, 1 / steps)
    shifts = np.arange(-max_lag * steps, max_lag * steps + 1) / steps
    scores = np.zeros(len(shifts))
    for point in np.flatnonzero(visible):
        for axis in (0, 1):
            smoothed, unshifted = (np.interp(fine_times, times, series[:, point, axis]) for series in (smooth, raw))
            smoothed = smoothed - smoothed.mean()
            for index, shift in enumerate(shifts):
                shifted = np.interp(fine_times - shift, times, raw[:, point, axis])
                scores[index] += float(((shifted - shifted.mean()) * smoothed).sum() / (np.std(unshifted) * max(np.std(smoothed), 1e-6)))
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
    reduction, delay = 1 - jitter(smooth) / jitter(raw), lag(raw, smooth)
    rows: list[dict[str, float | str]] = [
        {"what": "raw", "jitter in pixels": jitter(raw), "lag in frames": 0.0},
        {"what": f"--smoothing {arguments.smoothing:g}", "jitter in pixels": jitter(smooth), "lag in frames": delay},
    ]
    goals = {
        "reduction of jitter": (reduction, MIN_REDUCTION, reduction >= MIN_REDUCTION),
        "lag in frames": (abs(delay), MAX_LAG, abs(delay) < MAX_LAG),
    }
    report("smoothing", rows, goals)


if __name__ == "__main__":
    main()

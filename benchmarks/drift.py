"""Whether a long result drifts to grey or flickers more and more: contrast and warping error of each second, relative to the true video.

    fsv2v synthesize --model street-appearance --driving drive.clip --appearance sample:1 -o result.mp4     # 510 frames
    python benchmarks/drift.py result.mp4 drive.clip [--second 17]

RESULT and TRUTH are clips or videos of the same length; the true frames are resized to the result's size. The contrast is the standard
deviation of the grey levels of a frame. Goals: both ratios of the last second are within 10 % of those of the first.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from measuring import report
from numpy.typing import NDArray

from stages.clip import open_clip, read_frames
from stages.evaluate.metrics.warping_error import WarpingError

MAX_CHANGE = 0.1
Ratios = dict[str, NDArray[np.float64]]


def ratios(result: Iterator[NDArray[np.uint8]], truth: Iterator[NDArray[np.uint8]], second: int) -> Ratios:
    """Name of a figure -> its mean over each second of `second` frames in the result, divided by that in the true video.

    The frames after the last full second are left out. Raises ValueError for videos of different lengths.
    """
    score, figures = WarpingError(), []
    for frame, true_frame in zip(result, truth, strict=True):
        real = np.asarray(cv2.resize(true_frame, frame.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
        errors = score(real, [frame, real]) or [np.nan, np.nan]  # the first frame has none
        figures.append([[_contrast(image), error] for image, error in zip((frame, real), errors, strict=True)])
    full = len(figures) // second
    means = np.nanmean(np.array(figures[: full * second]).reshape(full, second, 2, 2), 1)  # [seconds, (result, truth), figures]
    contrast, error = (means[:, 0] / means[:, 1]).T
    return {"contrast": contrast, "warping error": error}


def _contrast(image: NDArray[np.uint8]) -> float:
    return float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).std())


def main() -> None:
    options = _options()
    found = ratios(_frames(options.result), _frames(options.truth), options.second)
    seconds = len(next(iter(found.values())))
    rows: list[dict[str, float | str]] = [
        {"second": str(number + 1), **{name: float(values[number]) for name, values in found.items()}} for number in range(seconds)
    ]
    changes = {f"{name}, last second / first": float(values[-1] / values[0]) for name, values in found.items()}
    report("drift", rows, {name: (change, 1.0, abs(change - 1) <= MAX_CHANGE) for name, change in changes.items()})


def _frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    return open_clip(path).frames() if path.is_dir() else read_frames(path)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("result", type=Path, help="clip or video of a result")
    parser.add_argument("truth", type=Path, help="clip or video of the true frames")
    parser.add_argument("--second", type=int, default=17, help="number of frames of a second")
    return parser.parse_args()


if __name__ == "__main__":
    main()

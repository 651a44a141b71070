"""The report of an evaluation as one HTML page: tables, curves over time, and the videos side by side with error maps."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from stages.clip import VideoWriter
from stages.evaluate.frame_source import FrameSource, open_frame_source
from stages.evaluate.measure import Score
from stages.evaluate.metric import Image
from stages.evaluate.registry import find_metric
from stages.io.files import TEMPORARY_PREFIX, write_atomically
from stages.pages import page

REPEATED, WARPED = "the example, repeated", "the example, warped"
MAX_WIDTH = 512
"""Width in pixels to which the page shrinks wider videos. Figures are computed at full size."""
FULL_ERROR = 64
"""The error, in grey levels, that has the brightest colour of an error map."""
RATE = Fraction(25)
"""Frames per second for sources without a frame rate, such as a folder of images."""
LEGEND = (
    "The small figures are 95 % intervals, by a bootstrap over blocks of frames or, for means, over clips. Error maps show the difference "
    f"from the reference, averaged over the colours, from black (none) to yellow ({FULL_ERROR} of 255 and more). Click on a curve to see "
    "the frame."
)


def write_report(path: Path, scores: Sequence[Score]) -> None:
    """Write a page about `scores`; it loads no other file. The videos are read again, from the paths in `scores`. Raises InputError."""
    means = [score for score in scores if not score.reference]
    single = [score for score in scores if score.reference]
    references = list(dict.fromkeys(score.reference for score in single))
    content = {
        "legend": LEGEND,
        "metrics": [_metric_info(name) for name in dict.fromkeys(score.metric for score in scores)],
        "means": [score.json() for score in means],
        "groups": [_group(reference, [score for score in single if score.reference == reference]) for reference in references],
    }
    template = resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    write_atomically(path, page(template, content))


def _metric_info(name: str) -> dict[str, str]:
    """What the page says about a metric."""
    metric = find_metric(name)
    return {"name": metric.name, "unit": metric.unit, "better": metric.better, "summary": metric.summary}


def _group(reference: str, scores: Sequence[Score]) -> dict[str, Any]:
    """The part of the page about a reference and all its results."""
    truth = open_frame_source(reference)
    results = [open_frame_source(result) for result in dict.fromkeys(score.result for score in scores)]
    series: dict[str, dict[str, Sequence[float | None]]] = {}
    for score in scores:
        if score.series:
            series.setdefault(score.metric, {})[score.result] = score.series
        for name, values in ((REPEATED, score.baseline_series), (WARPED, score.warped_series)):
            if values:
                series[score.metric][name] = values
    return {
        "reference": reference, "fps": float(truth.fps or RATE), "frames": truth.num_frames, "results": [each.path for each in results],
        "series": series, "scores": [score.json() for score in scores], "videos": list(_videos(truth, results)),
    }  # fmt: skip


def _videos(truth: FrameSource, results: Sequence[FrameSource]) -> Iterator[dict[str, str]]:
    """The reference, then each result and its errors, all of the size of the first result."""
    width, height = results[0].width, results[0].height
    if width > MAX_WIDTH:
        width, height = MAX_WIDTH, round(height * MAX_WIDTH / width)
    size = even_width, even_height = width // 2 * 2, height // 2 * 2  # browsers refuse odd sizes
    rate = truth.fps or RATE

    def frames(source: FrameSource) -> Iterator[Image]:
        sized = (cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in source.frames())
        return (np.asarray(frame[:even_height, :even_width], np.uint8) for frame in sized)

    yield {"name": "reference", "src": _data_uri(frames(truth), size, rate)}
    for result in results:
        yield {"name": result.path, "src": _data_uri(frames(result), size, rate)}
        errors = (error_map(a, b) for a, b in zip(frames(truth), frames(result), strict=True))
        yield {"name": f"errors of {result.path}", "src": _data_uri(errors, size, rate)}


def error_map(truth: Image, frame: Image) -> Image:
    """The absolute difference of two images, uint8 RGB [H, W, 3], averaged over the channels and drawn in colours."""
    error = cv2.absdiff(truth, frame).mean(-1) * (255 / FULL_ERROR)
    return np.asarray(cv2.applyColorMap(error.clip(0, 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8)


def _data_uri(frames: Iterable[Image], size: tuple[int, int], rate: Fraction) -> str:
    """Encode a video as a data URI."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as folder:
        file = Path(folder) / "video.mp4"
        with VideoWriter(file, *size, rate, quality=23) as video:
            for frame in frames:
                video.write(np.ascontiguousarray(frame))
        return f"data:video/mp4;base64,{base64.b64encode(file.read_bytes()).decode()}"

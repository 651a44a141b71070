"""Whether the expression follows the driver's: MediaPipe's blendshapes of the result against those of the driver, over time.

The traits are: opening of the mouth, smile, inner brows, blink, horizontal gaze, and pitch and yaw of the head. Each has two figures. The
slope is that of a regression of the result on the driver: 1 when the result follows in full, 0 when it does not move. The correlation
measures the timing, however weak the movement. Where the driver hardly moves, both would be meaningless and are not measured.

Slope and correlation are figures of a whole clip. Each is written as one value per frame whose mean is the figure, so that intervals,
shards and curves are computed as for all other metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from stages.conditions.appearance import head_angles
from stages.evaluate.metric import EvaluationContext, FeatureCache, Image, MakeAll, Metric, Scorer, missing_weights
from stages.tables.mesh68 import mesh_to_68

WEIGHTS = "face_landmarker.task"
Traits = Mapping[str, float]
"""The value of each of `TRAITS` in one frame."""
Figure = Literal["slope", "correlation"]

TRAITS: Mapping[str, tuple[float, Callable[[Mapping[str, float]], float]]] = {
    # name: (smallest standard deviation of the driver that is measured, a function from blendshapes and head angles to the trait)
    "mouth": (0.03, lambda shape: shape["jawOpen"]),
    "smile": (0.03, lambda shape: (shape["mouthSmileLeft"] + shape["mouthSmileRight"]) / 2),
    "brows": (0.03, lambda shape: shape["browInnerUp"]),
    "blink": (0.03, lambda shape: (shape["eyeBlinkLeft"] + shape["eyeBlinkRight"]) / 2),
    "gaze": (
        0.03,
        lambda shape: (shape["eyeLookOutLeft"] + shape["eyeLookInRight"] - shape["eyeLookInLeft"] - shape["eyeLookOutRight"]) / 2,
    ),
    "pitch": (1.0, lambda shape: shape["pitch"]),
    "yaw": (1.0, lambda shape: shape["yaw"]),
}


class TraitScorer:
    """The scorer of one trait. The scorers of all traits share one reader."""

    def __init__(self, trait: str, reader: TraitReader, cache: FeatureCache) -> None:
        self.trait, self._reader, self._cache = trait, reader, cache
        self.driver: list[float | None] = []

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float | None] | None:
        driver, of_candidates = self._reader.read(len(self.driver), reference, candidates, self._cache)
        self.driver.append(None if driver is None else driver[self.trait])
        return None if driver is None else [None if traits is None else traits[self.trait] for traits in of_candidates]


class TraitReader:
    """Reads the traits of the driver and of all candidates, frame by frame. drivers: the driving frames; None if the frames of the
    reference drive."""

    def __init__(self, read: MakeAll[Traits | None], drivers: Iterator[Image] | None) -> None:
        self._read, self._drivers = read, drivers
        self._index, self._last = -1, tuple[Traits | None, list[Traits | None]]((None, []))

    def read(
        self, index: int, reference: Image, candidates: Sequence[Image], cache: FeatureCache
    ) -> tuple[Traits | None, list[Traits | None]]:
        """The traits of the driver and of the candidates in frame `index`. Each scorer calls this once per frame, in order."""
        if index != self._index:
            driver = next(self._drivers) if self._drivers else reference
            first, *rest = cache(self._read, [driver, *candidates])
            self._index, self._last = index, (first, rest)
        return self._last


def values_per_frame(driver: Sequence[float | None], result: Sequence[float | None], figure: Figure, minimum: float) -> list[float | None]:
    """One value per frame whose mean is the slope of the result on the driver, or their correlation.

    A frame without the driver's or the result's value has None. All frames have None when the driver's standard deviation is less than
    `minimum`, or fewer than three frames have both values.
    """
    both = [index for index, pair in enumerate(zip(driver, result, strict=True)) if None not in pair]
    d, r = (np.array([series[index] for index in both], np.float64) for series in (driver, result))
    values: list[float | None] = [None] * len(driver)
    if len(both) < 3 or d.std() < minimum:
        return values
    d, r = d - d.mean(), r - r.mean()
    scale = (d * d).mean() if figure == "slope" else np.sqrt((d * d).mean() * (r * r).mean())
    for index, value in zip(both, d * r / scale if scale > 0 else 0 * d, strict=True):
        values[index] = float(value)
    return values


def read_faces(images: Sequence[Image], detect: Callable[[Image], Any]) -> list[Traits | None]:
    """The traits of the first face in each image; None for an image without a face."""
    return [_traits(detect(image), image.shape[1], image.shape[0]) for image in images]


def _traits(result: Any, width: int, height: int) -> Traits | None:
    if not result.face_landmarks:
        return None
    mesh = np.array([(point.x * width, point.y * height, 1.0) for point in result.face_landmarks[0]], np.float32)
    pitch, yaw, _ = head_angles(mesh_to_68(mesh))
    shape = {category.category_name: float(category.score) for category in result.face_blendshapes[0]}
    return {name: compute({**shape, "pitch": pitch, "yaw": yaw}) for name, (_, compute) in TRAITS.items()}


def _open(context: EvaluationContext, trait: str) -> Scorer:
    return TraitScorer(trait, context.cache.once("expression", lambda: _open_reader(context)), context.cache)


def _open_reader(context: EvaluationContext) -> TraitReader:
    from stages.compute.mediapipe_task import VisionTask
    from weights import registry

    task = VisionTask(
        lambda vision: _create_landmarker(vision, str(registry.path(WEIGHTS))), lambda result: bool(result.face_landmarks), None
    )
    driving = None if context.kept else context.driving  # the frames of a result are not those that drove it
    return TraitReader(lambda images: read_faces(images, task), driving.frames() if driving else None)


def _create_landmarker(vision: Any, weights: str) -> Any:
    from mediapipe.tasks.python import BaseOptions

    base = BaseOptions(model_asset_path=weights)
    mode = vision.RunningMode.IMAGE
    options = vision.FaceLandmarkerOptions(base_options=base, running_mode=mode, num_faces=1, output_face_blendshapes=True)
    return vision.FaceLandmarker.create_from_options(options)


def _missing(context: EvaluationContext) -> str:
    from stages.backends import Backends

    return missing_weights(WEIGHTS) or Backends("landmarks").get("mediapipe").missing()


def _metric(trait: str, figure: Figure) -> Metric:
    minimum = TRAITS[trait][0]

    def finish(scorer: Scorer, series: Sequence[float | None]) -> list[float | None]:
        assert isinstance(scorer, TraitScorer)
        return values_per_frame(scorer.driver, series, figure, minimum)

    return Metric(
        name=f"expression-{trait}-{figure}",
        summary=f"{figure} of the result's {trait} on the driver's, 1 when it follows in full",
        unit="",
        better="higher",
        open=lambda context: _open(context, trait),
        missing=_missing,
        aliases=("expression",),
        min_frames=3,
        min_side=16,
        finish=finish,
        only_by_name=True,
    )


FIGURES: tuple[Figure, ...] = ("slope", "correlation")
METRICS = tuple(_metric(trait, figure) for trait in TRAITS for figure in FIGURES)

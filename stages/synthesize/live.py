"""Live synthesis: a frame is made for each driving image before the next image is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip
from stages.conditions.framing import sample_of
from stages.conditions.kinds import find_kind
from stages.conditions.kinds.kind import Keypoints
from stages.conditions.live_face import LiveFace
from stages.conditions.motion import Motion
from stages.conditions.tracks import Track
from stages.conditions.view import View
from stages.errors import UsageError
from stages.models import Model
from stages.networks.common.objective import PerceptualDistance
from stages.synthesize.driving import DrivingFrame
from stages.synthesize.fitting import Fitting
from stages.synthesize.options import SynthesizeOptions
from stages.synthesize.placement import Photograph
from stages.synthesize.rendering import EncodedExamples, canvas_for, choose_placement, combine_on, example_selector, synthesized_frames
from stages.tracking.tracker import Detector

Image = NDArray[np.uint8]


class LiveRendering:
    """Animates the examples by a live driving face. The parameters and errors are those of `synthesize`.

    Raises UsageError for a kind that cannot be driven live.

    The driving face is always fitted to the example's position; with `normalize="off"` it keeps its own proportions.
    """

    def __init__(
        self,
        examples: Sequence[Clip],
        model: Model,
        options: SynthesizeOptions,
        perceptual: Callable[[], PerceptualDistance | None] = lambda: None,
    ) -> None:
        kind = find_kind(model.config.kind)
        if kind.live is None or not model.config.few_shot:
            raise UsageError(f"{model.path} cannot be driven live: only models of faces with examples can", code="not-live")
        placement = choose_placement(examples, model, options)
        self._encoded = EncodedExamples(examples, model, options, perceptual)
        self._select = example_selector(kind.name, self._encoded.examples, options)
        self._canvas = canvas_for(self._encoded.examples, placement, kind)
        proportions = options.normalize != "off"
        fitting = Fitting("proportions" if proportions else "place", "the driver is live")
        first = self._encoded.examples[0].sample.keypoints
        self._driving = LiveDriving(first, kind.live, model.config.size, proportions, options.motion_of(kind.name, placement, fitting))
        self._show = options.show

    @property
    def pasted(self) -> bool:
        """Whether the frames show a whole photograph."""
        return isinstance(self._canvas, Photograph)

    @property
    def driving(self) -> LiveDriving:
        """The driving face."""
        return self._driving

    def frames(self, images: Iterable[Image], detect: Detector) -> Iterator[Image]:
        """uint8 RGB [H, W, 3], one for each driving image (uint8 RGB of any size). detect: finds faces; called in order."""
        driving = self._driving.driving_frames(images, detect)
        return synthesized_frames(self._encoded, driving, self._select, self._show, (), combine_on(self._canvas), None, live=True)


class LiveDriving:
    """Semantic images of a driving face, one for each image. Images without a face repeat the last face, at first the example's."""

    def __init__(
        self, example: Keypoints, track_of: Callable[[Keypoints], Track], size: tuple[int, int], proportions: bool, motion: Motion
    ) -> None:
        self._face = LiveFace(example, proportions=proportions, motion=motion)
        self._current, self._track_of = example, track_of
        self._view = View.scaled(*size, *size)
        self.held = 0
        """Number of images without a face."""

    def restart(self) -> None:
        """Measure the driver's proportions and the start of relative motion again, from the next image on."""
        self._face.restart()

    def driving_frames(self, images: Iterable[Image], detect: Detector) -> Iterator[DrivingFrame]:
        """The input for each image."""
        for image in images:
            faces = detect(image)
            if faces:
                points = max(faces, key=lambda face: face.size).points
                missing = len(self._current) - len(points)  # irises, which some backends do not find
                self._current = self._face(np.pad(points, ((0, missing), (0, 0))))
            self.held += not faces
            yield DrivingFrame(sample_of(self._track_of(self._current), 0, self._view), starts_shot=False)

"""A film as the example: its person moves as in the film, but with the driver's expressions.

Each frame of the film is the example for the frame of the result at the same time. Head pose, hair, light and background are therefore
those of the film, and only the face is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from math import ceil
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip
from stages.clip.parts import frames_at
from stages.conditions.framing import Crop, Example, frame_of, sample_of, squeeze_warnings, views
from stages.conditions.kinds import find_kind, open_track
from stages.conditions.motion import Motion
from stages.conditions.tracks import Moments
from stages.errors import NoDetection, Sentence, UsageError
from stages.models import Model
from stages.networks.common.frame import Frame
from stages.networks.common.objective import PerceptualDistance
from stages.synthesize.driving import Driving
from stages.synthesize.fitting import Fitting
from stages.synthesize.options import SynthesizeOptions
from stages.synthesize.placement import Photograph, Placement, whole_view
from stages.synthesize.rendering import EncodedExamples, Observer, Rendering, require_finite
from stages.synthesize.transforms import FrameTransform, apply_transforms

SOFT_EDGE = 0.08
"""Width of the soft edge around the face, in heights of the model's images."""


def common_length(film: Clip, driving: Clip) -> int:
    """The number of frames of the film until it or the driving clip ends."""
    return min(film.num_frames, ceil(film.fps * driving.num_frames / driving.fps))


def require_film(examples: Sequence[Clip], model: Model, *, alone: bool) -> None:
    """Raises UsageError unless the examples are one film, and the model makes faces from examples.

    alone: whether there are no further subjects and no frames before the first one.
    """
    if find_kind(model.config.kind).cover_features is None or not (model.config.few_shot and model.config.warps_example):
        raise UsageError("only a model of faces that warps its examples can transfer the driver's expressions", code="retarget-of-faces")
    if len(examples) != 1 or examples[0].num_frames < 2 or not examples[0].has("frames"):
        raise UsageError("the example is not a film: the driver's expressions need a video of one person", code="retarget-without-film")
    if not alone:
        raise UsageError("a film has one person with one driver, and nothing before its first frame", code="retarget-alone")


class FilmDriving(Driving):
    """The keypoints of a film's person with the driver's expression, at the film's frame rate, until the film or the driving clip ends.

    They are missing where nothing was detected in the film.
    """

    def __init__(
        self, film: Clip, driving: Clip, kind: str, size: tuple[int, int], crop: Crop, motion: Motion, *, proportions: bool
    ) -> None:
        super().__init__(driving, kind, size, crop)
        self.film_track = open_track(film, kind)
        if not any(map(self.film_track.seen, range(film.num_frames))):
            raise NoDetection(f"nothing was detected in the film {film.path}", code="nothing-detected")
        self.num_frames, self.fps, self.timestamps = common_length(film, driving), film.fps, None
        positions = _driver_positions(driving, film.fps, self.num_frames)
        self._driver_views, self._driver_frames = self.views, positions.round().astype(int)
        self.held = int((self.source != np.arange(driving.num_frames))[self._driver_frames].sum())
        self.track = self.film_track.with_expression(self.track, _moments(positions, self.source), motion, proportions=proportions)
        self.source = np.arange(self.num_frames)
        self.views = self._track_views = views(film, self.film_track, size, crop)[: self.num_frames]

    def image(self, frame: int) -> np.ndarray:
        """The driving image at the moment of a frame."""
        index = int(self._driver_frames[frame])
        return self._driver_views[index].image(self.clip.frame(index))

    def keypoints_in_film(self) -> Iterator[np.ndarray]:
        """The keypoints of each frame, [N, 3] in the film's pixels."""
        for index, keypoints in zip(self.source, self.keypoints(), strict=True):
            yield self.views[index].inverse(0, 0).points(keypoints)


def _driver_positions(driving: Clip, fps: Fraction, count: int) -> NDArray[np.float64]:
    """The positions in the driving clip at the times of `count` frames of a film, as fractional frame indices, [count]."""
    times = driving.timestamps
    shown = [float(index / driving.fps if times is None else times.seconds(index)) for index in range(driving.num_frames)]
    return np.interp([float(index / fps) for index in range(count)], shown, np.arange(len(shown)))


def _moments(positions: NDArray[np.float64], source: NDArray[np.int64]) -> Moments:
    """Fractional frame indices of a clip as moments of its track. source: for each frame the index of the frame whose detection it uses."""
    before = np.floor(positions).astype(int)
    return Moments(source[before], source[np.minimum(before + 1, len(source) - 1)], positions - before)


class FilmRendering(Rendering):
    """The frames of a film, with the driver's expressions on the face of its person. Parameters and errors are those of `Rendering`."""

    def __init__(
        self,
        examples: Sequence[Clip],
        driving: Clip,
        model: Model,
        options: SynthesizeOptions,
        fitting: Fitting,
        perceptual: Callable[[], PerceptualDistance | None] = lambda: None,
        start: Clip | None = None,
        appearance_images: Mapping[str, Clip] = MappingProxyType({}),
        placement: Placement | None = None,
        encoded: EncodedExamples | None = None,
    ) -> None:
        require_film(examples, model, alone=start is None)
        needed = options if options.finetune else replace(options, num_examples=1)
        plain = replace(needed, motion="absolute", strength="", part="")
        super().__init__(examples, driving, model, plain, replace(fitting, method="none"), perceptual, encoded=encoded)
        assert placement is not None
        self.options, self._film, self._placement = options, examples[0], placement
        motion, proportions = options.motion_of(self._kind, placement, fitting), fitting.method == "proportions"
        self.driving: FilmDriving = FilmDriving(
            self._film, driving, self._kind, model.config.size, options.crop, motion, proportions=proportions
        )

    @property
    def pasted(self) -> bool:
        """Frames are whole frames of the film."""
        return True

    def keypoints(self) -> Iterator[np.ndarray]:
        """The keypoints of each frame, [N, 3] in the result's pixels."""
        through = whole_view(self._film.height, self._film.width)
        return map(through.points, self.driving.keypoints_in_film())

    def frames(
        self, photographs: Iterator[np.ndarray] | None = None, observe: Observer | None = None, transform: FrameTransform | None = None
    ) -> Iterator[np.ndarray]:
        """The frames of the result, uint8 RGB [H, W, 3].

        Frames in which nothing was detected are those of the film, and `observe` is not called for them.
        """
        return apply_transforms(self._generate(observe), [] if transform is None else [transform])

    def _generate(self, observe: Observer | None) -> Iterator[np.ndarray]:
        kind, past = find_kind(self._kind), None
        assert kind.cover_features is not None
        shown = self.driving.source.tolist()
        for index, picture, driving_frame in zip(shown, frames_at(self._film, shown), self.driving.driving_frames(), strict=True):
            if not self.driving.track.seen(index):
                past = None
                yield whole_view(*picture.shape[:2]).image(picture)
                continue
            example, target = self._example(index, picture), frame_of([driving_frame.sample], self._device)
            known: Frame | None = None if driving_frame.starts_shot else past
            code = self.renderer.encode_examples(frame_of([example.sample], self._device).map(lambda x: x[None]))
            synthesis = self.renderer.synthesize(code, target, known)
            past = self.renderer.remember(target, synthesis, known)
            require_finite(synthesis.frame, index)
            if observe is not None:
                observe(index, synthesis)
            photograph = Photograph(picture, [example], self._placement, kind.cover_features, SOFT_EDGE)
            yield photograph.frame(synthesis, [0], driving_frame.sample.keypoints, photograph.image)

    def _example(self, index: int, picture: np.ndarray) -> Example:
        """A frame of the film as the example."""
        track, view = self.driving.film_track, self.driving.views[index]
        return Example(self._film, track, index, view, sample_of(track, index, view, view.image(picture)))

    def frames_beyond(self) -> dict[str, list[int]]:
        """Always empty: each frame has an example with its pose."""
        return {}

    def warnings(self) -> list[str]:
        """What makes the frames worse than they could be, as sentences about the film."""
        return [*(text for example in self.examples for text in example.warnings), *squeeze_warnings(self._film, self.driving.views[0])]

    def notes(self) -> list[str]:
        """Which frames and which sound the result has."""
        count, film, notes = self.driving.num_frames, self._film, []
        if count < film.num_frames:
            notes.append(f"{film.id}: the result ends with {self._clip.id}, after {count} of {film.num_frames} frames")
        if unseen := sum(not self.driving.track.seen(index) for index in range(count)):
            notes.append(f"{film.id}: {unseen} frames without a detection stay as they are")
        if film.has("audio"):
            sound = f"the sound is that of {self._clip.id}" if self._clip.has("audio") else f"{self._clip.id} has no sound"
            notes.append(Sentence(f"{film.id}: {sound}", code="sound-of-driver"))
        return notes

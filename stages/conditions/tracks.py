"""Tracks: they turn the driving layer of a clip into the semantic image s_t of each frame, through any view.

Each driving kind has its own subclass (stages/conditions/kinds). Networks see only what `semantic` and `keypoints` return.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.clip import Clip
from stages.conditions.motion import Motion
from stages.conditions.view import View


@dataclass(frozen=True)
class DetectorNoise:
    """Simulated errors of a detector in the driving layer of a training window. The same seed gives the same errors."""

    seed: int
    noisy: bool = True
    """Whether there are errors of single frames (shifted and missing points), and not only those of the whole window."""

    def window_rng(self) -> np.random.Generator:
        """A generator of the random numbers that all frames of the window share."""
        return np.random.default_rng(self.seed)

    def frame_rng(self, index: int) -> np.random.Generator:
        """A generator of the random numbers of one frame, the same in each call."""
        return np.random.default_rng([self.seed, index])


@dataclass(frozen=True)
class Moments:
    """n points in time of a track, which may lie between its frames: the frame before each, the frame after it, and the position between.

    share: 0 at the frame before, 1 at the frame after.
    """

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    share: NDArray[np.float64]

    def of(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Points [T, N, 3] at these moments, [n, N, 3]. A point that one of the two frames lacks is that of the other."""
        first, second = points[self.before], points[self.after]
        both = (first[..., 2:] > 0) & (second[..., 2:] > 0)
        between = first + self.share[:, None, None] * (second - first)
        return np.where(both, between, np.where(first[..., 2:] > 0, first, second)).astype(np.float32)


class Track(ABC):
    """The driving layer of one clip, for one subject."""

    channels: int
    """Number of channels of s_t."""
    names: tuple[str, ...] = ()
    """For label maps: the label of each channel. Further channels, which do not stand for labels, come last."""
    num_frames: int

    @abstractmethod
    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        """s_t of frame `index`: float32 [channels, height, width] in [0, 1]."""

    @abstractmethod
    def keypoints(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        """Points that correspond between frames, float32 [N, 3] (x, y in pixels, confidence). N depends only on the kind and may be 0."""

    def regions(self, index: int, view: View) -> np.ndarray:
        """The number of each pixel's region in frame `index`, int32 [height, width]; see `regions_of`. Only label maps have regions."""
        raise NotImplementedError

    @abstractmethod
    def drawing(self, index: int, view: View) -> np.ndarray:
        """A drawing of frame `index` to look at: uint8 RGB [height, width, 3]."""

    def seen(self, index: int) -> bool:
        """Whether the frame shows the subject."""
        return True

    def crops(self, clip: Clip, aspect: float) -> np.ndarray | None:
        """A crop around the subject for each frame, [T, 3] (left, top, height), `aspect` times as wide as high.

        None for kinds without a subject, such as label maps.
        """
        return None

    def fitted(self, views: Sequence[View], examples: Sequence[np.ndarray], *, proportions: bool) -> Track:
        """This track, transformed by `views` and fitted to the position, size and, if asked, proportions of the examples.

        views: one for each frame. examples: keypoints [N, 3] of each. Only kinds with `fits_example` implement it.
        """
        raise NotImplementedError

    def with_motion(self, views: Sequence[View], examples: Sequence[np.ndarray], motion: Motion) -> tuple[Track, list[str]]:
        """This track, transformed by `views` and with the strengths of `motion` relative to the examples; and notes, as sentences.

        Parameters as in `fitted`. Only kinds with `expressive` implement it.
        """
        raise NotImplementedError

    def with_expression(self, driver: Track, moments: Moments, motion: Motion, *, proportions: bool) -> Track:
        """The first n frames of this track, in the clip's pixels, with the driver's expression.

        moments: n moments of the driver's track, one for each of these frames. Only kinds with `cover_features` implement it.
        """
        raise NotImplementedError

    def quality_warnings(self, index: int, clip: Clip) -> tuple[str, ...]:
        """Reasons why frame `index` is a poor example, as sentences."""
        return ()


def main_subject(points: np.ndarray) -> int | None:
    """Index of the person of a layer [T, P, N, 3] who is seen in most frames; None if P is 0."""
    seen = points[..., 2].any(-1).sum(0)
    return int(seen.argmax()) if len(seen) else None


def select_main_subject(points: np.ndarray) -> np.ndarray:
    """The points of the main subject, [T, 1, N, 3], from a layer [T, P, N, 3]."""
    return select_subject(main_subject(points), points)


def select_subject(index: int | None, points: np.ndarray) -> np.ndarray:
    """The points of one person, [T, 1, N, 3], from a layer [T, P, N, 3]; zeros if `index` is None."""
    return np.zeros((len(points), 1, *points.shape[2:]), points.dtype) if index is None else points[:, [index]]

"""A clip's driving layer, frame by frame, as the semantic image s_t under any view (crop, scale, rotation, mirror image).

Each driving kind has a track of its own (stages/conditions/kinds). Networks see only what `semantic` and `keypoints` return.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stages.clip import Clip
from stages.conditions.motion import Motion
from stages.conditions.view import View


@dataclass(frozen=True)
class DetectorNoise:
    """How what drives a window of training is as faulty as a detector's; the same for the same seed."""

    seed: int
    noisy: bool = True
    """Whether points tremble and are missing in single frames, too."""

    def of_window(self) -> np.random.Generator:
        """Random numbers that all frames of the window share."""
        return np.random.default_rng(self.seed)

    def of_frame(self, index: int) -> np.random.Generator:
        """Random numbers of one frame, the same for every caller."""
        return np.random.default_rng([self.seed, index])


class Track(ABC):
    """The driving layer of one clip. It follows one subject."""

    channels: int
    """Of s_t."""
    names: tuple[str, ...] = ()
    """For label maps: the labels of the channels, in their order. Channels that are no labels come after these."""
    num_frames: int

    @abstractmethod
    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        """s_t of frame `index`: float32 [channels, height, width] in [0, 1]."""

    @abstractmethod
    def keypoints(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        """Points that correspond between frames, float32 [N, 3]; N is the same for all clips of a kind, and may be 0."""

    def regions(self, index: int, view: View) -> np.ndarray:
        """The number of each pixel's region in frame `index`, int32 [height, width]: see `regions_of`. Of label maps alone."""
        raise NotImplementedError

    @abstractmethod
    def drawing(self, index: int, view: View) -> np.ndarray:
        """A drawing of frame `index` for people: uint8 RGB [height, width, 3]."""

    def seen(self, index: int) -> bool:
        """Whether the frame shows the subject."""
        return True

    def crops(self, clip: Clip, aspect: float) -> np.ndarray | None:
        """A crop around the subject for each frame, [T, 3] (left, top, height), `aspect` times as wide as high; None: no subject."""
        return None

    def fitted(self, views: Sequence[View], examples: Sequence[np.ndarray], *, proportions: bool) -> Track:
        """This track in the pixels of `views`, with the place, size and, if asked, proportions of the examples' keypoints."""
        raise NotImplementedError

    def with_motion(self, views: Sequence[View], examples: Sequence[np.ndarray], motion: Motion) -> tuple[Track, list[str]]:
        """This track in the pixels of `views`, which moves as `motion` says of the example's face, and notes about it."""
        raise NotImplementedError

    def quality_warnings(self, index: int, clip: Clip) -> tuple[str, ...]:
        """Warnings about a frame as an example."""
        return ()


def main_subject(points: np.ndarray) -> int | None:
    """Who of the persons of a layer [T, P, N, 3] is seen in most frames: a video is made of one. None of a layer without persons."""
    seen = points[..., 2].any(-1).sum(0)
    return int(seen.argmax()) if len(seen) else None


def only_main(points: np.ndarray) -> np.ndarray:
    """Of [T, P, N, 3] the main subject alone, [T, 1, N, 3]."""
    return only(main_subject(points), points)


def only(chosen: int | None, points: np.ndarray) -> np.ndarray:
    """One subject of [T, P, N, 3] alone, [T, 1, N, 3]; zeros if `chosen` is None."""
    return np.zeros((len(points), 1, *points.shape[2:]), points.dtype) if chosen is None else points[:, [chosen]]

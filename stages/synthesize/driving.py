"""The driving clip as the input of the model: a semantic image for each frame. It can be fitted to the example's position and
proportions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from stages.clip import Clip
from stages.conditions.crop import JUMP_IN_FACES
from stages.conditions.framing import Crop, Sample, sample_of, views
from stages.conditions.kinds import open_track
from stages.conditions.motion import Motion
from stages.conditions.reach import Reach
from stages.conditions.tracks import Track
from stages.conditions.view import View
from stages.errors import NoDetection

AppearanceFunction = Callable[[int, View], np.ndarray]
"""(index of a frame, view) -> its appearance map z_t, float32 [D, H, W]."""


@dataclass(frozen=True)
class DrivingFrame:
    """The input that drives one frame of the result."""

    sample: Sample
    """Semantic image and keypoints."""
    starts_shot: bool
    """Whether a new shot begins, so that the previous frame must not influence this one."""


class Driving:
    """Semantic images of a clip for a model of a given kind and size.

    A frame without a detection repeats the last frame with one. At the beginning of the clip it repeats the first frame with one.
    """

    def __init__(self, clip: Clip, kind: str, size: tuple[int, int], crop: Crop) -> None:
        self.clip, self.size = clip, size
        self.num_frames, self.fps, self.timestamps = clip.num_frames, clip.fps, clip.timestamps
        self.track: Track = open_track(clip, kind)
        seen = [index for index in range(self.track.num_frames) if self.track.seen(index)]
        if not seen:
            raise NoDetection(f"nothing was detected in the driving clip {clip.path}", code="nothing-detected")
        self.held = clip.num_frames - len(seen)
        """Number of frames without a detection."""
        self.source = np.maximum.accumulate(np.where(np.isin(np.arange(clip.num_frames), seen), np.arange(clip.num_frames), seen[0]))
        """For each frame, the index of the frame that it repeats, or its own index."""
        self.views = self._track_views = views(clip, self.track, size, crop)
        self._open_appearance: Callable[[], AppearanceFunction] | None = None
        self._independent = False
        self.notes: list[str] = []

    def fit_to(self, examples: Sequence[np.ndarray], *, proportions: bool = True) -> None:
        """Give the driving face or body the position, size and proportions of the examples.

        examples: the `Track.keypoints` of each, in the model's pixels. A face is fitted to the first example, the limbs of a body to all.
        proportions: if False, a face keeps its own proportions.
        """
        self.track = self.track.fitted(self.views, examples, proportions=proportions)
        self._track_views = [View.scaled(*self.size, *self.size)] * self.track.num_frames

    def apply_motion(self, motion: Motion, examples: Sequence[np.ndarray]) -> None:
        """Change the strength or the origin of the motion. examples: as for `fit_to`, which must be called first if both are used."""
        self.track, self.notes = self.track.with_motion(self._track_views, examples, motion)
        self._track_views = [View.scaled(*self.size, *self.size)] * self.track.num_frames

    def use_only(self, frames: Sequence[int]) -> None:
        """Use only these frames, and make each independently of the others, as the first of a shot."""
        self.source, self._independent = self.source[list(frames)], True

    def set_appearance(self, open_appearance: Callable[[], AppearanceFunction]) -> None:
        """Give each frame an appearance map. open_appearance: returns a new function for each pass over the clip."""
        self._open_appearance = open_appearance

    def driving_frames(self) -> Iterator[DrivingFrame]:
        """The input for each frame of the result, in order."""
        previous = None
        appearance_map = None if self._open_appearance is None else self._open_appearance()
        for index in self.source:
            view = self._track_views[index]
            sample = sample_of(self.track, index, view)
            if appearance_map is not None:
                sample = replace(sample, appearance=appearance_map(int(index), view))
            starts_shot = self._independent or previous is None or _jumps(previous, sample.keypoints)
            previous = sample.keypoints
            yield DrivingFrame(sample, starts_shot)

    def keypoints(self) -> Iterator[np.ndarray]:
        """The keypoints [N, 3] of each frame, in the model's pixels."""
        for index in self.source:
            yield self.track.keypoints(index, self._track_views[index])

    def frames_beyond(self, reach: Reach) -> dict[str, list[int]]:
        """An aspect of the subject (`reach.DEVIATIONS`) -> the frames in which it is beyond what the examples show."""
        found: dict[str, list[int]] = {}
        for frame, index in enumerate(self.source):
            for what in reach.beyond(self.track.keypoints(index, self._track_views[index])):
                found.setdefault(what, []).append(frame)
        return found

    def drawings(self) -> Iterator[np.ndarray]:
        """The driving layer of each frame as a picture for people, uint8 [H, W, 3]."""
        return map(self.drawing, range(len(self.source)))

    def drawing(self, frame: int) -> np.ndarray:
        """The driving layer of one frame as a picture for people, uint8 [H, W, 3]."""
        index = self.source[frame]
        return self.track.drawing(index, self._track_views[index])

    def image(self, frame: int) -> np.ndarray:
        """The driving image of one frame at the model's size, uint8 [H, W, 3]."""
        return self.views[frame].image(self.clip.frame(frame))

    def frames(self) -> Iterator[np.ndarray]:
        """The driving images at the model's size, uint8 [H, W, 3]."""
        for frame, view in zip(self.clip.frames(), self.views, strict=True):
            yield view.image(frame)


def _jumps(previous: np.ndarray, points: np.ndarray) -> bool:
    """Whether the subject has jumped between two frames with these keypoints [N, 3], as it does only at a cut."""
    both = (previous[:, 2] > 0) & (points[:, 2] > 0)
    if not both.any():
        return False
    size = max(float(np.ptp(points[both, :2], axis=0).max()), 1.0)
    return bool(np.linalg.norm(points[both, :2].mean(0) - previous[both, :2].mean(0)) > JUMP_IN_FACES * size)

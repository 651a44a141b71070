"""A driving kind (kind.py): faces with Canny edges of the driving frame outside the face, as for the face videos of vid2vid (section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stages.clip import Clip
from stages.conditions import background, landmarks
from stages.conditions.background import FrameReader
from stages.conditions.kinds import faces
from stages.conditions.kinds.faces import LandmarkTrack
from stages.conditions.kinds.kind import grey
from stages.conditions.motion import Motion
from stages.conditions.tracks import DetectorNoise, Moments, Track
from stages.conditions.view import View

if TYPE_CHECKING:
    import torch


class EdgedFaceTrack(LandmarkTrack):
    """s_t of a face, then a channel that is 1 on the edges of the frame outside the face.

    Edges are detected after the view is applied, so that they are one pixel wide at any size.
    """

    def __init__(self, face: LandmarkTrack, frames: FrameReader) -> None:
        super().__init__(face.points, face.iris)
        self.channels += 1
        self._frames, self._driver = frames, face
        self._views: Sequence[View] | None = None
        """Only in a track with a changed face: the view of each driving frame. The landmarks are in pixels of that view."""

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        frame_view = view if self._views is None else self._views[index].then(view)
        hidden = np.concatenate([self.faces(index, view), self._driver.faces(index, frame_view)])
        edges = background.edges_outside_faces(background.packed_edges(frame_view.image(self._frames[index])), hidden, view.width)
        return np.concatenate([super().semantic(index, view, noise), edges[None] / np.float32(255)])

    def fitted(self, views: Sequence[View], examples: Sequence[np.ndarray], *, proportions: bool) -> EdgedFaceTrack:
        """As `Track.fitted`, for the first example; the edges of the background are not changed."""
        return self._with_face(super().fitted(views, examples, proportions=proportions), views)

    def with_motion(self, views: Sequence[View], examples: Sequence[np.ndarray], motion: Motion) -> tuple[EdgedFaceTrack, list[str]]:
        """As `Track.with_motion`, for the first example; the edges of the background are not changed."""
        face, notes = super().with_motion(views, examples, motion)
        return self._with_face(face, views), notes

    def with_expression(self, driver: Track, moments: Moments, motion: Motion, *, proportions: bool) -> EdgedFaceTrack:
        """As `Track.with_expression`; the edges of the background are not changed."""
        return self._with_face(super().with_expression(driver, moments, motion, proportions=proportions), None)

    def _with_face(self, face: LandmarkTrack, views: Sequence[View] | None) -> EdgedFaceTrack:
        """A track with another face. views: from this track's pixels to those of the other face; None if they are the same."""
        track = EdgedFaceTrack(face, self._frames)
        track._driver = self._driver
        track._views = self._views if views is None else views
        if self._views is not None and views is not None:
            track._views = [first.then(second) for first, second in zip(self._views, views, strict=True)]
        return track


def _open(clip: Clip) -> EdgedFaceTrack:
    return EdgedFaceTrack(faces.open_faces(clip), FrameReader(clip))


def _draw(semantic: torch.Tensor) -> torch.Tensor:
    """The face in grey as for faces without edges, and the edges in white."""
    return faces.draw(semantic[:, :-1]).maximum(grey(semantic[:, -1:]))


KIND = replace(
    faces.KIND,
    name="landmarks+edges",
    layers=("landmarks", "frames"),
    open=_open,
    draw=_draw,
    cover_features=None,
    live=None,
    channels=landmarks.SEMANTIC_CHANNELS + 1,
    remedies={"frames": "Import its video again with the frames, or use a model without edges of the background"},
)

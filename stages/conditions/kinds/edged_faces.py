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
from stages.conditions.tracks import DetectorNoise
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
        """Only in a fitted track: the view of each driving frame. The fitted landmarks are in pixels of that view."""

    def semantic(self, index: int, view: View, noise: DetectorNoise | None = None) -> np.ndarray:
        frame_view = view if self._views is None else self._views[index].then(view)
        hidden = np.concatenate([self.faces(index, view), self._driver.faces(index, frame_view)])
        edges = background.edges_outside_faces(background.packed_edges(frame_view.image(self._frames[index])), hidden, view.width)
        return np.concatenate([super().semantic(index, view, noise), edges[None] / np.float32(255)])

    def fitted(self, views: Sequence[View], examples: Sequence[np.ndarray], *, proportions: bool) -> EdgedFaceTrack:
        """As `Track.fitted`, for the first example; the edges of the background are not changed."""
        track = EdgedFaceTrack(super().fitted(views, examples, proportions=proportions), self._frames)
        track._driver, track._views = self._driver, views
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

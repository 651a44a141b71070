"""Face recognition by dlib's network (King, 2017; CC0), 128 numbers for each face."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.backends import Package

PACKAGE = Package("dlib", "dlib-bin")
WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"
DLIBS_LIMIT = 0.6
"""Euclidean distance below which dlib's documentation takes two faces for the same person's."""
SAME_PERSON = 0.4
"""The distance below which two faces count as the same person here. dlib's own limit merges different people in some groups: in 79 videos
of 70 people the nearest two people are 0.49 apart, and nine in ten pairs of frames of one person less than 0.41."""

Describe = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float64]]
"""image uint8 RGB [H, W, 3] and the landmarks [68, 3] of a face in it -> [128]."""


def open_dlib(path: Path) -> Describe:
    """Open dlib's network, which aligns the face by the landmarks itself."""
    import dlib

    network = dlib.face_recognition_model_v1(str(path))

    def describe(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
        points = landmarks[:, :2].round().astype(int)
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
        face = dlib.full_object_detection(dlib.rectangle(left, top, right, bottom), [dlib.point(x, y) for x, y in points.tolist()])
        return np.array(network.compute_face_descriptor(np.ascontiguousarray(image), face))

    return describe


def at_hand() -> Describe | None:
    """The network if its package and file are on this machine, else None; nothing is fetched."""
    from weights import registry

    if PACKAGE.missing() or not registry.available(WEIGHTS):
        return None
    return open_dlib(registry.path(WEIGHTS))

"""Face recognition with dlib's network (King, 2017; CC0), which describes a face by a vector of 128 numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.backends import Package

PACKAGE = Package("dlib", "dlib-bin")
WEIGHTS = "dlib_face_recognition_resnet_model_v1.dat"
DLIB_MAX_DISTANCE = 0.6
"""Euclidean distance between the vectors of two faces below which dlib's documentation considers them the same person."""
SAME_PERSON = 0.4
"""Distance below which fsv2v considers two faces the same person. dlib's limit would merge some different people: in 79 videos of 70
people, the two most similar people have a distance of 0.49, and nine in ten pairs of frames of one person less than 0.41."""

FaceDescriptor = Callable[[NDArray[np.uint8], NDArray[np.float32]], NDArray[np.float64]]
"""Image, uint8 RGB [H, W, 3], and the landmarks [68, 3] of a face in it -> the vector of the face, [128]."""


def open_dlib(path: Path) -> FaceDescriptor:
    """Open the network in the file `path`. It aligns a face by its landmarks."""
    import dlib

    network = dlib.face_recognition_model_v1(str(path))

    def describe(image: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> NDArray[np.float64]:
        points = landmarks[:, :2].round().astype(int)
        (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
        face = dlib.full_object_detection(dlib.rectangle(left, top, right, bottom), [dlib.point(x, y) for x, y in points.tolist()])
        return np.array(network.compute_face_descriptor(np.ascontiguousarray(image), face))

    return describe


def open_if_available() -> FaceDescriptor | None:
    """The network if the package dlib and its file are on this machine, else None. Nothing is fetched."""
    from weights import registry

    if PACKAGE.missing() or not registry.available(WEIGHTS):
        return None
    return open_dlib(registry.path(WEIGHTS))

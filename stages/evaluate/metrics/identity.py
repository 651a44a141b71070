"""Whether it is the same person: the cosine of the embeddings of the face in the result and of the face in the reference (SFace, Zhong et
al. 2021).

The face is found by the landmark detector and aligned to the network's 112 x 112 pixels by five points: eyes, tip of the nose, corners of
the mouth. By OpenCV's documentation of the network, two faces are of the same person from a cosine of 0.363. Frames of a result without
a face lower the coverage, not the mean.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.backends import Backends
from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer, missing_weights
from stages.evaluate.metrics.landmark_error import Detect, Points, choose_detector, largest, nearest, opener

WEIGHTS = "face_recognition_sface_2021dec.onnx"
Embedding = NDArray[np.float32]
Embed = Callable[[Image, Points], Embedding]
"""frame and the landmarks [68, 3] of a face in it -> embedding of unit length."""


class Identity:
    """Each candidate gets its own detector, because a detector may track from frame to frame."""

    def __init__(self, open_detector: Callable[[], Detect], embed: Embed) -> None:
        self._open_detector, self._embed = open_detector, embed
        self._reference, self._detectors = open_detector(), list[Detect]()

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float | None] | None:
        while len(self._detectors) < len(candidates):
            self._detectors.append(self._open_detector())
        target = largest(self._reference(reference))
        if target is None:
            return None
        wanted = self._embed(reference, target)
        faces = [nearest(detect(frame), target) for detect, frame in zip(self._detectors, candidates, strict=True)]
        return [None if face is None else float(self._embed(frame, face) @ wanted) for face, frame in zip(faces, candidates, strict=True)]


def five_points(landmarks: Points) -> NDArray[np.float32]:
    """[68, 3] -> [5, 2]: eyes, tip of the nose, corners of the mouth; of each pair the one on the left of the image comes first."""
    eyes = landmarks[36:42, :2].mean(0), landmarks[42:48, :2].mean(0)
    return np.stack([*eyes, landmarks[30, :2], landmarks[48, :2], landmarks[54, :2]]).astype(np.float32)


def open_sface(path: Path) -> Embed:
    """The published file through OpenCV, which aligns the face as the network was trained."""
    import cv2

    network = cv2.FaceRecognizerSF.create(str(path), "")

    def embed(frame: Image, landmarks: Points) -> Embedding:
        face = np.zeros((1, 15), np.float32)
        face[0, 4:14] = five_points(landmarks).ravel()
        aligned = network.alignCrop(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), face)
        embedding = np.asarray(network.feature(aligned), np.float32).ravel()
        return embedding / max(float(np.linalg.norm(embedding)), 1e-12)

    return embed


def _missing(context: EvaluationContext) -> str:
    return missing_weights(WEIGHTS) or Backends("landmarks").get(choose_detector(context)).missing()


def _open(context: EvaluationContext) -> Scorer:
    from weights import registry

    return Identity(opener(context), open_sface(registry.path(WEIGHTS)))


METRIC = Metric(
    name="identity",
    summary="similarity of the face to that of the reference, 1 for identical faces",
    unit="",
    better="higher",
    open=_open,
    missing=_missing,
    min_side=16,
)

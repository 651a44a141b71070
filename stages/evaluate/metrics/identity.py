"""Whether the result shows the same person as the reference: a recognition network encodes both faces, and their embeddings are compared.

Both faces are found by the landmark detector. Frames of a result without a face lower the coverage, not the mean. There are two networks:

* SFace (Zhong et al. 2021): the cosine of the embeddings. The face is aligned to 112 x 112 pixels by five points: eyes, tip of the nose,
  corners of the mouth. According to OpenCV's documentation, two faces with a cosine of at least 0.363 are of the same person.
* dlib's network (King 2017): the Euclidean distance of embeddings of 128 numbers, and the share of the frames in which it is below dlib's
  limit of 0.6. dlib aligns the face to 150 x 150 pixels by the 68 landmarks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.conditions.redetection import Detect, Points, detector_factory, largest, missing_detector, nearest
from stages.evaluate.metric import EvaluationContext, Image, Metric, Scorer, missing_weights
from stages.models import identity

WEIGHTS = "face_recognition_sface_2021dec.onnx"
Embedding = NDArray[Any]
Embed = Callable[[Image, Points], Embedding]
"""(frame, landmarks [68, 3] of a face in it) -> embedding."""
Compare = Callable[[Embedding, Embedding], float]


def cosine(first: Embedding, second: Embedding) -> float:
    """The cosine of two embeddings of unit length."""
    return float(first @ second)


def distance(first: Embedding, second: Embedding) -> float:
    """The Euclidean distance of two embeddings."""
    return float(np.linalg.norm(first - second))


class Identity:
    """Compares the faces of candidates with that of the reference.

    Each candidate has its own detector, because a detector may track from frame to frame.
    """

    def __init__(self, open_detector: Callable[[], Detect], embed: Embed, compare: Compare) -> None:
        self._open_detector, self._embed, self._compare = open_detector, embed, compare
        self._reference_detector, self._detectors = open_detector(), list[Detect]()

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> list[float | None] | None:
        while len(self._detectors) < len(candidates):
            self._detectors.append(self._open_detector())
        target = largest(self._reference_detector(reference))
        if target is None:
            return None
        expected = self._embed(reference, target)
        faces = [nearest(detect(frame), target) for detect, frame in zip(self._detectors, candidates, strict=True)]
        return [
            None if face is None else self._compare(self._embed(frame, face), expected)
            for face, frame in zip(faces, candidates, strict=True)
        ]


class CachedScorer:
    """Computes the figures of a frame once for two metrics that need them."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self._images: tuple[Image, ...] = ()
        self._figures: Sequence[float | None] | None = None

    def __call__(self, reference: Image, candidates: Sequence[Image]) -> Sequence[float | None] | None:
        images = (reference, *candidates)
        if list(map(id, images)) != list(map(id, self._images)):
            self._images, self._figures = images, self._scorer(reference, candidates)
        return self._figures


def five_points(landmarks: Points) -> NDArray[np.float32]:
    """[68, 3] -> [5, 2]: both eyes, tip of the nose, both corners of the mouth; the left one in the image comes first."""
    eyes = landmarks[36:42, :2].mean(0), landmarks[42:48, :2].mean(0)
    return np.stack([*eyes, landmarks[30, :2], landmarks[48, :2], landmarks[54, :2]]).astype(np.float32)


def open_sface(path: Path) -> Embed:
    """SFace in OpenCV, which aligns the face as in the network's training."""
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
    return missing_weights(WEIGHTS) or missing_detector(context.landmarks)


def _missing_for_dlib(context: EvaluationContext) -> str:
    return identity.PACKAGE.missing() or missing_weights(identity.WEIGHTS) or missing_detector(context.landmarks)


def _open(context: EvaluationContext) -> Scorer:
    from weights import registry

    return Identity(detector_factory(context.landmarks, context.device), open_sface(registry.path(WEIGHTS)), cosine)


def _open_dlib(context: EvaluationContext) -> Scorer:
    from weights import registry

    def open_scorer() -> Scorer:
        return CachedScorer(
            Identity(detector_factory(context.landmarks, context.device), identity.open_dlib(registry.path(identity.WEIGHTS)), distance)
        )

    return context.cache.once("identity-dlib", open_scorer)


def _open_dlib_same(context: EvaluationContext) -> Scorer:
    distances = _open_dlib(context)

    def same(reference: Image, candidates: Sequence[Image]) -> list[float | None] | None:
        values = distances(reference, candidates)
        return None if values is None else [None if value is None else float(value < identity.DLIB_MAX_DISTANCE) for value in values]

    return same


SFACE = Metric(
    name="identity",
    summary="similarity of the face to that of the reference, 1 for identical faces",
    unit="",
    better="higher",
    open=_open,
    missing=_missing,
    min_side=16,
)
DLIB = Metric(
    name="identity-dlib",
    summary="distance of the face from that of the reference by dlib's network, 0 for identical faces",
    unit="",
    better="lower",
    open=_open_dlib,
    missing=_missing_for_dlib,
    min_side=16,
    only_by_name=True,
)
DLIB_SAME = replace(
    DLIB,
    name="identity-dlib-same",
    summary=f"share of the frames in which that distance is below {identity.DLIB_MAX_DISTANCE}, dlib's limit for the same person",
    better="higher",
    open=_open_dlib_same,
    aliases=("identity-dlib",),
)
METRICS = (SFACE, DLIB, DLIB_SAME)

"""The background behind a subject, combined from several images of one scene in which the subject is at different places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.conditions.framing import Example
from stages.conditions.kinds.kind import Kind
from stages.conditions.view import View
from stages.synthesize.canvas import Image, Map

MAX_IMAGES = 8
"""Largest number of images that are combined."""
SAME_SCENE = 8.0
"""Two images show one scene from one viewpoint if the median of their difference in the common background is below this, in grey levels."""
STRIP = 64
"""Number of rows that are combined at a time, to save memory."""


@dataclass(frozen=True)
class Background:
    """A scene without its subject."""

    image: Image
    known: Map
    """[H, W] in [0, 1]: 1 where an image shows the background, 0 elsewhere, with soft edges."""


def find_background(examples: Sequence[Example], kind: Kind, edge: float) -> Background | None:
    """The background of the scene of the first example; None if no other example shows the same scene.

    edge: width of the margin around the subject that counts as covered, in heights of the model's images.
    """
    chosen = [examples[round(index)] for index in np.linspace(0, len(examples) - 1, min(len(examples), MAX_IMAGES))]
    first, *others = [(example.clip.frame(example.index), _covered(example, kind, edge)) for example in chosen]
    scene = [first, *(other for other in others if _same_scene(first, other))]
    if len(scene) == 1:
        return None
    images, covered = zip(*scene, strict=True)
    free: Map = np.asarray(~np.stack(covered).all(0), np.float32)
    known = cv2.GaussianBlur(cv2.erode(free, np.ones((5, 5))), (0, 0), 2) * free
    return Background(_median(images, covered), np.asarray(known, np.float32))


def _covered(example: Example, kind: Kind, edge: float) -> NDArray[np.bool_]:
    """The pixels of the example's image that the subject covers, bool [H, W]."""
    height, width = example.clip.height, example.clip.width
    mask = np.zeros((height, width), np.uint8)
    assert kind.cover is not None
    kind.cover(example.track.keypoints(example.index, View.scaled(height, width, height, width)), mask)
    away = cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    reach = edge * example.view.height / np.sqrt(abs(np.linalg.det(example.view.matrix[:, :2])))
    return np.asarray(away <= reach)


def _same_scene(first: tuple[Image, NDArray[np.bool_]], other: tuple[Image, NDArray[np.bool_]]) -> bool:
    (image, covered), (shown, hidden) = first, other
    if image.shape != shown.shape or (covered | hidden).all():
        return False
    return float(np.median(cv2.absdiff(image, shown).mean(-1)[~(covered | hidden)])) < SAME_SCENE


def _median(images: Sequence[Image], covered: Sequence[NDArray[np.bool_]]) -> Image:
    """The lower median, at each pixel, of the images in which it is not covered; the first image where it is covered in all."""
    result: Image = images[0].copy()
    for top in range(0, len(result), STRIP):
        rows = slice(top, top + STRIP)
        hidden = np.stack([mask[rows] for mask in covered])
        values = np.where(hidden[..., None], np.int16(256), np.stack([image[rows] for image in images]).astype(np.int16))
        values.sort(0)
        count = (~hidden).sum(0)
        middle = np.take_along_axis(values, np.maximum(count - 1, 0)[None, ..., None] // 2, 0)[0]
        result[rows] = np.where(count[..., None] > 0, middle, result[rows])
    return result

"""Regions of a label map: the instances of each label, or its connected pieces if instances are not known; and edges between them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.tables.label_tables import VOID

LABELS = 256
"""Label ids and numbers of instances have 8 bits."""


def keys_of(labels: NDArray[np.uint8], numbers: NDArray[np.uint8] | None) -> NDArray[np.int32]:
    """Label and number of the instance of each pixel as one integer, label + 256 x number, int32 [H, W]; 0 for the number if unknown."""
    keys = labels.astype(np.int32)
    return keys if numbers is None else keys + LABELS * numbers.astype(np.int32)


def regions_of(labels: NDArray[np.uint8], numbers: NDArray[np.uint8] | None) -> NDArray[np.int32]:
    """The number of each pixel's region, int32 [H, W]: 0 for void, the others count from 1.

    A region is what has the same label and the same number of an instance. Without numbers it is a connected piece of one label; pixels
    that touch at a corner are connected. labels, numbers: uint8 [H, W], void is 255.
    """
    if numbers is None:
        return _pieces(labels)
    keys = keys_of(labels, numbers)
    present = np.bincount(keys.ravel(), minlength=LABELS * LABELS) > 0
    present[VOID::LABELS] = False
    regions: NDArray[np.int32] = np.where(present, present.cumsum(dtype=np.int32), np.int32(0))[keys]
    return regions


def _pieces(labels: NDArray[np.uint8]) -> NDArray[np.int32]:
    regions = np.zeros(labels.shape, np.int32)
    found = 0
    for label in np.flatnonzero(np.bincount(labels.ravel(), minlength=VOID)[:VOID]):
        count, pieces = cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=8)
        regions += np.where(pieces > 0, pieces + np.int32(found), np.int32(0))
        found += count - 1
    return regions


@dataclass(frozen=True)
class RegionFeatures:
    """The regions of one frame but void: label [R], area in pixels [R], and features [R, D]."""

    labels: NDArray[np.int64]
    areas: NDArray[np.int64]
    features: NDArray[np.float64]


def features_of(regions: NDArray[np.int32], semantic: NDArray[np.float32], features: NDArray[np.float32]) -> RegionFeatures:
    """The features of each region, from maps [D, H, W] that are constant on it; semantic: [labels, H, W], regions: int32 [H, W]."""
    numbers, first, areas = np.unique(regions, return_index=True, return_counts=True)
    real = numbers > 0
    labels = semantic.reshape(len(semantic), -1)[:, first[real]].argmax(0)
    return RegionFeatures(labels, areas[real], features.reshape(len(features), -1)[:, first[real]].T.astype(np.float64))


def edges_of(keys: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether a pixel's key differs from that of its left, right, upper or lower neighbour, bool [H, W] (pix2pixHD, section 3.3)."""
    edges = np.zeros(keys.shape, bool)
    for whole, other in ((edges, keys), (edges.T, keys.T)):
        differs = other[1:] != other[:-1]
        whole[1:] |= differs
        whole[:-1] |= differs
    return edges

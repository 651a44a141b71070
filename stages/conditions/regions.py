"""Regions of a label map (instances, or connected pieces of one label if there are no instances) and the edges between them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.tables.label_tables import VOID

LABELS = 256
"""Number of possible label ids, and of possible instance numbers."""


def keys_of(labels: NDArray[np.uint8], instances: NDArray[np.uint8] | None) -> NDArray[np.int32]:
    """One integer for the label and the instance of each pixel, int32 [H, W]: label + 256 x instance number.

    labels, instances: uint8 [H, W]. If `instances` is None, the instance number is 0.
    """
    keys = labels.astype(np.int32)
    return keys if instances is None else keys + LABELS * instances.astype(np.int32)


def regions_of(labels: NDArray[np.uint8], instances: NDArray[np.uint8] | None) -> NDArray[np.int32]:
    """The number of each pixel's region, int32 [H, W]: 0 for void, the others count from 1.

    A region consists of the pixels with the same label and the same instance number. If `instances` is None, it is a connected piece of one
    label; pixels that touch at a corner are connected. labels: uint8 [H, W], void is 255; instances: numbers, uint8 [H, W].
    """
    if instances is None:
        return _connected_pieces(labels)
    keys = keys_of(labels, instances)
    present = np.bincount(keys.ravel(), minlength=LABELS * LABELS) > 0
    present[VOID::LABELS] = False
    regions: NDArray[np.int32] = np.where(present, present.cumsum(dtype=np.int32), np.int32(0))[keys]
    return regions


def _connected_pieces(labels: NDArray[np.uint8]) -> NDArray[np.int32]:
    regions = np.zeros(labels.shape, np.int32)
    total = 0
    for label in np.flatnonzero(np.bincount(labels.ravel(), minlength=VOID)[:VOID]):
        count, pieces = cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=8)
        regions += np.where(pieces > 0, pieces + np.int32(total), np.int32(0))
        total += count - 1
    return regions


@dataclass(frozen=True)
class RegionFeatures:
    """The R regions of one frame, without void: label [R], area in pixels [R], features [R, D]."""

    labels: NDArray[np.int64]
    areas: NDArray[np.int64]
    features: NDArray[np.float64]


def features_of(regions: NDArray[np.int32], semantic: NDArray[np.float32], features: NDArray[np.float32]) -> RegionFeatures:
    """The features of each region of `regions`, int32 [H, W].

    semantic: one-hot labels [labels, H, W]; features: maps [D, H, W] that are constant in each region.
    """
    numbers, first_pixels, areas = np.unique(regions, return_index=True, return_counts=True)
    not_void = numbers > 0
    pixels = first_pixels[not_void]
    labels = semantic.reshape(len(semantic), -1)[:, pixels].argmax(0)
    return RegionFeatures(labels, areas[not_void], features.reshape(len(features), -1)[:, pixels].T.astype(np.float64))


def edges_of(keys: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether a pixel's key differs from that of its left, right, upper or lower neighbour, bool [H, W] (pix2pixHD, section 3.3)."""
    edges = np.zeros(keys.shape, bool)
    for edge_rows, key_rows in ((edges, keys), (edges.T, keys.T)):
        differs = key_rows[1:] != key_rows[:-1]
        edge_rows[1:] |= differs
        edge_rows[:-1] |= differs
    return edges

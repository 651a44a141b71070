"""Regions of a label map: the instances of each label, or its connected pieces if instances are not known; and edges between them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.label_tables import VOID

_NUMBERS = 256
"""Numbers of instances have 8 bits."""


def keys_of(labels: NDArray[np.uint8], numbers: NDArray[np.uint8] | None) -> NDArray[np.int32]:
    """Label and number of the instance of each pixel as one integer, label x 256 + number, int32 [H, W]; 0 for the number if unknown."""
    keys = labels.astype(np.int32) * _NUMBERS
    return keys if numbers is None else keys + numbers


def label_of(keys: NDArray[np.int32]) -> NDArray[np.int32]:
    """The labels in `keys_of`."""
    return keys // _NUMBERS


def regions_of(labels: NDArray[np.uint8], numbers: NDArray[np.uint8] | None) -> NDArray[np.int32]:
    """The number of each pixel's region, int32 [H, W]: 0 for void, the others count from 1.

    A region is what has the same label and the same number of an instance. Without numbers it is a connected piece of one label; pixels
    that touch at a corner are connected. labels, numbers: uint8 [H, W], void is 255.
    """
    if numbers is None:
        return _pieces(labels)
    keys = keys_of(labels, numbers)
    present = np.bincount(keys.ravel(), minlength=(VOID + 1) * _NUMBERS) > 0
    present[VOID * _NUMBERS :] = False
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


def edges_of(keys: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether a pixel's key differs from that of its left, right, upper or lower neighbour, bool [H, W] (pix2pixHD, section 3.3)."""
    edges = np.zeros(keys.shape, bool)
    for whole, other in ((edges, keys), (edges.T, keys.T)):
        differs = other[1:] != other[:-1]
        whole[1:] |= differs
        whole[:-1] |= differs
    return edges

"""Import of label maps: a folder with one PNG per frame, which contains label ids or the colours of a label table."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.backends import Backend
from stages.clip.images import open_image, require_lossless
from stages.conditions.labels import LabelTable, ids_of_colours
from stages.errors import InputError
from stages.segment.backends import LabelMapReader


def read_label_map(path: Path, table: LabelTable, width: int, height: int) -> NDArray[np.uint8]:
    """Read a label map as ids, uint8 [height, width], resized to the size of the clip without mixing labels.

    A grey or palette image contains ids of the table or void (255); an RGB image contains the table's colours.
    Raises InputError for anything else, for another aspect ratio, and for lossy compression.
    """
    values = _pixels(path)
    ids = _ids(path, values, table)
    if abs(ids.shape[1] * height - ids.shape[0] * width) > max(width, height):
        raise InputError(f"{path} is {ids.shape[1]} x {ids.shape[0]}, which is not the shape of the clip's {width} x {height} frames")
    return np.asarray(cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def _pixels(path: Path) -> NDArray[np.uint8]:
    """The ids [H, W] of a grey or palette image, or RGB [H, W, 3]."""
    with open_image(path) as image:
        require_lossless(path, image)
        converted = image if image.mode in ("P", "L", "1", "I", "I;16", "I;16B") else image.convert("RGB")
        values = np.array(converted)
    if values.min(initial=0) < 0 or values.max(initial=0) > 255:
        raise InputError(f"{path} is not a label map: its values reach {values.max()}, but the largest id is 255")
    return values.astype(np.uint8)


def _ids(path: Path, values: NDArray[np.uint8], table: LabelTable) -> NDArray[np.uint8]:
    try:
        return table.indices(values) if values.ndim == 2 else ids_of_colours(values, table)
    except InputError as error:
        raise InputError(f"{path}: {error}", code="wrong-label-table") from error


def _open(device: str) -> LabelMapReader:
    return read_label_map


BACKEND = Backend(name="labels", produces="a label map imported from a folder of PNG files", open=_open)

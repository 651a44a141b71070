"""Videos with a rotation or reflection in the metadata."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from strange_files.encoding import H264, patch_box, write
from strange_files.frames import INVERSE, ORIENTATIONS
from strange_files.registry import Setup, Truth, register

MATRICES = {2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1), 5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0), 8: (0, -1, 1, 0)}
"""EXIF orientation -> a, b, c, d of the matrix in the box tkhd: x' = a x + c y, y' = b x + d y."""


def _rotated(orientation: int) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        stored = [np.ascontiguousarray(ORIENTATIONS[INVERSE[orientation]](frame)) for frame in setup.frames()]
        write(setup, path, H264, frames=stored)
        a, b, c, d = MATRICES[orientation]
        patch_box(path, b"tkhd", 40, struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30))
        return setup.truth()

    return make


for _orientation, _name in {
    2: "mirrored",
    3: "180",
    4: "upside down mirrored",
    5: "transposed",
    6: "90",
    7: "transversed",
    8: "270",
}.items():
    register(f"matrix {_name}", "rotated.mp4", "libx264")(_rotated(_orientation))

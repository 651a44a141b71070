"""ICC profiles of colour spaces with a plain gamma, and the conversion of their colours to sRGB, computed with numpy."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

SRGB_D50 = np.array([[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]])
"""Columns: XYZ of red, green and blue, adapted to D50 as in ICC profiles."""


@dataclass(frozen=True)
class ColourSpace:
    """An RGB colour space. primaries: columns XYZ of red, green and blue for D50."""

    name: str
    primaries: np.ndarray
    gamma: float

    def profile(self) -> bytes:
        """An ICC profile of a display, version 2.1."""
        curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(self.gamma * 256))
        text = b"desc" + bytes(4) + struct.pack(">I", len(self.name) + 1) + self.name.encode() + bytes(79)
        tags = {b"desc": text, b"cprt": b"text" + bytes(4) + b"none" + bytes(1), b"wtpt": _xyz_tag((0.9642, 1, 0.8249))}
        tags |= {kind + b"XYZ": _xyz_tag(column) for kind, column in zip((b"r", b"g", b"b"), self.primaries.T, strict=True)}
        tags |= {kind + b"TRC": curve for kind in (b"r", b"g", b"b")}
        table, data = struct.pack(">I", len(tags)), b""
        for kind, value in tags.items():
            table += kind + struct.pack(">II", 132 + 12 * len(tags) + len(data), len(value))
            data += value + bytes(-len(value) % 4)
        size = struct.pack(">I", 128 + len(table) + len(data))
        header = (
            size + b"lcms" + bytes([2, 0x10, 0, 0]) + b"mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28) + _xyz_tag((0.9642, 1, 0.8249))[8:]
        )
        return header.ljust(128, b"\0") + table + data

    def in_srgb(self, colour: tuple[int, int, int]) -> np.ndarray:
        """A colour of this space (0 to 255) in sRGB (0 to 255, not rounded)."""
        linear = np.linalg.solve(SRGB_D50, self.primaries @ (np.array(colour) / 255) ** (round(self.gamma * 256) / 256)).clip(0, 1)
        return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _xyz_tag(values: tuple[float, ...] | np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(value * 65536)) for value in values)


DISPLAY_P3 = ColourSpace(
    "Display P3", np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]]), 2.2
)
ADOBE_RGB = ColourSpace(
    "Adobe RGB", np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]]), 2.19921875
)

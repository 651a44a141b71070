"""YUV4MPEG2 streams (y4m): raw video with a header, as `ffmpeg -f yuv4mpegpipe` and `mjpegtools` write and read it, for pipes.

Eight bits, progressive, 4:2:0, 4:2:2, 4:4:4 or grey. The colour matrix is the one that video software assumes (`default_matrix`).
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import IO

import cv2
import numpy as np
from numpy.typing import NDArray

from stages.clip.camera import Captured
from stages.clip.ffmpeg import default_matrix
from stages.errors import InputError

MAX_HEADER = 4096
"""Longest header line in bytes."""
MAX_SIDE = 16384
LUMA_SHARES = {"smpte170m": (0.299, 0.114), "bt709": (0.2126, 0.0722)}
"""Matrix -> the shares of red and blue in luma (BT.601, BT.709)."""
SUBSAMPLING = {"420": (2, 2), "420jpeg": (2, 2), "420mpeg2": (2, 2), "420paldv": (2, 2), "422": (1, 2), "444": (1, 1), "mono": (0, 0)}
"""Value of the header's C -> the factors by which chroma has fewer rows and fewer columns than luma; (0, 0) for no chroma."""

Image = NDArray[np.uint8]


class Y4mReader:
    """Iterates over the frames of a y4m stream, uint8 RGB [height, width, 3].

    Raises InputError for a stream that is not y4m, is damaged, or has an unsupported pixel format.
    """

    dropped = 0
    """Number of skipped frames: none."""

    def __init__(self, stream: IO[bytes], name: str = "the stream") -> None:
        """name: for messages."""
        self._stream, self._name = stream, name
        line = stream.readline(MAX_HEADER)
        if not line.startswith(b"YUV4MPEG2 ") or not line.endswith(b"\n"):
            raise InputError(f"{name} is not a y4m stream", hint="Make one with: ffmpeg -i VIDEO -f yuv4mpegpipe -pix_fmt yuv420p -")
        fields = {word[:1]: word[1:] for word in line.decode("ascii", "replace").split()[1:] if word[:1] != "X"}
        self._full_range = b"XCOLORRANGE=FULL" in line
        self.width, self.height = (self._side(fields.get(letter, "")) for letter in "WH")
        self.fps = self._rate(fields.get("F", ""))
        """Frames per second; 25 if the header has none."""
        if fields.get("I", "p") not in ("p", "?"):
            raise InputError(f"{name} is interlaced", hint="Pass it through: ffmpeg -i - -vf yadif -f yuv4mpegpipe -")
        chroma = fields.get("C", "420")
        if chroma not in SUBSAMPLING:
            raise InputError(
                f"{name} has pixels of the format {chroma}", hint=f"Supported are {', '.join(SUBSAMPLING)}: add -pix_fmt yuv420p"
            )
        down, across = SUBSAMPLING[chroma]
        chroma_shapes = [(-(-self.height // down), -(-self.width // across))] * 2 if down else []
        self._plane_shapes = [(self.height, self.width), *chroma_shapes]
        self._sited_left = chroma in ("420mpeg2", "420paldv", "422")  # as in ffmpeg; others are between two columns
        self._to_rgb = _yuv_to_rgb(self.height, self._full_range)
        self.cut_short = False
        """Whether the stream ended in the middle of a frame. Known when all frames have been read."""

    def _side(self, text: str) -> int:
        if not text.isdecimal() or not 0 < int(text) <= MAX_SIDE:
            raise InputError(f"{self._name} has a frame size that is not between 1 and {MAX_SIDE} pixels")
        return int(text)

    def _rate(self, text: str) -> Fraction:
        found = re.fullmatch(r"(\d{1,9}):(\d{1,9})", text)
        return Fraction(int(found[1]), int(found[2])) if found and int(found[1]) and int(found[2]) else Fraction(25)

    def captured(self) -> Iterator[Captured]:
        """The frames with the times at which they were read."""
        return (Captured(image, time.perf_counter()) for image in self)

    def __iter__(self) -> Iterator[Image]:
        while marker := self._stream.readline(MAX_HEADER):
            if not marker.startswith(b"FRAME"):
                raise InputError(f"{self._name} is damaged: a frame has no header")
            planes = [self._read_plane(*shape) for shape in self._plane_shapes]
            if any(plane is None for plane in planes):
                self.cut_short = True
                return
            yield self._convert_to_rgb([plane for plane in planes if plane is not None])

    def _read_plane(self, rows: int, columns: int) -> Image | None:
        """The next plane, uint8 [rows, columns]; None if the stream ends before its last byte."""
        data = bytearray()
        while len(data) < rows * columns:
            part = self._stream.read(rows * columns - len(data))
            if not part:
                return None
            data += part
        return np.frombuffer(data, np.uint8).reshape(rows, columns)

    def _convert_to_rgb(self, planes: list[Image]) -> Image:
        """Y, Cb and Cr, or Y alone -> uint8 RGB [height, width, 3]."""
        luma, *chroma = planes
        upsampled = [np.full_like(luma, 128)] * 2 if not chroma else [self._upsample(plane) for plane in chroma]
        rgb = cv2.transform(np.dstack([luma, *upsampled]).astype(np.float32), self._to_rgb)
        return np.asarray(np.clip(rgb + 0.5, 0, 255), np.uint8)

    def _upsample(self, plane: Image) -> Image:
        """Chroma at the size of luma. Samples sited left are at every second column of luma, not between two columns."""
        if plane.shape == (self.height, self.width):
            return plane
        down, across = self.height / plane.shape[0], self.width / plane.shape[1]
        down, across = float(round(down)), float(round(across))  # an odd side is rounded up to a whole sample
        left = 0.0 if self._sited_left else (across - 1) / 2
        to_luma = np.array([[across, 0, left], [0, down, (down - 1) / 2]])
        upsampled = cv2.warpAffine(plane, to_luma, (self.width, self.height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(upsampled, np.uint8)


class Y4mWriter:
    """Writes frames to a y4m stream: 4:2:0 with chroma samples between the pixels (C420jpeg), limited range."""

    def __init__(self, stream: IO[bytes], width: int, height: int, fps: Fraction) -> None:
        self._stream = stream
        self._from_rgb = np.linalg.inv(_yuv_to_rgb(height, full_range=False)[:, :3])
        header = f"YUV4MPEG2 W{width} H{height} F{fps.numerator}:{fps.denominator} Ip A1:1 C420jpeg XCOLORRANGE=LIMITED\n"
        self._stream.write(header.encode())

    def write(self, frame: Image) -> None:
        """Append one frame, uint8 RGB [H, W, 3], and flush."""
        yuv = cv2.transform(frame.astype(np.float32), self._from_rgb) + np.array([16, 128, 128], np.float32)
        height, width = frame.shape[:2]
        padded = cv2.copyMakeBorder(yuv[..., 1:], 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        chroma = cv2.resize(padded, (padded.shape[1] // 2, padded.shape[0] // 2), interpolation=cv2.INTER_AREA)
        self._stream.write(b"FRAME\n")
        for plane in (yuv[..., 0], chroma[..., 0], chroma[..., 1]):
            self._stream.write(np.clip(plane + 0.5, 0, 255).astype(np.uint8).tobytes())
        self._stream.flush()


def _yuv_to_rgb(height: int, full_range: bool) -> NDArray[np.float64]:
    """The affine map [3, 4] from Y, Cb, Cr in grey levels to R, G, B, for frames of this height (see `default_matrix`)."""
    red, blue = LUMA_SHARES[default_matrix(height)]
    green = 1 - red - blue
    y, c = (1.0, 1.0) if full_range else (255 / 219, 255 / 224)
    linear = np.array(
        [
            [y, 0, 2 * (1 - red) * c],
            [y, -2 * (1 - blue) * blue / green * c, -2 * (1 - red) * red / green * c],
            [y, 2 * (1 - blue) * c, 0],
        ]
    )
    zero = np.array([0.0 if full_range else 16.0, 128, 128])
    return np.hstack([linear, -linear @ zero[:, None]])

"""Encodes videos with ffmpeg. Frames are converted to YUV by numpy, so that their exact values are known."""

from __future__ import annotations

import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from strange_files.registry import Setup, Truth

WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Matrix -> the weights of red and blue in luma."""
TAGS = {"bt601": ("smpte170m",) * 3, "bt709": ("bt709",) * 3, "bt2020": ("bt2020nc", "bt2020", "bt2020-10")}
"""Matrix -> ffmpeg's names of the matrix, primaries and transfer function."""
LAYOUTS = {"yuv444p": (1, 1), "yuv422p": (2, 1), "yuv420p": (2, 2), "yuv411p": (4, 1), "gray": (0, 0)}
"""Layout -> number of pixels, horizontally and vertically, that share a chroma sample; 0 for grey."""


def yuv_planes(rgb: np.ndarray, layout: str, matrix: str = "bt601", full: bool = False, bits: int = 8) -> bytes:
    """The bytes of the planes Y, Cb and Cr of an image R'G'B' [H, W, 3] from 0 to 1."""
    red, blue = WEIGHTS[matrix]
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    chroma = [(rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)]
    maximum, scale = 2**bits - 1, 2 ** (bits - 8)
    black, luma_range, chroma_range = (0, maximum, maximum) if full else (16 * scale, 219 * scale, 224 * scale)
    across, down = LAYOUTS[layout]
    levels = [black + luma_range * luma] + (
        [128 * scale + chroma_range * _subsample(plane, across, down) for plane in chroma] if across else []
    )
    return b"".join(np.clip(np.rint(level), 0, maximum).astype("<u2" if bits > 8 else "u1").tobytes() for level in levels)


def _subsample(plane: np.ndarray, across: int, down: int) -> np.ndarray:
    """The means of blocks of `across` times `down` pixels."""
    height, width = plane.shape
    padded = np.pad(plane, ((0, -height % down), (0, -width % across)), "edge")
    return padded.reshape(padded.shape[0] // down, down, padded.shape[1] // across, across).mean((1, 3))


@dataclass(frozen=True)
class Coding:
    """How frames are encoded: ffmpeg's encoder and its options; layout, matrix, range and depth of the planes."""

    encoder: str = "libx264"
    options: tuple[str, ...] = ("-qp", "0", "-preset", "ultrafast")
    layout: str = "yuv420p"
    matrix: str = "bt601"
    full: bool = False
    bits: int = 8
    tags: tuple[str, str, str] | None = None
    """Matrix, primaries and transfer function in the file's metadata; None: those of `matrix`."""

    @property
    def pix_fmt(self) -> str:
        return self.layout if self.bits == 8 else f"{self.layout}{self.bits}le"

    def source(self, setup: Setup, frames: Sequence[np.ndarray], name: str = "raw") -> list[object]:
        """ffmpeg's arguments for these frames as input. The frames are uint8, or R'G'B' from 0 to 1."""
        scaled = (frame / 255 if frame.dtype == np.uint8 else frame for frame in frames)
        data = b"".join(yuv_planes(frame, self.layout, self.matrix, self.full, self.bits) for frame in scaled)
        (setup.folder / name).write_bytes(data)
        size = f"{frames[0].shape[1]}x{frames[0].shape[0]}"
        return ["-f", "rawvideo", "-pix_fmt", self.pix_fmt, "-s", size, "-framerate", setup.fps, "-i", name]

    def output_options(self) -> list[object]:
        """ffmpeg's arguments for the encoder and the colour metadata."""
        matrix, primaries, transfer = self.tags or TAGS[self.matrix]
        tags = f"setparams=colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}:range={'pc' if self.full else 'tv'}"
        return ["-vf", tags, "-c:v", self.encoder, "-pix_fmt", self.pix_fmt, *self.options]


H264 = Coding()
INTRA = Coding(options=("-qp", "0", "-preset", "ultrafast", "-g", "1"))
DELAYED = Coding(options=("-crf", "4", "-bf", "3", "-g", "12", "-x264-params", "scenecut=0:b-pyramid=normal"))


def write(setup: Setup, path: Path, coding: Coding, *options: object, frames: Sequence[np.ndarray] | None = None) -> None:
    """Encode the frames of the setup, or `frames`, as a video. options: further arguments of ffmpeg."""
    setup.ffmpeg(*coding.source(setup, frames or setup.frames()), *coding.output_options(), *options, path.name)


def click(setup: Setup, at: float, length: float, name: str = "click.wav") -> list[object]:
    """ffmpeg's arguments for a sound as input: `length` seconds of silence, with a tone of 50 ms at `at` seconds."""
    sound = np.zeros(round(48000 * length), np.int16)
    start = round(48000 * at)
    sound[start : start + 2400] = np.resize(np.array([20000, -20000], np.int16).repeat(12), 2400)[: max(0, len(sound) - start)]
    with wave.open(str(setup.folder / name), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(sound.tobytes())
    return ["-i", name]


def patch_box(path: Path, box: bytes, offset: int, content: bytes) -> None:
    """Replace bytes in an mp4, `offset` bytes behind the name of the first box of this kind."""
    data = bytearray(path.read_bytes())
    start = data.index(box) + len(box) + offset
    data[start : start + len(content)] = content
    path.write_bytes(data)


def raw_frames(setup: Setup, frames: Sequence[np.ndarray], pix_fmt: str = "rgb24") -> list[object]:
    """ffmpeg's arguments for frames as input, whose bytes have the format `pix_fmt` already."""
    (setup.folder / "plain").write_bytes(b"".join(np.ascontiguousarray(frame).tobytes() for frame in frames))
    size = f"{frames[0].shape[1]}x{frames[0].shape[0]}"
    return ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-s", size, "-framerate", setup.fps, "-i", "plain"]


def encode(coding: Coding) -> Callable[[Setup, Path], Truth]:
    """A function for `register` that writes the frames of the setup with this coding."""

    def make(setup: Setup, path: Path) -> Truth:
        write(setup, path, coding)
        return setup.truth()

    return make

"""Unusual but valid videos and images: functions that make them, and the ground truth of each.

The pixels of a frame encode its number, in black and white blocks, and its orientation, by patches of four colours in the corners. Frames
are computed by numpy and encoded as losslessly as each format allows.
"""

from __future__ import annotations

import struct
import subprocess
import wave
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from stages.clip.ffmpeg import executable

# Content of frames

PATCHES = np.array([[(200, 72, 56), (88, 184, 120)], [(40, 56, 152), (224, 208, 112)]], np.uint8)
"""The colours in the corners of an upright frame: red and green at the top, blue and yellow at the bottom."""
ORIENTATIONS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}
"""The eight orientations of EXIF: a function from the stored to the upright image."""
INVERSE = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}
"""The orientation that undoes each orientation."""
BITS = 8
"""Number of black and white blocks in a frame."""


def draw_frame(number: int, size: tuple[int, int], patches: np.ndarray = PATCHES) -> np.ndarray:
    """The upright frame with this number, uint8 [H, W, 3]. size: (width, height)."""
    width, height = size
    row, column = np.arange(height) * 3 // height, np.arange(width) * 2 // width
    frame = patches[(row == 2).astype(int)[:, None], column[None, :]]
    frame[row == 1] = np.where(number >> (np.arange(width) * BITS // width) & 1, 235, 16).astype(np.uint8)[None, :, None]
    return frame


def patches_of(frame: np.ndarray) -> np.ndarray:
    """The colours [2, 2, 3] in the corners of an upright frame."""
    height, width = frame.shape[:2]
    return np.stack([[frame[y, x] for x in (width // 4, 3 * width // 4)] for y in (height // 6, 5 * height // 6)]).astype(int)


def number_of(frame: np.ndarray) -> int:
    """The number that `draw_frame` drew into an upright frame."""
    height, width = frame.shape[:2]
    return sum(int(frame[height // 2, (2 * bit + 1) * width // (2 * BITS)].mean() > 128) << bit for bit in range(BITS))


# The ground truth of a file


@dataclass(frozen=True)
class Truth:
    """What a reader must find in a file."""

    numbers: tuple[int, ...]
    times: tuple[Fraction, ...]
    """The time of each frame, in seconds from the first."""
    size: tuple[int, int]
    orientation: int = 1
    patches: np.ndarray = field(default_factory=lambda: PATCHES.astype(int))
    tolerance: float = 2
    """Grey levels by which a colour may differ."""
    tick: Fraction = Fraction(0)
    """The unit in seconds to which the container rounds times."""
    sound: Fraction | None = None
    """The time of the click in the sound, in seconds from the first frame; None without sound."""
    refused: str = ""
    """A part of the error message, if the file must be refused."""
    probed: bool = True
    """Whether ffprobe reads the same frames and times. It does not read image folders or image metadata, for example."""


# Writing files


@dataclass(frozen=True)
class Setup:
    """The folder for a file, and the size (width, height), number and rate of its frames."""

    folder: Path
    size: tuple[int, int] = (192, 144)
    count: int = 24
    fps: Fraction = Fraction(25)

    def ffmpeg(self, *arguments: object) -> None:
        subprocess.run(
            [executable(), "-v", "error", "-y", "-nostdin", *map(str, arguments)], check=True, cwd=self.folder, stderr=subprocess.DEVNULL
        )

    def truth(self, **changes: object) -> Truth:
        """The ground truth of upright frames 0, 1, 2, ... at a constant rate, with the given changes."""
        plain = Truth(tuple(range(self.count)), tuple(n / self.fps for n in range(self.count)), self.size)
        return replace(plain, **changes)  # type: ignore[arg-type]

    def frames(self, size: tuple[int, int] | None = None, first: int = 0) -> list[np.ndarray]:
        return [draw_frame(number, size or self.size) for number in range(first, first + self.count)]


@dataclass(frozen=True)
class StrangeFile:
    """An unusual file: a function that writes it and returns its ground truth, its name, and the encoder that it needs."""

    make: Callable[[Setup, Path], Truth]
    file: str
    encoder: str


STRANGE_FILES: dict[str, StrangeFile] = {}


def register(name: str, file: str, encoder: str = "") -> Callable[[Callable[[Setup, Path], Truth]], Callable[[Setup, Path], Truth]]:
    """A decorator that adds a function to STRANGE_FILES, under `name`."""

    def add(make: Callable[[Setup, Path], Truth]) -> Callable[[Setup, Path], Truth]:
        STRANGE_FILES[name] = StrangeFile(make, file, encoder)
        return make

    return add


WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
"""Matrix -> the weights of red and blue in luma."""
TAGS = {"bt601": ("smpte170m",) * 3, "bt709": ("bt709",) * 3, "bt2020": ("bt2020nc", "bt2020", "bt2020-10")}
"""Matrix -> ffmpeg's names of the matrix, primaries and transfer function."""
LAYOUTS = {"yuv444p": (1, 1), "yuv422p": (2, 1), "yuv420p": (2, 2), "yuv411p": (4, 1), "gray": (0, 0)}
"""Layout -> number of pixels, horizontally and vertically, that share a chroma sample; 0 for grey."""


def planes(rgb: np.ndarray, layout: str, matrix: str = "bt601", full: bool = False, bits: int = 8) -> bytes:
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
        data = b"".join(planes(frame, self.layout, self.matrix, self.full, self.bits) for frame in scaled)
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
    """ffmpeg's arguments for a sound as input, `length` seconds of silence with 50 ms of noise at `at` seconds."""
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


# Orientation

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


# Time


@register("edit list that hides both ends", "edited.mp4", "libx264")
def _edited(setup: Setup, path: Path) -> Truth:
    """The movie's time unit is 1/1000 s, the track's is 1/12800 s."""
    write(setup, path, INTRA, "-bf", "0")
    left = setup.count - 5
    patch_box(path, b"elst", 8, struct.pack(">Ii", round(left / setup.fps * 1000), round(3 / setup.fps * 12800)))
    return setup.truth(numbers=tuple(range(3, 3 + left)), times=setup.truth().times[:left])


@register("edit list of a cut without coding", "cut.mp4", "libx264")
def _cut(setup: Setup, path: Path) -> Truth:
    write(setup, setup.folder / "whole.mp4", DELAYED)
    setup.ffmpeg("-ss", f"{float(5 / setup.fps):.3f}", "-i", "whole.mp4", "-c", "copy", path.name)
    return setup.truth(numbers=tuple(range(5, setup.count)), times=setup.truth().times[: setup.count - 5])


@register("edit list of a late video", "late.mp4", "libx264")
def _late_video(setup: Setup, path: Path) -> Truth:
    sound = click(setup, 0.52, 1.5)
    setup.ffmpeg("-itsoffset", "0.32", *DELAYED.source(setup, setup.frames()), *sound, *DELAYED.output_options(), "-c:a", "alac", path.name)
    return setup.truth(sound=Fraction(1, 5))


@register("variable rate", "variable.mp4", "libx264")
def _variable(setup: Setup, path: Path) -> Truth:
    """Pauses of one to three frames."""
    times = [Fraction(n + n // 3 + n // 5, 25) for n in range(setup.count)]
    return _at_times(setup, path, times, Fraction(1, 90000))


@register("variable rate in whole milliseconds", "variable.mkv", "libx264")
def _variable_mkv(setup: Setup, path: Path) -> Truth:
    times = [Fraction(n * 1000 // 30 + 7 * (n // 4), 1000) for n in range(setup.count)]
    return _at_times(setup, path, times, Fraction(1, 1000))


def _at_times(setup: Setup, path: Path, times: Sequence[Fraction], tick: Fraction, *options: object) -> Truth:
    ticks = "+".join(f"eq(N,{n})*{time / tick}" for n, time in enumerate(times))
    coded = H264.output_options()
    coded[1] = f"{coded[1]},settb={tick},setpts='{ticks}'"
    exact = ["-fps_mode", "passthrough", "-enc_time_base", f"1:{tick.denominator}", "-video_track_timescale", tick.denominator]
    setup.ffmpeg(*H264.source(setup, setup.frames()), *coded, *exact, *options, path.name)
    return setup.truth(times=tuple(times))


@register("negative timestamps", "negative.mkv", "libx264")
def _negative(setup: Setup, path: Path) -> Truth:
    write(setup, path, H264, "-output_ts_offset", "-0.5", "-avoid_negative_ts", "disabled")
    return setup.truth()


@register("timestamps that wrap around", "wrap.ts", "libx264")
def _wrapping(setup: Setup, path: Path) -> Truth:
    """33 bits at 90 kHz end at 95443.7 s; ffmpeg's muxer adds 1.4 s."""
    write(setup, path, H264, "-output_ts_offset", "95441.9", "-g", "1")
    return setup.truth()


@register("29.97 in milliseconds", "film.mkv", "libx264")
def _film(setup: Setup, path: Path) -> Truth:
    ntsc = replace(setup, fps=Fraction(30000, 1001))
    write(ntsc, path, H264)
    return replace(ntsc.truth(), tick=Fraction(1, 1000))


@register("B-frame delay", "delayed.mp4", "libx264")
def _delayed(setup: Setup, path: Path) -> Truth:
    write(setup, path, DELAYED)
    return setup.truth()


@register("B-frames in a fragmented mp4", "fragments.mp4", "libx264")
def _fragments(setup: Setup, path: Path) -> Truth:
    sound = click(setup, 0.4, 1)
    fragments = ["-c:a", "flac", "-movflags", "frag_keyframe+delay_moov+default_base_moof"]
    setup.ffmpeg(*DELAYED.source(setup, setup.frames()), *sound, *DELAYED.output_options(), *fragments, path.name)
    return setup.truth(sound=Fraction(2, 5))


@register("no duration", "endless.mkv", "libx264")
def _endless(setup: Setup, path: Path) -> Truth:
    write(setup, setup.folder / "whole.mkv", DELAYED)
    command = [executable(), "-v", "error", "-i", str(setup.folder / "whole.mkv"), "-c", "copy", "-f", "matroska", "-live", "1", "-"]
    path.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    return setup.truth(tick=Fraction(1, 1000))


@register("no container", "stream.h264", "libx264")
def _bare(setup: Setup, path: Path) -> Truth:
    """The stream has no times, only a rate."""
    write(setup, path, H264, "-f", "h264")
    return setup.truth(probed=False)


@register("AVI with B-frames", "delayed.avi", "libx264")
def _avi(setup: Setup, path: Path) -> Truth:
    write(setup, path, DELAYED)
    return setup.truth()


@register("FLV", "flash.flv", "libx264")
def _flv(setup: Setup, path: Path) -> Truth:
    write(setup, path, DELAYED)
    return setup.truth(tick=Fraction(1, 1000))


# Pixels and colours


@register("interlaced", "fields.mkv", "libx264")
def _interlaced(setup: Setup, path: Path) -> Truth:
    """Both fields of a frame show the same number, so frames do not have to be deinterlaced."""
    write(setup, path, replace(H264, options=(*H264.options, "-flags", "+ilme+ildct", "-x264-params", "tff=1")))
    return setup.truth()


@register("interlaced MPEG-2 with B-frames", "fields.mpg", "mpeg2video")
def _interlaced_mpeg2(setup: Setup, path: Path) -> Truth:
    options = ("-flags", "+ilme+ildct", "-bf", "2", "-qscale:v", "1", "-qmin", "1")
    write(setup, path, Coding("mpeg2video", options))
    return setup.truth()


@register("anamorphic pixels", "wide.mp4", "libx264")
def _anamorphic(setup: Setup, path: Path) -> Truth:
    """fsv2v treats all pixels as square."""
    coding = replace(H264, options=(*H264.options, "-aspect", "16:9"))
    write(setup, path, coding)
    return setup.truth()


@register("odd size", "odd.mp4", "libx264")
def _odd(setup: Setup, path: Path) -> Truth:
    size = (setup.size[0] - 1, setup.size[1] - 1)
    write(setup, path, replace(H264, layout="yuv444p"), frames=setup.frames(size))
    return setup.truth(size=size)


@register("odd size, 4:2:0", "odd.mkv", "ffv1")
def _odd_420(setup: Setup, path: Path) -> Truth:
    size = (setup.size[0] - 1, setup.size[1] - 1)
    write(setup, path, Coding("ffv1", ()), frames=setup.frames(size))
    return setup.truth(size=size)


@register("cropped by the stream", "cropped.mp4", "libx264")
def _cropped(setup: Setup, path: Path) -> Truth:
    """A height that is not a multiple of 16 is encoded larger, and the decoder crops it."""
    size = (setup.size[0] + 2, setup.size[1] + 6)
    write(setup, path, H264, frames=setup.frames(size))
    return setup.truth(size=size)


def _coloured(coding: Coding) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        write(setup, path, coding)
        return setup.truth()

    return make


for _matrix in WEIGHTS:
    for _full in (False, True):
        if _matrix != "bt2020":
            _name = f"{_matrix.upper().replace('BT', 'BT.')}, {'full' if _full else 'limited'} range"
            register(_name, "colour.mp4", "libx264")(_coloured(replace(H264, matrix=_matrix, full=_full)))
for _layout, _bits in (("yuv444p", 8), ("yuv422p", 8), ("yuv444p", 10), ("yuv422p", 10), ("yuv420p", 10)):
    _name = f"4:{_layout[4]}:{_layout[5]}{', 10 bits' if _bits > 8 else ''}"
    register(_name, "sampled.mp4", "libx264")(_coloured(replace(H264, layout=_layout, bits=_bits)))
register("4:1:1", "sampled.mkv", "ffv1")(_coloured(Coding("ffv1", (), layout="yuv411p")))


def _grey(coding: Coding) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        write(setup, path, coding)
        luma = np.rint(PATCHES @ np.array([0.299, 0.587, 0.114])).astype(int)
        return setup.truth(patches=np.repeat(luma[..., None], 3, -1))

    return make


register("grey, full range", "grey.mkv", "ffv1")(_grey(Coding("ffv1", (), layout="gray", full=True)))
register("grey, limited range", "grey.mp4", "libx264")(_grey(Coding(layout="gray")))
register("grey, 10 bits, limited range", "grey.mp4", "libx264")(_grey(Coding(layout="gray", bits=10)))
register("grey AV1, limited range", "grey.mkv", "libaom-av1")(
    _grey(Coding("libaom-av1", ("-crf", "0", "-cpu-used", "8", "-usage", "realtime"), layout="gray"))
)


def _light(srgb: np.ndarray) -> np.ndarray:
    """Linear light from 0 to 1 of sRGB from 0 to 255."""
    value = srgb / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


TO_2020 = np.array([[0.627404, 0.329283, 0.043313], [0.069097, 0.919540, 0.011362], [0.016391, 0.088013, 0.895595]])
"""The matrix from linear RGB of BT.709 to linear RGB of BT.2020 (ITU-R BT.2087)."""


def _pq(nits: np.ndarray) -> np.ndarray:
    """The PQ signal of light in nits (SMPTE ST 2084)."""
    power = (nits / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)


def _hlg(nits: np.ndarray) -> np.ndarray:
    """The HLG signal of light on a screen of 1000 nits, whose system gamma is 1.2."""
    luminance = nits @ np.array([0.2627, 0.6780, 0.0593]) / 1000
    scene = nits / 1000 * luminance[..., None] ** (1 / 1.2 - 1)
    upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)


def _hdr(curve: Callable[[np.ndarray], np.ndarray], transfer: str) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        frames = [curve(203 * _light(frame) @ TO_2020.T) for frame in setup.frames()]
        write(setup, path, Coding(layout="yuv420p", matrix="bt2020", bits=10, tags=("bt2020nc", "bt2020", transfer)), frames=frames)
        return setup.truth()

    return make


@register("BT.2020 without HDR", "wide.mp4", "libx264")
def _bt2020(setup: Setup, path: Path) -> Truth:
    """The signal for a BT.1886 screen, whose light is the signal to the power of 2.4."""
    frames = [((frame / 255) ** 2.4 @ TO_2020.T) ** (1 / 2.4) for frame in setup.frames()]
    write(setup, path, Coding(matrix="bt2020", bits=10), frames=frames)
    return setup.truth()


register("PQ", "hdr.mp4", "libx264")(_hdr(_pq, "smpte2084"))
register("HLG", "hdr.mp4", "libx264")(_hdr(_hlg, "arib-std-b67"))


@register("RGB in H.264", "rgb.mp4", "libx264rgb")
def _rgb(setup: Setup, path: Path) -> Truth:
    setup.ffmpeg(*_plain(setup, setup.frames()), "-c:v", "libx264rgb", "-qp", "0", path.name)
    return setup.truth()


def _plain(setup: Setup, frames: Sequence[np.ndarray], pix_fmt: str = "rgb24") -> list[object]:
    (setup.folder / "plain").write_bytes(b"".join(np.ascontiguousarray(frame).tobytes() for frame in frames))
    size = f"{frames[0].shape[1]}x{frames[0].shape[0]}"
    return ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-s", size, "-framerate", setup.fps, "-i", "plain"]


HALF = (PATCHES.astype(int) * 128 + 255 * 127) / 255
"""The colours of half transparent patches on a white background."""


def _with_alpha(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Frames with alpha: the patches are half transparent, the blocks of the number are opaque."""
    height, width = frames[0].shape[:2]
    alpha = np.where(np.arange(height) * 3 // height == 1, 255, 128).astype(np.uint8)[:, None, None].repeat(width, 1)
    return [np.concatenate([frame, alpha], -1) for frame in frames]


def _transparent(*coding: object) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        setup.ffmpeg(*_plain(setup, _with_alpha(setup.frames()), "rgba"), *coding, path.name)
        return setup.truth(patches=HALF)

    return make


register("alpha, QuickTime animation", "alpha.mov", "qtrle")(_transparent("-c:v", "qtrle", "-pix_fmt", "argb"))
register("alpha, ProRes 4444", "alpha.mov", "prores_ks")(
    _transparent(
        *("-vf", "scale=out_color_matrix=bt709:flags=accurate_rnd,setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709"),
        *("-c:v", "prores_ks", "-profile:v", "4444", "-qscale:v", "1", "-pix_fmt", "yuva444p10le"),
    )
)
register("alpha, PNG", "alpha.mov", "png")(_transparent("-c:v", "png"))
register("alpha, FFV1", "alpha.mkv", "ffv1")(_transparent("-c:v", "ffv1", "-pix_fmt", "bgra"))
register("alpha, VP9", "alpha.webm", "libvpx-vp9")(
    _transparent(
        *("-vf", "scale=out_color_matrix=bt601:flags=accurate_rnd,setparams=colorspace=smpte170m"),
        *("-c:v", "libvpx-vp9", "-lossless", "1", "-pix_fmt", "yuva420p", "-cpu-used", "8", "-deadline", "realtime"),
    )
)


# Streams


@register("two videos, a data stream and chapters", "streams.mov", "libx264")
def _streams(setup: Setup, path: Path) -> Truth:
    """The first video must be read; the second shows other numbers."""
    source = [*H264.source(setup, setup.frames()), *H264.source(setup, setup.frames(first=100), "second")]
    (setup.folder / "chapters.txt").write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=one\n")
    maps = ["-i", "chapters.txt", "-map", "0:v", "-map", "1:v", "-map_metadata", "2", "-timecode", "01:00:00:00"]
    setup.ffmpeg(*source, *maps, *H264.output_options(), path.name)
    return setup.truth()


@register("sound before the video, two sounds", "sounds.mkv", "libx264")
def _sounds(setup: Setup, path: Path) -> Truth:
    sounds = [*click(setup, 0.25, 1), *click(setup, 0.5, 1, "second.wav")]
    maps = ["-map", "1:a", "-map", "0:v", "-map", "2:a", "-c:a", "flac"]
    setup.ffmpeg(*H264.source(setup, setup.frames()), *sounds, *maps, *H264.output_options(), path.name)
    return setup.truth(sound=Fraction(1, 4), tick=Fraction(1, 1000))


@register("subtitles", "subtitles.mp4", "libx264")
def _subtitles(setup: Setup, path: Path) -> Truth:
    (setup.folder / "words.srt").write_text("1\n00:00:00,000 --> 00:00:00,400\nWords\n")
    maps = ["-map", "0:s", "-map", "1:v", "-c:s", "mov_text"]
    setup.ffmpeg("-i", "words.srt", *H264.source(setup, setup.frames()), *maps, *H264.output_options(), path.name)
    return setup.truth()


@register("cover art before the video", "cover.mp4", "libx264")
def _cover(setup: Setup, path: Path) -> Truth:
    Image.fromarray(draw_frame(200, (64, 64))).save(setup.folder / "cover.png")
    cover = ["-i", "cover.png", "-map", "0", "-map", "1", "-c:v:0", "png", "-disposition:v:0", "attached_pic"]
    coded = [f"{part}:1" if part in ("-c:v", "-pix_fmt") else "-filter:v:1" if part == "-vf" else part for part in H264.output_options()]
    setup.ffmpeg(*cover[:2], *H264.source(setup, setup.frames()), *cover[2:], *coded, path.name)
    return setup.truth()


@register("cover art of a sound", "cover.m4a", "png")
def _only_cover(setup: Setup, path: Path) -> Truth:
    Image.fromarray(draw_frame(0, setup.size)).save(setup.folder / "cover.png")
    sound = click(setup, 0, 1)
    setup.ffmpeg("-i", "cover.png", *sound, "-c:v", "copy", "-c:a", "alac", "-disposition:v:0", "attached_pic", path.name)
    return setup.truth(refused="it holds no video")


@register("sound that starts late", "late.mov", "libx264")
def _late_sound(setup: Setup, path: Path) -> Truth:
    sound = click(setup, 0.1, 0.5)
    setup.ffmpeg(*H264.source(setup, setup.frames()), "-itsoffset", "0.2", *sound, *H264.output_options(), "-c:a", "pcm_s16le", path.name)
    return setup.truth(sound=Fraction(3, 10))


@register("sound that ends early", "early.mp4", "libx264")
def _early_end(setup: Setup, path: Path) -> Truth:
    sound = click(setup, 0.05, 0.12)
    setup.ffmpeg(*DELAYED.source(setup, setup.frames()), *sound, *DELAYED.output_options(), "-c:a", "aac", path.name)
    return setup.truth(sound=Fraction(1, 20))


@register("sound of a transport stream", "stream.ts", "libx264")
def _ts_sound(setup: Setup, path: Path) -> Truth:
    sound = click(setup, 0.2, 1)
    setup.ffmpeg(*DELAYED.source(setup, setup.frames()), *sound, *DELAYED.output_options(), "-c:a", "ac3", path.name)
    return setup.truth(sound=Fraction(1, 5))


@register("sound of a variable rate", "variable.mp4", "libx264")
def _variable_sound(setup: Setup, path: Path) -> Truth:
    """The click is at the time of the last frame but one."""
    times = [Fraction(n + 2 * max(0, n - setup.count // 2), 25) for n in range(setup.count)]
    sound = click(setup, float(times[-2]), float(times[-1]) + 0.1)
    truth = _at_times(setup, setup.folder / "silent.mp4", times, Fraction(1, 90000))
    setup.ffmpeg("-i", "silent.mp4", *sound, "-c:v", "copy", "-c:a", "alac", path.name)
    return replace(truth, sound=times[-2])


# Codecs

LOSSLESS_265 = ("-x265-params", "lossless=1:bframes=3:log-level=none", "-preset", "ultrafast")
FAST_VPX = ("-cpu-used", "8", "-deadline", "realtime")
for _name, _file, _coding in (
    ("MJPEG", "motion.avi", Coding("mjpeg", ("-q:v", "1", "-qmin", "1"), full=True)),
    ("MJPEG in mov", "motion.mov", Coding("mjpeg", ("-q:v", "1", "-qmin", "1"), layout="yuv444p", full=True)),
    ("HEVC", "high.mp4", Coding("libx265", LOSSLESS_265, matrix="bt709")),
    ("HEVC, 10 bits", "high.mkv", Coding("libx265", LOSSLESS_265, bits=10)),
    ("VP8", "vp8.webm", Coding("libvpx", ("-crf", "4", "-b:v", "4M", "-qmin", "0", "-qmax", "4", *FAST_VPX))),
    ("VP9", "vp9.webm", Coding("libvpx-vp9", ("-lossless", "1", *FAST_VPX))),
    ("AV1", "av1.mp4", Coding("libsvtav1", ("-crf", "4", "-preset", "6"), matrix="bt709")),
    ("AV1 by libaom", "av1.mkv", Coding("libaom-av1", ("-crf", "0", "-cpu-used", "8", "-usage", "realtime"))),
    ("ProRes 422", "prores.mov", Coding("prores_ks", ("-profile:v", "hq", "-qscale:v", "1"), layout="yuv422p", bits=10, matrix="bt709")),
    ("FFV1", "archive.mkv", Coding("ffv1", ("-level", "3"), layout="yuv422p", bits=10)),
    ("MPEG-4 with B-frames", "divx.avi", Coding("mpeg4", ("-q:v", "1", "-qmin", "1", "-bf", "2"))),
    ("DV-like Huffman", "huff.avi", Coding("ffvhuff", (), layout="yuv422p")),
    ("Theora", "theora.ogv", Coding("libtheora", ("-q:v", "10"))),
):  # fmt: skip
    register(_name, _file, _coding.encoder)(_coloured(_coding))


# Animations and images


@register("GIF", "moving.gif", "gif")
def _gif(setup: Setup, path: Path) -> Truth:
    """Frames of different durations, in hundredths of a second. The palette contains all colours."""
    durations = [40 + 30 * (n % 3) for n in range(setup.count)]
    _write_animation(setup, path, durations, optimize=False)
    return setup.truth(times=_start_times(durations))


def _write_animation(setup: Setup, path: Path, durations: Sequence[int], **options: Any) -> None:
    first, *others = map(Image.fromarray, setup.frames())
    first.save(path, save_all=True, append_images=others, duration=list(durations), loop=0, **options)


def _start_times(durations: Sequence[int]) -> tuple[Fraction, ...]:
    """The times in seconds of frames with these durations in milliseconds."""
    return tuple(Fraction(sum(durations[:n]), 1000) for n in range(len(durations)))


def _animated(**options: Any) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        durations = [40 + 30 * (n % 3) for n in range(setup.count)]
        _write_animation(setup, path, durations, **options)
        return setup.truth(times=_start_times(durations), tick=Fraction(1, 1000), probed=path.suffix == ".apng")

    return make


register("APNG", "moving.apng")(_animated())
register("APNG named .png", "moving.png")(_animated())
register("WebP animation", "moving.webp")(_animated(lossless=True))
register("AVIF animation", "moving.avif")(_animated(quality=100, subsampling="4:4:4"))


def _image_truth(setup: Setup, **changes: object) -> Truth:
    """The ground truth of a single image, frame 7."""
    return replace(setup.truth(numbers=(7,), times=(Fraction(0),), probed=False), **changes)  # type: ignore[arg-type]


def _image(save: Callable[[Image.Image, Path], object], **changes: object) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        save(Image.fromarray(draw_frame(7, setup.size)), path)
        return _image_truth(setup, **changes)

    return make


def _rotated_image(orientation: int) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = np.ascontiguousarray(ORIENTATIONS[INVERSE[orientation]](draw_frame(7, setup.size)))
        quality: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {"quality": 100}
        Image.fromarray(stored).save(path, exif=exif, **quality)
        return _image_truth(setup)

    return make


for _orientation in ORIENTATIONS:
    register(f"EXIF {_orientation}", "photo.jpg")(_rotated_image(_orientation))
register("EXIF 6 in WebP", "photo.webp")(_rotated_image(6))
register("EXIF 5 in PNG", "photo.png")(_rotated_image(5))
register("EXIF 8 in TIFF", "photo.tiff")(_rotated_image(8))
register("rotated AVIF", "photo.avif")(_rotated_image(6))
register("AVIF", "photo.avif")(_image(lambda image, path: image.save(path, quality=100)))
register("WebP", "photo.webp")(_image(lambda image, path: image.save(path, lossless=True)))
register("CMYK JPEG", "print.jpg")(_image(lambda image, path: image.convert("CMYK").save(path, quality=100), tolerance=3))
register("palette PNG", "palette.png")(_image(lambda image, path: image.quantize(16).save(path)))


@register("16 bit PNG", "deep.png", "png")
def _rgb_16_bit(setup: Setup, path: Path) -> Truth:
    setup.ffmpeg(*_plain(setup, [draw_frame(7, setup.size).astype("<u2") * 257], "rgb48le"), "-frames:v", "1", path.name)
    return _image_truth(setup)


@register("16 bit grey PNG", "deep.png", "png")
def _grey_16_bit(setup: Setup, path: Path) -> Truth:
    grey = np.rint(draw_frame(7, setup.size) @ np.array([0.299, 0.587, 0.114])).astype("<u2")
    setup.ffmpeg(*_plain(setup, [grey * 257], "gray16le"), "-frames:v", "1", path.name)
    luma = np.rint(PATCHES @ np.array([0.299, 0.587, 0.114])).astype(int)
    return _image_truth(setup, patches=np.repeat(luma[..., None], 3, -1))


@register("PNG with alpha", "alpha.png")
def _alpha_png(setup: Setup, path: Path) -> Truth:
    Image.fromarray(_with_alpha([draw_frame(7, setup.size)])[0]).save(path)
    return _image_truth(setup, patches=HALF)


@register("AVIF with alpha", "alpha.avif")
def _alpha_avif(setup: Setup, path: Path) -> Truth:
    Image.fromarray(_with_alpha([draw_frame(7, setup.size)])[0]).save(path, quality=100, subsampling="4:4:4")
    return _image_truth(setup, patches=HALF)


def _profiled(**options: Any) -> Callable[[Setup, Path], Truth]:
    """Red and blue are exchanged both in the pixels and in the colour profile, so the image looks the same."""

    def make(setup: Setup, path: Path) -> Truth:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        profile = profile.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
        profile = profile.replace("sRGB".encode("utf-16-be"), "sBGR".encode("utf-16-be"))
        Image.fromarray(draw_frame(7, setup.size)[..., ::-1].copy()).save(path, icc_profile=profile, **options)
        return _image_truth(setup)

    return make


for _file, _options in (("photo.png", {}), ("photo.jpg", {"quality": 100, "subsampling": 0}), ("photo.webp", {"lossless": True})):
    register(f"ICC profile, {_file[6:].upper()}", _file)(_profiled(**_options))
register("ICC profile, AVIF", "photo.avif")(_profiled(quality=100, subsampling="4:4:4"))


@register("images with gaps in their numbers", "walk")
def _gaps(setup: Setup, path: Path) -> Truth:
    """All images are read in the order of their numbers, at 25 per second."""
    path.mkdir()
    numbers = [n for n in range(2 * setup.count) if n % 3 and n != 8][: setup.count]
    for number in numbers:
        Image.fromarray(draw_frame(number, setup.size)).save(path / f"frame{number}.png")
    return setup.truth(numbers=tuple(numbers), probed=False)


@register("images of several formats in one folder", "mixed")
def _mixed(setup: Setup, path: Path) -> Truth:
    path.mkdir()
    for number, frame in enumerate(setup.frames()):
        ending, options = (("png", {}), ("webp", {"lossless": True}), ("avif", {"quality": 100}), ("bmp", {}))[number % 4]
        Image.fromarray(frame).save(path / f"{number}.{ending}", **options)
    return setup.truth(probed=False)

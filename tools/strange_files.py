"""Strange but valid videos and pictures: functions that make them, and the ground truth of each.

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

# What a frame shows

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
    """Whether ffprobe reads the same frames and times. It does not read folders of pictures or picture metadata, for example."""


# Makers


@dataclass(frozen=True)
class Bench:
    """Where a file is made, and from what: its folder, the size (width, height) of the frames, their number and rate."""

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
class Kind:
    """One strange file: a function that makes it and returns its ground truth, its name, and the encoder that it needs."""

    make: Callable[[Bench, Path], Truth]
    file: str
    encoder: str


KINDS: dict[str, Kind] = {}


def kind(name: str, file: str, encoder: str = "") -> Callable[[Callable[[Bench, Path], Truth]], Callable[[Bench, Path], Truth]]:
    """A decorator that enters a function in KINDS, under `name`."""

    def enter(make: Callable[[Bench, Path], Truth]) -> Callable[[Bench, Path], Truth]:
        KINDS[name] = Kind(make, file, encoder)
        return make

    return enter


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

    def source(self, bench: Bench, frames: Sequence[np.ndarray], name: str = "raw") -> list[object]:
        """ffmpeg's arguments for these frames as input. The frames are uint8, or R'G'B' from 0 to 1."""
        scaled = (frame / 255 if frame.dtype == np.uint8 else frame for frame in frames)
        data = b"".join(planes(frame, self.layout, self.matrix, self.full, self.bits) for frame in scaled)
        (bench.folder / name).write_bytes(data)
        size = f"{frames[0].shape[1]}x{frames[0].shape[0]}"
        return ["-f", "rawvideo", "-pix_fmt", self.pix_fmt, "-s", size, "-framerate", bench.fps, "-i", name]

    def output_options(self) -> list[object]:
        """ffmpeg's arguments for the encoder and the colour metadata."""
        matrix, primaries, transfer = self.tags or TAGS[self.matrix]
        tags = f"setparams=colorspace={matrix}:color_primaries={primaries}:color_trc={transfer}:range={'pc' if self.full else 'tv'}"
        return ["-vf", tags, "-c:v", self.encoder, "-pix_fmt", self.pix_fmt, *self.options]


H264 = Coding()
INTRA = Coding(options=("-qp", "0", "-preset", "ultrafast", "-g", "1"))
DELAYED = Coding(options=("-crf", "4", "-bf", "3", "-g", "12", "-x264-params", "scenecut=0:b-pyramid=normal"))


def write(bench: Bench, path: Path, coding: Coding, *options: object, frames: Sequence[np.ndarray] | None = None) -> None:
    """Encode the frames of the bench, or `frames`, as a video. options: further arguments of ffmpeg."""
    bench.ffmpeg(*coding.source(bench, frames or bench.frames()), *coding.output_options(), *options, path.name)


def click(bench: Bench, at: float, length: float, name: str = "click.wav") -> list[object]:
    """ffmpeg's arguments for a sound as input, `length` seconds of silence with 50 ms of noise at `at` seconds."""
    sound = np.zeros(round(48000 * length), np.int16)
    start = round(48000 * at)
    sound[start : start + 2400] = np.resize(np.array([20000, -20000], np.int16).repeat(12), 2400)[: max(0, len(sound) - start)]
    with wave.open(str(bench.folder / name), "wb") as file:
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


def _rotated(orientation: int) -> Callable[[Bench, Path], Truth]:
    def make(bench: Bench, path: Path) -> Truth:
        stored = [np.ascontiguousarray(ORIENTATIONS[INVERSE[orientation]](frame)) for frame in bench.frames()]
        write(bench, path, H264, frames=stored)
        a, b, c, d = MATRICES[orientation]
        patch_box(path, b"tkhd", 40, struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30))
        return bench.truth()

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
    kind(f"matrix {_name}", "turned.mp4", "libx264")(_rotated(_orientation))


# Time


@kind("edit list that hides both ends", "edited.mp4", "libx264")
def _edited(bench: Bench, path: Path) -> Truth:
    """The movie's time unit is 1/1000 s, the track's is 1/12800 s."""
    write(bench, path, INTRA, "-bf", "0")
    left = bench.count - 5
    patch_box(path, b"elst", 8, struct.pack(">Ii", round(left / bench.fps * 1000), round(3 / bench.fps * 12800)))
    return bench.truth(numbers=tuple(range(3, 3 + left)), times=bench.truth().times[:left])


@kind("edit list of a cut without coding", "cut.mp4", "libx264")
def _cut(bench: Bench, path: Path) -> Truth:
    write(bench, bench.folder / "whole.mp4", DELAYED)
    bench.ffmpeg("-ss", f"{float(5 / bench.fps):.3f}", "-i", "whole.mp4", "-c", "copy", path.name)
    return bench.truth(numbers=tuple(range(5, bench.count)), times=bench.truth().times[: bench.count - 5])


@kind("edit list of a late video", "late.mp4", "libx264")
def _late_video(bench: Bench, path: Path) -> Truth:
    sound = click(bench, 0.52, 1.5)
    bench.ffmpeg("-itsoffset", "0.32", *DELAYED.source(bench, bench.frames()), *sound, *DELAYED.output_options(), "-c:a", "alac", path.name)
    return bench.truth(sound=Fraction(1, 5))


@kind("variable rate", "variable.mp4", "libx264")
def _variable(bench: Bench, path: Path) -> Truth:
    """Pauses of one to three frames."""
    times = [Fraction(n + n // 3 + n // 5, 25) for n in range(bench.count)]
    return _at_times(bench, path, times, Fraction(1, 90000))


@kind("variable rate in whole milliseconds", "variable.mkv", "libx264")
def _variable_mkv(bench: Bench, path: Path) -> Truth:
    times = [Fraction(n * 1000 // 30 + 7 * (n // 4), 1000) for n in range(bench.count)]
    return _at_times(bench, path, times, Fraction(1, 1000))


def _at_times(bench: Bench, path: Path, times: Sequence[Fraction], tick: Fraction, *options: object) -> Truth:
    ticks = "+".join(f"eq(N,{n})*{time / tick}" for n, time in enumerate(times))
    coded = H264.output_options()
    coded[1] = f"{coded[1]},settb={tick},setpts='{ticks}'"
    exact = ["-fps_mode", "passthrough", "-enc_time_base", f"1:{tick.denominator}", "-video_track_timescale", tick.denominator]
    bench.ffmpeg(*H264.source(bench, bench.frames()), *coded, *exact, *options, path.name)
    return bench.truth(times=tuple(times))


@kind("negative timestamps", "negative.mkv", "libx264")
def _negative(bench: Bench, path: Path) -> Truth:
    write(bench, path, H264, "-output_ts_offset", "-0.5", "-avoid_negative_ts", "disabled")
    return bench.truth()


@kind("timestamps that wrap around", "wrap.ts", "libx264")
def _wrapping(bench: Bench, path: Path) -> Truth:
    """33 bits at 90 kHz end at 95443.7 s; ffmpeg's muxer adds 1.4 s."""
    write(bench, path, H264, "-output_ts_offset", "95441.9", "-g", "1")
    return bench.truth()


@kind("29.97 in milliseconds", "film.mkv", "libx264")
def _film(bench: Bench, path: Path) -> Truth:
    ntsc = replace(bench, fps=Fraction(30000, 1001))
    write(ntsc, path, H264)
    return replace(ntsc.truth(), tick=Fraction(1, 1000))


@kind("B-frame delay", "delayed.mp4", "libx264")
def _delayed(bench: Bench, path: Path) -> Truth:
    write(bench, path, DELAYED)
    return bench.truth()


@kind("B-frames in a fragmented mp4", "fragments.mp4", "libx264")
def _fragments(bench: Bench, path: Path) -> Truth:
    sound = click(bench, 0.4, 1)
    fragments = ["-c:a", "flac", "-movflags", "frag_keyframe+delay_moov+default_base_moof"]
    bench.ffmpeg(*DELAYED.source(bench, bench.frames()), *sound, *DELAYED.output_options(), *fragments, path.name)
    return bench.truth(sound=Fraction(2, 5))


@kind("no duration", "endless.mkv", "libx264")
def _endless(bench: Bench, path: Path) -> Truth:
    write(bench, bench.folder / "whole.mkv", DELAYED)
    command = [executable(), "-v", "error", "-i", str(bench.folder / "whole.mkv"), "-c", "copy", "-f", "matroska", "-live", "1", "-"]
    path.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    return bench.truth(tick=Fraction(1, 1000))


@kind("no container", "stream.h264", "libx264")
def _bare(bench: Bench, path: Path) -> Truth:
    """The stream has no times, only a rate."""
    write(bench, path, H264, "-f", "h264")
    return bench.truth(probed=False)


@kind("AVI with B-frames", "delayed.avi", "libx264")
def _avi(bench: Bench, path: Path) -> Truth:
    write(bench, path, DELAYED)
    return bench.truth()


@kind("FLV", "flash.flv", "libx264")
def _flv(bench: Bench, path: Path) -> Truth:
    write(bench, path, DELAYED)
    return bench.truth(tick=Fraction(1, 1000))


# Pixels and colours


@kind("interlaced", "fields.mkv", "libx264")
def _interlaced(bench: Bench, path: Path) -> Truth:
    """Both fields of a frame show the same number, so frames do not have to be deinterlaced."""
    write(bench, path, replace(H264, options=(*H264.options, "-flags", "+ilme+ildct", "-x264-params", "tff=1")))
    return bench.truth()


@kind("interlaced MPEG-2 with B-frames", "fields.mpg", "mpeg2video")
def _interlaced_mpeg2(bench: Bench, path: Path) -> Truth:
    options = ("-flags", "+ilme+ildct", "-bf", "2", "-qscale:v", "1", "-qmin", "1")
    write(bench, path, Coding("mpeg2video", options))
    return bench.truth()


@kind("anamorphic pixels", "wide.mp4", "libx264")
def _anamorphic(bench: Bench, path: Path) -> Truth:
    """fsv2v treats all pixels as square."""
    coding = replace(H264, options=(*H264.options, "-aspect", "16:9"))
    write(bench, path, coding)
    return bench.truth()


@kind("odd size", "odd.mp4", "libx264")
def _odd(bench: Bench, path: Path) -> Truth:
    size = (bench.size[0] - 1, bench.size[1] - 1)
    write(bench, path, replace(H264, layout="yuv444p"), frames=bench.frames(size))
    return bench.truth(size=size)


@kind("odd size, 4:2:0", "odd.mkv", "ffv1")
def _odd_420(bench: Bench, path: Path) -> Truth:
    size = (bench.size[0] - 1, bench.size[1] - 1)
    write(bench, path, Coding("ffv1", ()), frames=bench.frames(size))
    return bench.truth(size=size)


@kind("cropped by the stream", "cropped.mp4", "libx264")
def _cropped(bench: Bench, path: Path) -> Truth:
    """A height that is not a multiple of 16 is encoded larger, and the decoder crops it."""
    size = (bench.size[0] + 2, bench.size[1] + 6)
    write(bench, path, H264, frames=bench.frames(size))
    return bench.truth(size=size)


def _coloured(coding: Coding) -> Callable[[Bench, Path], Truth]:
    def make(bench: Bench, path: Path) -> Truth:
        write(bench, path, coding)
        return bench.truth()

    return make


for _matrix in WEIGHTS:
    for _full in (False, True):
        if _matrix != "bt2020":
            _name = f"{_matrix.upper().replace('BT', 'BT.')}, {'full' if _full else 'limited'} range"
            kind(_name, "colour.mp4", "libx264")(_coloured(replace(H264, matrix=_matrix, full=_full)))
for _layout, _bits in (("yuv444p", 8), ("yuv422p", 8), ("yuv444p", 10), ("yuv422p", 10), ("yuv420p", 10)):
    _name = f"4:{_layout[4]}:{_layout[5]}{', 10 bits' if _bits > 8 else ''}"
    kind(_name, "sampled.mp4", "libx264")(_coloured(replace(H264, layout=_layout, bits=_bits)))
kind("4:1:1", "sampled.mkv", "ffv1")(_coloured(Coding("ffv1", (), layout="yuv411p")))


def _grey(coding: Coding) -> Callable[[Bench, Path], Truth]:
    def make(bench: Bench, path: Path) -> Truth:
        write(bench, path, coding)
        luma = np.rint(PATCHES @ np.array([0.299, 0.587, 0.114])).astype(int)
        return bench.truth(patches=np.repeat(luma[..., None], 3, -1))

    return make


kind("grey, full range", "grey.mkv", "ffv1")(_grey(Coding("ffv1", (), layout="gray", full=True)))
kind("grey, limited range", "grey.mp4", "libx264")(_grey(Coding(layout="gray")))
kind("grey, 10 bits, limited range", "grey.mp4", "libx264")(_grey(Coding(layout="gray", bits=10)))
kind("grey AV1, limited range", "grey.mkv", "libaom-av1")(
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


def _hdr(curve: Callable[[np.ndarray], np.ndarray], transfer: str) -> Callable[[Bench, Path], Truth]:
    def make(bench: Bench, path: Path) -> Truth:
        frames = [curve(203 * _light(frame) @ TO_2020.T) for frame in bench.frames()]
        write(bench, path, Coding(layout="yuv420p", matrix="bt2020", bits=10, tags=("bt2020nc", "bt2020", transfer)), frames=frames)
        return bench.truth()

    return make


@kind("BT.2020 without HDR", "wide.mp4", "libx264")
def _bt2020(bench: Bench, path: Path) -> Truth:
    """The signal for a BT.1886 screen, whose light is the signal to the power of 2.4."""
    frames = [((frame / 255) ** 2.4 @ TO_2020.T) ** (1 / 2.4) for frame in bench.frames()]
    write(bench, path, Coding(matrix="bt2020", bits=10), frames=frames)
    return bench.truth()


kind("PQ", "hdr.mp4", "libx264")(_hdr(_pq, "smpte2084"))
kind("HLG", "hdr.mp4", "libx264")(_hdr(_hlg, "arib-std-b67"))


@kind("RGB in H.264", "rgb.mp4", "libx264rgb")
def _rgb(bench: Bench, path: Path) -> Truth:
    bench.ffmpeg(*_plain(bench, bench.frames()), "-c:v", "libx264rgb", "-qp", "0", path.name)
    return bench.truth()


def _plain(bench: Bench, frames: Sequence[np.ndarray], pix_fmt: str = "rgb24") -> list[object]:
    (bench.folder / "plain").write_bytes(b"".join(np.ascontiguousarray(frame).tobytes() for frame in frames))
    size = f"{frames[0].shape[1]}x{frames[0].shape[0]}"
    return ["-f", "rawvideo", "-pix_fmt", pix_fmt, "-s", size, "-framerate", bench.fps, "-i", "plain"]


HALF = (PATCHES.astype(int) * 128 + 255 * 127) / 255
"""The colours of half transparent patches on a white background."""


def _with_alpha(frames: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Frames with alpha: the patches are half transparent, the blocks of the number are opaque."""
    height, width = frames[0].shape[:2]
    alpha = np.where(np.arange(height) * 3 // height == 1, 255, 128).astype(np.uint8)[:, None, None].repeat(width, 1)
    return [np.concatenate([frame, alpha], -1) for frame in frames]


def _transparent(*coding: object) -> Callable[[Bench, Path], Truth]:
    def make(bench: Bench, path: Path) -> Truth:
        bench.ffmpeg(*_plain(bench, _with_alpha(bench.frames()), "rgba"), *coding, path.name)
        return bench.truth(patches=HALF)

    return make


kind("alpha, QuickTime animation", "alpha.mov", "qtrle")(_transparent("-c:v", "qtrle", "-pix_fmt", "argb"))
kind("alpha, ProRes 4444", "alpha.mov", "prores_ks")(
    _transparent(
        *("-vf", "scale=out_color_matrix=bt709:flags=accurate_rnd,setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709"),
        *("-c:v", "prores_ks", "-profile:v", "4444", "-qscale:v", "1", "-pix_fmt", "yuva444p10le"),
    )
)
kind("alpha, PNG", "alpha.mov", "png")(_transparent("-c:v", "png"))
kind("alpha, FFV1", "alpha.mkv", "ffv1")(_transparent("-c:v", "ffv1", "-pix_fmt", "bgra"))
kind("alpha, VP9", "alpha.webm", "libvpx-vp9")(
    _transparent(
        *("-vf", "scale=out_color_matrix=bt601:flags=accurate_rnd,setparams=colorspace=smpte170m"),
        *("-c:v", "libvpx-vp9", "-lossless", "1", "-pix_fmt", "yuva420p", "-cpu-used", "8", "-deadline", "realtime"),
    )
)


# Streams


@kind("two videos, a data stream and chapters", "streams.mov", "libx264")
def _streams(bench: Bench, path: Path) -> Truth:
    """The first video has to be read; the second shows other numbers."""
    source = [*H264.source(bench, bench.frames()), *H264.source(bench, bench.frames(first=100), "second")]
    (bench.folder / "chapters.txt").write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=400\ntitle=one\n")
    maps = ["-i", "chapters.txt", "-map", "0:v", "-map", "1:v", "-map_metadata", "2", "-timecode", "01:00:00:00"]
    bench.ffmpeg(*source, *maps, *H264.output_options(), path.name)
    return bench.truth()


@kind("sound before the video, two sounds", "sounds.mkv", "libx264")
def _sounds(bench: Bench, path: Path) -> Truth:
    sounds = [*click(bench, 0.25, 1), *click(bench, 0.5, 1, "second.wav")]
    maps = ["-map", "1:a", "-map", "0:v", "-map", "2:a", "-c:a", "flac"]
    bench.ffmpeg(*H264.source(bench, bench.frames()), *sounds, *maps, *H264.output_options(), path.name)
    return bench.truth(sound=Fraction(1, 4), tick=Fraction(1, 1000))


@kind("subtitles", "subtitles.mp4", "libx264")
def _subtitles(bench: Bench, path: Path) -> Truth:
    (bench.folder / "words.srt").write_text("1\n00:00:00,000 --> 00:00:00,400\nWords\n")
    maps = ["-map", "0:s", "-map", "1:v", "-c:s", "mov_text"]
    bench.ffmpeg("-i", "words.srt", *H264.source(bench, bench.frames()), *maps, *H264.output_options(), path.name)
    return bench.truth()


@kind("cover art before the video", "cover.mp4", "libx264")
def _cover(bench: Bench, path: Path) -> Truth:
    Image.fromarray(draw_frame(200, (64, 64))).save(bench.folder / "cover.png")
    cover = ["-i", "cover.png", "-map", "0", "-map", "1", "-c:v:0", "png", "-disposition:v:0", "attached_pic"]
    coded = [f"{part}:1" if part in ("-c:v", "-pix_fmt") else "-filter:v:1" if part == "-vf" else part for part in H264.output_options()]
    bench.ffmpeg(*cover[:2], *H264.source(bench, bench.frames()), *cover[2:], *coded, path.name)
    return bench.truth()


@kind("cover art of a sound", "cover.m4a", "png")
def _only_cover(bench: Bench, path: Path) -> Truth:
    Image.fromarray(draw_frame(0, bench.size)).save(bench.folder / "cover.png")
    sound = click(bench, 0, 1)
    bench.ffmpeg("-i", "cover.png", *sound, "-c:v", "copy", "-c:a", "alac", "-disposition:v:0", "attached_pic", path.name)
    return bench.truth(refused="it holds no video")


@kind("sound that starts late", "late.mov", "libx264")
def _late_sound(bench: Bench, path: Path) -> Truth:
    sound = click(bench, 0.1, 0.5)
    bench.ffmpeg(*H264.source(bench, bench.frames()), "-itsoffset", "0.2", *sound, *H264.output_options(), "-c:a", "pcm_s16le", path.name)
    return bench.truth(sound=Fraction(3, 10))


@kind("sound that ends early", "early.mp4", "libx264")
def _early_end(bench: Bench, path: Path) -> Truth:
    sound = click(bench, 0.05, 0.12)
    bench.ffmpeg(*DELAYED.source(bench, bench.frames()), *sound, *DELAYED.output_options(), "-c:a", "aac", path.name)
    return bench.truth(sound=Fraction(1, 20))


@kind("sound of a transport stream", "stream.ts", "libx264")
def _ts_sound(bench: Bench, path: Path) -> Truth:
    sound = click(bench, 0.2, 1)
    bench.ffmpeg(*DELAYED.source(bench, bench.frames()), *sound, *DELAYED.output_options(), "-c:a", "ac3", path.name)
    return bench.truth(sound=Fraction(1, 5))


@kind("sound of a variable rate", "variable.mp4", "libx264")
def _variable_sound(bench: Bench, path: Path) -> Truth:
    """The click is at the time of the last frame but one."""
    times = [Fraction(n + 2 * max(0, n - bench.count // 2), 25) for n in range(bench.count)]
    sound = click(bench, float(times[-2]), float(times[-1]) + 0.1)
    truth = _at_times(bench, bench.folder / "silent.mp4", times, Fraction(1, 90000))
    bench.ffmpeg("-i", "silent.mp4", *sound, "-c:v", "copy", "-c:a", "alac", path.name)
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
    kind(_name, _file, _coding.encoder)(_coloured(_coding))


# Animations and pictures


@kind("GIF", "moving.gif", "gif")
def _gif(bench: Bench, path: Path) -> Truth:
    """Frames of different durations, in hundredths of a second. The palette contains all colours."""
    durations = [40 + 30 * (n % 3) for n in range(bench.count)]
    _write_animation(bench, path, durations, optimize=False)
    return bench.truth(times=_start_times(durations))


def _write_animation(bench: Bench, path: Path, durations: Sequence[int], **options: Any) -> None:
    first, *others = map(Image.fromarray, bench.frames())
    first.save(path, save_all=True, append_images=others, duration=list(durations), loop=0, **options)


def _start_times(durations: Sequence[int]) -> tuple[Fraction, ...]:
    """The times in seconds of frames with these durations in milliseconds."""
    return tuple(Fraction(sum(durations[:n]), 1000) for n in range(len(durations)))


def _animated(**options: Any) -> Callable[[Bench, Path], Truth]:
    def make(bench: Bench, path: Path) -> Truth:
        durations = [40 + 30 * (n % 3) for n in range(bench.count)]
        _write_animation(bench, path, durations, **options)
        return bench.truth(times=_start_times(durations), tick=Fraction(1, 1000), probed=path.suffix == ".apng")

    return make


kind("APNG", "moving.apng")(_animated())
kind("APNG named .png", "moving.png")(_animated())
kind("WebP animation", "moving.webp")(_animated(lossless=True))
kind("AVIF animation", "moving.avif")(_animated(quality=100, subsampling="4:4:4"))


def _picture_truth(bench: Bench, **changes: object) -> Truth:
    """The ground truth of a single picture, frame 7."""
    return replace(bench.truth(numbers=(7,), times=(Fraction(0),), probed=False), **changes)  # type: ignore[arg-type]


def _image(save: Callable[[Image.Image, Path], object], **changes: object) -> Callable[[Bench, Path], Truth]:
    def make(bench: Bench, path: Path) -> Truth:
        save(Image.fromarray(draw_frame(7, bench.size)), path)
        return _picture_truth(bench, **changes)

    return make


def _rotated_image(orientation: int) -> Callable[[Bench, Path], Truth]:
    def make(bench: Bench, path: Path) -> Truth:
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = np.ascontiguousarray(ORIENTATIONS[INVERSE[orientation]](draw_frame(7, bench.size)))
        quality: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {"quality": 100}
        Image.fromarray(stored).save(path, exif=exif, **quality)
        return _picture_truth(bench)

    return make


for _orientation in ORIENTATIONS:
    kind(f"EXIF {_orientation}", "photo.jpg")(_rotated_image(_orientation))
kind("EXIF 6 in WebP", "photo.webp")(_rotated_image(6))
kind("EXIF 5 in PNG", "photo.png")(_rotated_image(5))
kind("EXIF 8 in TIFF", "photo.tiff")(_rotated_image(8))
kind("turned AVIF", "photo.avif")(_rotated_image(6))
kind("AVIF", "photo.avif")(_image(lambda image, path: image.save(path, quality=100)))
kind("WebP", "photo.webp")(_image(lambda image, path: image.save(path, lossless=True)))
kind("CMYK JPEG", "print.jpg")(_image(lambda image, path: image.convert("CMYK").save(path, quality=100), tolerance=3))
kind("palette PNG", "palette.png")(_image(lambda image, path: image.quantize(16).save(path)))


@kind("16 bit PNG", "deep.png", "png")
def _rgb_16_bit(bench: Bench, path: Path) -> Truth:
    bench.ffmpeg(*_plain(bench, [draw_frame(7, bench.size).astype("<u2") * 257], "rgb48le"), "-frames:v", "1", path.name)
    return _picture_truth(bench)


@kind("16 bit grey PNG", "deep.png", "png")
def _grey_16_bit(bench: Bench, path: Path) -> Truth:
    grey = np.rint(draw_frame(7, bench.size) @ np.array([0.299, 0.587, 0.114])).astype("<u2")
    bench.ffmpeg(*_plain(bench, [grey * 257], "gray16le"), "-frames:v", "1", path.name)
    luma = np.rint(PATCHES @ np.array([0.299, 0.587, 0.114])).astype(int)
    return _picture_truth(bench, patches=np.repeat(luma[..., None], 3, -1))


@kind("PNG picture with alpha", "alpha.png")
def _alpha_png(bench: Bench, path: Path) -> Truth:
    Image.fromarray(_with_alpha([draw_frame(7, bench.size)])[0]).save(path)
    return _picture_truth(bench, patches=HALF)


@kind("AVIF picture with alpha", "alpha.avif")
def _alpha_avif(bench: Bench, path: Path) -> Truth:
    Image.fromarray(_with_alpha([draw_frame(7, bench.size)])[0]).save(path, quality=100, subsampling="4:4:4")
    return _picture_truth(bench, patches=HALF)


def _profiled(**options: Any) -> Callable[[Bench, Path], Truth]:
    """Red and blue are exchanged both in the pixels and in the colour profile, so the picture looks as usual."""

    def make(bench: Bench, path: Path) -> Truth:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        profile = profile.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
        profile = profile.replace("sRGB".encode("utf-16-be"), "sBGR".encode("utf-16-be"))
        Image.fromarray(draw_frame(7, bench.size)[..., ::-1].copy()).save(path, icc_profile=profile, **options)
        return _picture_truth(bench)

    return make


for _file, _options in (("photo.png", {}), ("photo.jpg", {"quality": 100, "subsampling": 0}), ("photo.webp", {"lossless": True})):
    kind(f"ICC profile, {_file[6:].upper()}", _file)(_profiled(**_options))
kind("ICC profile, AVIF", "photo.avif")(_profiled(quality=100, subsampling="4:4:4"))


@kind("pictures with gaps in their numbers", "walk")
def _gaps(bench: Bench, path: Path) -> Truth:
    """All pictures are read in the order of their numbers, at 25 per second."""
    path.mkdir()
    numbers = [n for n in range(2 * bench.count) if n % 3 and n != 8][: bench.count]
    for number in numbers:
        Image.fromarray(draw_frame(number, bench.size)).save(path / f"frame{number}.png")
    return bench.truth(numbers=tuple(numbers), probed=False)


@kind("pictures of several kinds in one folder", "mixed")
def _mixed(bench: Bench, path: Path) -> Truth:
    path.mkdir()
    for number, frame in enumerate(bench.frames()):
        ending, options = (("png", {}), ("webp", {"lossless": True}), ("avif", {"quality": 100}), ("bmp", {}))[number % 4]
        Image.fromarray(frame).save(path / f"{number}.{ending}", **options)
    return bench.truth(probed=False)

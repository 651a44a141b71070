"""Properties of a video file: size after rotation, exact rate, exact number of frames.

imageio-ffmpeg has no ffprobe, so ffmpeg itself is used: `showinfo` on one frame gives time base, rate, size and pixel format; a stream copy
into `framecrc` lists the time stamps of all packets without decoding them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import ffmpeg as composer

from stages.clip.ffmpeg import (
    Media,
    executable,
    has_filter,
    meaning,
    media_input,
    passthrough,
    require_readable_file,
    run,
    source_time_base,
    usual_matrix,
)
from stages.errors import InputError, MissingRequirement
from stages.io.image_headers import MAX_SIDE

_INDEXED_CONTAINERS = {"mov", "mp4", "matroska", "webm"}
_ONE_FRAME_PER_PACKET = {"h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg", "png", "ffv1", "rawvideo", "prores", "qtrle", "dnxhd"}
_PICTURE_UNITS = {"h264": "1-5", "hevc": "0-31"}
"""The types of NAL units that hold image data: a packet without any gives no frame."""
_TRANSPARENT = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""The decoders that read the transparency of WebM, which ffmpeg's native ones ignore."""
_COPY: Mapping[str, str | None] = {"c": "copy", "copyinkf": None}
_CHROMATIC = ("yuv", "nv", "p0", "p2", "p4", "y2", "uyvy", "xv", "ayuv", "vuy")
"""Prefixes of the pixel formats that need a colour matrix to become RGB."""
_CUT_OFF = ("partial file", "File ended prematurely", "Truncat", "truncat", "Invalid data found", "Input/output error")


@dataclass(frozen=True)
class Timestamps:
    """Times of the frames of a variable-rate video: frame i is shown `ticks[i] * time_base` seconds after the first."""

    time_base: Fraction
    ticks: tuple[int, ...]

    def seconds(self, index: int) -> Fraction:
        return self.ticks[index] * self.time_base


@dataclass(frozen=True)
class Colour:
    """The colour space of a video, in ffmpeg's names: that of the file, or the usual one if the file names none.

    Empty for RGB and full-range grey.
    """

    matrix: str = ""
    primaries: str = ""
    transfer: str = ""
    range: str = ""
    """"tv" for grey with black at 16 and white at 235 (scaled at other depths)."""

    @property
    def hdr(self) -> bool:
        return self.transfer in ("smpte2084", "arib-std-b67")

    @property
    def foreign(self) -> bool:
        """Whether conversion to sRGB takes more than the colour matrix: HDR, or primaries other than BT.709's."""
        return self.hdr or self.primaries in ("bt2020", "smpte431", "smpte432")


@dataclass(frozen=True)
class VideoInfo:
    """One video stream. `width` and `height` are those of the frames as shown, after rotation.

    `fps` is exact for a constant rate; for a variable rate it is the mean and `timestamps` is set. `start` is the
    time of the first frame in seconds after the start of the file. `seekable`: frames can be found by their time.
    """

    width: int
    height: int
    fps: Fraction
    num_frames: int
    timestamps: Timestamps | None
    time_base: Fraction
    rotation: int
    pix_fmt: str
    has_audio: bool
    duration: Fraction
    start: Fraction = Fraction(0)
    seekable: bool = False
    colour: Colour = Colour()
    decoder: str = ""
    """The decoder to use instead of ffmpeg's default, which ignores transparency; mostly empty."""

    @property
    def has_alpha(self) -> bool:
        return has_alpha(self.pix_fmt)

    def time_of(self, index: int) -> Fraction:
        """Seconds from the start of the file to frame `index`."""
        return self.start + (self.timestamps.seconds(index) if self.timestamps else index / self.fps)


def has_alpha(pix_fmt: str) -> bool:
    """Whether frames of this ffmpeg pixel format carry transparency."""
    return pix_fmt.startswith(("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8", "ya16", "pal8"))


@dataclass(frozen=True)
class _Header:
    container: set[str]
    codec: str
    width: int
    height: int
    rate: Fraction | None
    pix_fmt: str
    rotation: int
    has_audio: bool
    colour: Colour
    decoder: str


@dataclass(frozen=True)
class _Packet:
    pts: int | None
    duration: int
    flags: int


def probe(path: str | Path) -> VideoInfo:
    """Examine the first video stream of the file at `path`. Raises InputError when it is not a video or is truncated."""
    require_readable_file(Path(path))
    return probe_media(Media(Path(path)))


def probe_media(media: Media) -> VideoInfo:
    """As `probe`, for a part of a file."""
    header = _header(media)
    if header.colour.foreign and not has_filter("zscale"):
        wanted = "it is HDR or has wide colours, and this ffmpeg lacks the filter zscale"
        raise MissingRequirement(f"{media.path} cannot be read: {wanted}", hint="Put an ffmpeg with libzimg on PATH, or none")
    picture_units = _PICTURE_UNITS.get(header.codec)
    packets, time_base, complaint = _packets(
        media, {**_COPY, **({"bsf:v": f"filter_units=pass_types={picture_units}"} if picture_units else {})}
    )
    damaged = "bitstream filter" in complaint
    if damaged:
        packets, time_base, complaint = _packets(media, _COPY)
    trusted = not damaged and bool(header.container & _INDEXED_CONTAINERS) and header.codec in _ONE_FRAME_PER_PACKET and _regular(packets)
    if any(text in complaint for text in _CUT_OFF):
        raise InputError(
            f"{media.path} breaks off early: {meaning(complaint)}",
            hint="Copy the part that is intact with `ffmpeg -i broken.mp4 -c copy intact.mp4`",
        )
    if not trusted or header.codec == "mpeg4":  # its packets may be "not coded", which gives no frame
        listed = sorted(packet.pts or 0 for packet in packets), time_base
        decoding = {"c:v": "wrapped_avframe", "enc_time_base": source_time_base(), **passthrough()}
        packets, time_base, complaint = _packets(media, decoding)
        trusted = trusted and ([packet.pts for packet in packets], time_base) == listed
    if not packets:
        raise InputError(f"{media.path} holds no frame that can be decoded: {meaning(complaint)}")
    return _describe(header, packets, time_base, trusted)


def _header(media: Media, decoder: str = "") -> _Header:
    source = media_input(media, **named_decoder(decoder))
    command = composer.output(source["V:0"].filter("showinfo"), "-", **{"frames:v": 1, "format": "null"}).compile(cmd=executable())
    result = run(command, level="info")
    frame = re.search(r"^\[Parsed_showinfo_\d+ @ \w+\] n: *0 .* fmt:(\S+) .* s:(\d+)x(\d+) ", result.stderr, re.M)
    if "Tile Grid" in result.stderr:
        raise InputError(f"{media.path} is an image made of tiles, not a video", hint="Give it a name that ends in .heic")
    if frame is None:
        complaint = "\n".join(line for line in result.stderr.splitlines() if not line.startswith(("Input", "Output", "  ")))
        raise InputError(f"{media.path} cannot be read as a video: {meaning(complaint)}")
    width, height = int(frame[2]), int(frame[3])
    if max(width, height) > MAX_SIDE:
        raise InputError(f"{media.path} has frames of {width} x {height} pixels; at most {MAX_SIDE} per side can be handled")
    rate = re.search(r"^\[Parsed_showinfo_\d+ @ \w+\] config in time_base: \S+, frame_rate: (\d+)/(\d+)", result.stderr, re.M)
    container = re.search(r"^Input #0, (\S+), from", result.stderr, re.M)
    stream = re.search(r"^Stream mapping:\n +Stream #(\d+:\d+) ", result.stderr, re.M)
    codec = re.search(rf"^ *Stream #{stream[1]}\b.*?: Video: (\w+)", result.stderr, re.M) if stream else None
    if codec and codec[1] in _TRANSPARENT and not decoder and re.search(r"^ +alpha_mode +: 1", result.stderr, re.M):
        return _header(media, _TRANSPARENT[codec[1]])
    rotation = re.search(r"Display Matrix: rotation of (-?[\d.]+) degrees", result.stderr)
    degrees = round(float(rotation[1])) % 360 if rotation else 0
    return _Header(
        container=set(container[1].split(",")) if container else set(),
        codec=codec[1] if codec else "",
        width=width,
        height=height,
        rate=Fraction(int(rate[1]), int(rate[2])) if rate and int(rate[1]) and int(rate[2]) else None,
        pix_fmt=frame[1],
        rotation=degrees,
        has_audio=bool(re.search(r"^ *Stream #0:\d+.*: Audio: ", result.stderr, re.M)),
        colour=_colour(result.stderr, frame[1], width if degrees % 180 else height),
        decoder=decoder,
    )


def named_decoder(decoder: str) -> dict[str, str]:
    """The input option that names the decoder of a video."""
    return {"c:v": decoder} if decoder else {}


def _colour(listing: str, pix_fmt: str, lines: int) -> Colour:
    if re.match(r"gray\d*(le|be)?$", pix_fmt) and re.search(r"\] color_range:tv ", listing):
        return Colour(range="tv")
    named = re.search(r" color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)", listing)
    if named is None or not pix_fmt.startswith(_CHROMATIC):
        return Colour()
    found = Colour(*("" if name in ("unknown", "reserved") else name for name in named.groups()))
    if not found.foreign:
        return replace(found, matrix=found.matrix or usual_matrix(lines))
    return Colour(found.matrix or "bt2020nc", found.primaries or "bt2020", found.transfer or "bt709")


def _packets(media: Media, options: Mapping[str, str | None]) -> tuple[list[_Packet], Fraction, str]:
    """(packets of the video stream, their time base, ffmpeg's messages); `options` choose between copying and decoding."""
    source = media_input(media)["V:0"]
    command = composer.output(source, "-", format="framecrc", **options).compile(cmd=executable())
    result = run(command)
    base = re.search(r"^#tb 0: (\d+)/(\d+)", result.stdout, re.M)
    rows = (line.split(",") for line in result.stdout.splitlines() if line and not line.startswith("#"))
    packets = [_packet([field.strip() for field in row]) for row in rows]
    time_base = Fraction(int(base[1]), int(base[2])) if base else Fraction(1, 1000)
    return packets, time_base, result.stderr


def _packet(fields: list[str]) -> _Packet:
    """stream, dts, pts, duration, size, checksum[, F=flags][, side data]: a key packet shows no flags."""
    flags = next((int(field[2:], 16) for field in fields[6:] if field.startswith("F=")), 1)
    return _Packet(int(fields[2]) if fields[2].lstrip("-").isdigit() else None, int(fields[3]), flags)


def _regular(packets: list[_Packet]) -> bool:
    """Whether each packet is one frame: times differ, none is to be discarded, and the first is a key frame that is shown first."""
    times = [packet.pts for packet in packets if packet.pts is not None]
    if not packets or len(times) != len(packets) or len(set(times)) != len(times):
        return False
    return all(packet.flags in (0, 1) for packet in packets) and packets[0].flags == 1 and packets[0].pts == min(times)


def _describe(header: _Header, packets: list[_Packet], time_base: Fraction, trusted: bool) -> VideoInfo:
    times = [packet.pts for packet in packets if packet.pts is not None]
    times = sorted(times) if trusted else times
    first = times[0] if times else 0
    ticks = tuple(time - first for time in times)
    dependable = len(ticks) == len(packets) and all(a < b for a, b in zip(ticks, ticks[1:], strict=False))
    fps, constant = rate_of(ticks, time_base, header.rate) if dependable else (header.rate or Fraction(25), True)
    return VideoInfo(
        width=header.width,
        height=header.height,
        fps=fps,
        num_frames=len(packets),
        timestamps=None if constant else Timestamps(time_base, ticks),
        time_base=time_base,
        rotation=header.rotation,
        pix_fmt=header.pix_fmt,
        has_audio=header.has_audio,
        duration=len(packets) / fps,
        start=first * time_base,
        seekable=trusted,
        colour=header.colour,
        decoder=header.decoder,
    )


def rate_of(ticks: tuple[int, ...], time_base: Fraction, nominal: Fraction | None = None) -> tuple[Fraction, bool]:
    """(frames per second, whether all frames lie on that grid within one tick)."""
    if len(ticks) < 2:
        return nominal or Fraction(25), True

    def deviation(rate: Fraction) -> Fraction:
        return max(abs(tick * time_base - index / rate) for index, tick in enumerate(ticks))

    mean = (len(ticks) - 1) / (ticks[-1] * time_base)
    usual = [Fraction(round(mean * 1001, -3), 1001), Fraction(round(mean))]  # n * 1000/1001 and n
    if nominal and (1000 % nominal.denominator == 0 or nominal.denominator == 1001):
        usual = [nominal]  # the container's rate; ffmpeg's own estimates have other denominators
    elif deviation(mean) == 0:
        return mean, True
    best = min((rate for rate in usual if rate), key=deviation, default=mean)
    if deviation(best) <= time_base:
        return best, True
    return mean.limit_denominator(100_000), deviation(mean) <= time_base

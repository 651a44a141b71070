"""Properties of a video file: size after rotation, exact rate, exact number of frames.

imageio-ffmpeg has no ffprobe, so ffmpeg itself is used. The filter `showinfo` on one frame prints time base, rate, size and pixel format. A
stream copy to the format `framecrc` lists the time stamps of all packets without decoding them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import ffmpeg

from stages.clip.ffmpeg import (
    Media,
    default_matrix,
    executable,
    explain,
    has_filter,
    media_input,
    passthrough_option,
    require_readable_file,
    run,
    source_time_base_value,
)
from stages.errors import InputError, MissingRequirement
from stages.io.image_headers import MAX_SIDE

_INDEXED_CONTAINERS = {"mov", "mp4", "matroska", "webm"}
_ONE_FRAME_PER_PACKET = {"h264", "hevc", "av1", "vp9", "mpeg4", "mjpeg", "png", "ffv1", "rawvideo", "prores", "qtrle", "dnxhd"}
_PICTURE_UNITS = {"h264": "1-5", "hevc": "0-31"}
"""The types of NAL units that hold image data. A packet without any of them gives no frame."""
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""The decoders that read the transparency of WebM. ffmpeg's native decoders ignore it."""
_COPY: Mapping[str, str | None] = {"c": "copy", "copyinkf": None}
_YUV_PREFIXES = ("yuv", "nv", "p0", "p2", "p4", "y2", "uyvy", "xv", "ayuv", "vuy")
"""Prefixes of the pixel formats that need a colour matrix to become RGB."""
_TRUNCATION_MESSAGES = ("partial file", "File ended prematurely", "Truncat", "truncat", "Invalid data found", "Input/output error")


@dataclass(frozen=True)
class Timestamps:
    """Times of the frames of a variable-rate video: frame i is shown `ticks[i] * time_base` seconds after the first."""

    time_base: Fraction
    ticks: tuple[int, ...]

    def seconds(self, index: int) -> Fraction:
        return self.ticks[index] * self.time_base


@dataclass(frozen=True)
class Colour:
    """The colour space of a video in ffmpeg's names: that of the file, or else the conventional one.

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
    def needs_conversion(self) -> bool:
        """Whether conversion to sRGB needs more than a colour matrix: HDR, or the primaries of BT.2020 or P3."""
        return self.hdr or self.primaries in ("bt2020", "smpte431", "smpte432")


@dataclass(frozen=True)
class VideoInfo:
    """One video stream. width, height: those of the frames as shown, after rotation.

    fps: exact for a constant rate; for a variable rate it is the mean, and `timestamps` is set. rotation: the rotation in degrees that
    players apply. duration: seconds. start: the time of the first frame in seconds after the start of the file. seekable: whether
    frames can be found by their time.
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
    """The decoder to use if ffmpeg's default would ignore transparency, else empty."""

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
    """As `probe`, also for a part of a file."""
    header = _read_header(media)
    if header.colour.needs_conversion and not has_filter("zscale"):
        reason = "it is HDR or has a wide colour gamut, and this ffmpeg lacks the filter zscale"
        hint = "Put an ffmpeg with libzimg on PATH. Without any ffmpeg on PATH, that of imageio-ffmpeg is used"
        raise MissingRequirement(f"{media.path} cannot be read: {reason}", hint=hint)
    picture_units = _PICTURE_UNITS.get(header.codec)
    packets, time_base, messages = _read_packets(
        media, {**_COPY, **({"bsf:v": f"filter_units=pass_types={picture_units}"} if picture_units else {})}
    )
    filter_failed = "bitstream filter" in messages
    if filter_failed:
        packets, time_base, messages = _read_packets(media, _COPY)
    seekable = (
        not filter_failed
        and bool(header.container & _INDEXED_CONTAINERS)
        and header.codec in _ONE_FRAME_PER_PACKET
        and _has_one_frame_per_packet(packets)
    )
    if any(text in messages for text in _TRUNCATION_MESSAGES):
        raise InputError(
            f"{media.path} ends too early: {explain(messages)}",
            hint="Copy the part that is intact with `ffmpeg -i broken.mp4 -c copy intact.mp4`",
        )
    if not seekable or header.codec == "mpeg4":  # its packets may be "not coded", without a frame
        listed_packets = sorted(packet.pts or 0 for packet in packets), time_base
        decoding = {"c:v": "wrapped_avframe", "enc_time_base": source_time_base_value(), **passthrough_option()}
        packets, time_base, messages = _read_packets(media, decoding)
        seekable = seekable and ([packet.pts for packet in packets], time_base) == listed_packets
    if not packets:
        raise InputError(f"{media.path} holds no frame that can be decoded: {explain(messages)}")
    return _video_info(header, packets, time_base, seekable)


def _read_header(media: Media, decoder: str = "") -> _Header:
    source = media_input(media, **decoder_option(decoder))
    command = ffmpeg.output(source["V:0"].filter("showinfo"), "-", **{"frames:v": 1, "format": "null"}).compile(cmd=executable())
    result = run(command, level="info")
    frame = re.search(r"^\[Parsed_showinfo_\d+ @ \w+\] n: *0 .* fmt:(\S+) .* s:(\d+)x(\d+) ", result.stderr, re.M)
    if "Tile Grid" in result.stderr:
        raise InputError(f"{media.path} is an image made of tiles, not a video", hint="Give it a name that ends in .heic")
    if frame is None:
        messages = "\n".join(line for line in result.stderr.splitlines() if not line.startswith(("Input", "Output", "  ")))
        raise InputError(f"{media.path} cannot be read as a video: {explain(messages)}")
    width, height = int(frame[2]), int(frame[3])
    if max(width, height) > MAX_SIDE:
        raise InputError(f"{media.path} has frames of {width} x {height} pixels; at most {MAX_SIDE} per side can be handled")
    rate = re.search(r"^\[Parsed_showinfo_\d+ @ \w+\] config in time_base: \S+, frame_rate: (\d+)/(\d+)", result.stderr, re.M)
    container = re.search(r"^Input #0, (\S+), from", result.stderr, re.M)
    stream = re.search(r"^Stream mapping:\n +Stream #(\d+:\d+) ", result.stderr, re.M)
    codec = re.search(rf"^ *Stream #{stream[1]}\b.*?: Video: (\w+)", result.stderr, re.M) if stream else None
    if codec and codec[1] in _ALPHA_DECODERS and not decoder and re.search(r"^ +alpha_mode +: 1", result.stderr, re.M):
        return _read_header(media, _ALPHA_DECODERS[codec[1]])
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
        colour=_read_colour(result.stderr, frame[1], width if degrees % 180 else height),
        decoder=decoder,
    )


def decoder_option(decoder: str) -> dict[str, str]:
    """The input option that chooses the decoder of a video; none if `decoder` is empty."""
    return {"c:v": decoder} if decoder else {}


def _read_colour(messages: str, pix_fmt: str, height: int) -> Colour:
    if re.match(r"gray\d*(le|be)?$", pix_fmt) and re.search(r"\] color_range:tv ", messages):
        return Colour(range="tv")
    match = re.search(r" color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)", messages)
    if match is None or not pix_fmt.startswith(_YUV_PREFIXES):
        return Colour()
    colour = Colour(*("" if name in ("unknown", "reserved") else name for name in match.groups()))
    if not colour.needs_conversion:
        return replace(colour, matrix=colour.matrix or default_matrix(height))
    return Colour(colour.matrix or "bt2020nc", colour.primaries or "bt2020", colour.transfer or "bt709")


def _read_packets(media: Media, options: Mapping[str, str | None]) -> tuple[list[_Packet], Fraction, str]:
    """(packets of the video stream, their time base, ffmpeg's messages). options: output options to copy or to decode packets."""
    source = media_input(media)["V:0"]
    command = ffmpeg.output(source, "-", format="framecrc", **options).compile(cmd=executable())
    result = run(command)
    time_base_match = re.search(r"^#tb 0: (\d+)/(\d+)", result.stdout, re.M)
    rows = (line.split(",") for line in result.stdout.splitlines() if line and not line.startswith("#"))
    packets = [_parse_packet([field.strip() for field in row]) for row in rows]
    time_base = Fraction(int(time_base_match[1]), int(time_base_match[2])) if time_base_match else Fraction(1, 1000)
    return packets, time_base, result.stderr


def _parse_packet(fields: list[str]) -> _Packet:
    """A line of framecrc: stream, dts, pts, duration, size, checksum[, F=flags][, side data]. Without flags the packet is a key frame."""
    flags = next((int(field[2:], 16) for field in fields[6:] if field.startswith("F=")), 1)
    return _Packet(int(fields[2]) if fields[2].lstrip("-").isdigit() else None, int(fields[3]), flags)


def _has_one_frame_per_packet(packets: list[_Packet]) -> bool:
    """Whether each packet is one frame: times differ, no packet is to be discarded, and the first is a key frame and shown first."""
    times = [packet.pts for packet in packets if packet.pts is not None]
    if not packets or len(times) != len(packets) or len(set(times)) != len(times):
        return False
    return all(packet.flags in (0, 1) for packet in packets) and packets[0].flags == 1 and packets[0].pts == min(times)


def _video_info(header: _Header, packets: list[_Packet], time_base: Fraction, seekable: bool) -> VideoInfo:
    times = [packet.pts for packet in packets if packet.pts is not None]
    times = sorted(times) if seekable else times
    first = times[0] if times else 0
    ticks = tuple(time - first for time in times)
    is_ascending = len(ticks) == len(packets) and all(a < b for a, b in zip(ticks, ticks[1:], strict=False))
    fps, is_constant = find_rate(ticks, time_base, header.rate) if is_ascending else (header.rate or Fraction(25), True)
    return VideoInfo(
        width=header.width,
        height=header.height,
        fps=fps,
        num_frames=len(packets),
        timestamps=None if is_constant else Timestamps(time_base, ticks),
        time_base=time_base,
        rotation=header.rotation,
        pix_fmt=header.pix_fmt,
        has_audio=header.has_audio,
        duration=len(packets) / fps,
        start=first * time_base,
        seekable=seekable,
        colour=header.colour,
        decoder=header.decoder,
    )


def find_rate(ticks: tuple[int, ...], time_base: Fraction, nominal: Fraction | None = None) -> tuple[Fraction, bool]:
    """(frames per second, whether the rate is constant). It is constant if each frame is within one tick of its time at that rate.

    ticks: the times of the frames in units of `time_base`, from 0. nominal: the rate that the container states.
    """
    if len(ticks) < 2:
        return nominal or Fraction(25), True

    def deviation(rate: Fraction) -> Fraction:
        return max(abs(tick * time_base - index / rate) for index, tick in enumerate(ticks))

    mean = (len(ticks) - 1) / (ticks[-1] * time_base)
    candidates = [Fraction(round(mean * 1001, -3), 1001), Fraction(round(mean))]  # n * 1000/1001 and n
    if nominal and (1000 % nominal.denominator == 0 or nominal.denominator == 1001):
        candidates = [nominal]  # the rate in the container; rates that ffmpeg has estimated have other denominators
    elif deviation(mean) == 0:
        return mean, True
    best = min((rate for rate in candidates if rate), key=deviation, default=mean)
    if deviation(best) <= time_base:
        return best, True
    return mean.limit_denominator(100_000), deviation(mean) <= time_base

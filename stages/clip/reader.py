"""Frames of a video as a stream of arrays, decoded by ffmpeg one at a time through a pipe."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

import ffmpeg as composer
import numpy as np

from stages.clip.ffmpeg import EXACTLY, Media, arguments, executable, log_file, meaning, media_input, passthrough, running
from stages.clip.probe import Colour, VideoInfo, named_decoder, probe
from stages.errors import InputError

_SEEK_FROM = 32
"""From this frame on, jumping to a key frame is cheaper than decoding from the start."""
_RUN_UP = 20
"""A seek aims at this number of frames before the wanted one. ffmpeg may land on a key frame shown up to 16 frames after its target, and
frames that are shown before the key frame but stored after it cannot be decoded."""


def read_frames(path: str | Path, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
    """Yield frames [start, stop) of the video at `path`: uint8 RGB [H, W, 3], rotated as a player shows them.

    Memory does not grow with the length. Raises InputError when the file is not a video or is truncated.
    """
    return decode(Media(Path(path)), probe(path), start, stop)


def decode(media: Media, info: VideoInfo, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
    """As `read_frames`, for a stream that was examined before. Transparent pixels are laid over white."""
    start, stop, _ = slice(start, stop).indices(info.num_frames)
    if start >= stop:
        return
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(log_file())
        # its own session, so that Ctrl-C reaches this program alone, which then ends ffmpeg
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": log, "start_new_session": True}
        process = stack.enter_context(running(_command(media, info, start, stop), **options))
        assert process.stdout is not None
        _widen(process.stdout)
        for index in range(start, stop):
            frame = np.empty((info.height, info.width, 3), np.uint8)
            if not _fill(process.stdout, frame):
                raise InputError(
                    f"{media.path} breaks off after {index} of {info.num_frames} frames: {_complaint(process, log)}",
                    hint="Encode it again and import the result: ffmpeg -i VIDEO NEW.mp4",
                )
            yield frame


def _command(media: Media, info: VideoInfo, start: int, stop: int) -> list[str]:
    seek = info.seekable and start >= _SEEK_FROM
    from_time = info.time_of(start - _RUN_UP) if seek else Fraction(0)
    jump = {"ss": f"{float(from_time):.6f}"} if seek else {}
    frames = media_input(media, **jump, **named_decoder(info.decoder))["V:0"]
    if seek:  # after a seek, times count from its target
        half_a_frame = (info.time_of(start) - info.time_of(start - 1)) / 2
        frames = frames.filter("select", f"gte(t,{float(info.time_of(start) - from_time - half_a_frame):.6f})")
    elif start:
        frames = frames.filter("select", f"gte(n,{start})")
    same = f"eq(iw,{info.width})*eq(ih,{info.height})"  # crop refuses a width of -1, so frames of another size are an error and not scaled
    frames = frames.filter("crop", w=f"if({same},iw,-1)", h="ih", exact=1)
    if info.colour.matrix:
        frames = frames.filter("setparams", colorspace=info.colour.matrix)
    if info.colour.foreign:
        frames = _as_srgb(frames, info.colour)
    if info.colour.range == "tv":
        frames = _full_range(frames, info.pix_fmt)
    frames = frames.filter("scale", flags=EXACTLY).filter("format", "gbrap" if info.has_alpha else "gbrp")  # planes are faster
    if info.has_alpha:
        frames = _over_white(frames)
    options = {"frames:v": stop - start, **passthrough()}
    return arguments(composer.output(frames, "pipe:", format="rawvideo", pix_fmt="rgb24", **options).compile(cmd=executable()))


def _as_srgb(frames: composer.nodes.FilterableStream, colour: Colour) -> composer.nodes.FilterableStream:
    """Convert primaries to BT.709. Of HDR, diffuse white at 203 nits (BT.2408) becomes 255; brighter values are clipped."""
    frames = frames.filter("setparams", color_primaries=colour.primaries, color_trc=colour.transfer)
    to = "iec61966-2-1" if colour.hdr or colour.transfer == "iec61966-2-1" else "bt709"
    exact = colour.transfer == "arib-std-b67"  # zscale's faster mode applies HLG's curve to each channel instead of luminance
    options = {"primaries": "bt709", "transfer": to, "matrix": "gbr", "range": "full", "npl": 203, "agamma": int(not exact)}
    return frames.filter("zscale", filter="bicubic", **options).filter("format", "gbrp")


def _full_range(frames: composer.nodes.FilterableStream, pix_fmt: str) -> composer.nodes.FilterableStream:
    """Expand grey of limited range, which ffmpeg's scaler would treat as full range."""
    depth = re.match(r"gray(\d+)", pix_fmt)
    bits = int(depth[1]) if depth else 8
    low, span, top = 16 << bits - 8, 219 << bits - 8, (1 << bits) - 1
    return frames.filter("lut", c0=f"clip((val-{low})*{top}/{span}+0.5,0,{top})")


def _over_white(frames: composer.nodes.FilterableStream) -> composer.nodes.FilterableStream:
    halves = frames.filter("format", "rgba").filter_multi_output("split")
    white = halves[0].filter("drawbox", color="white@1", replace=1, t="fill")
    return composer.filter([white, halves[1]], "overlay", format="rgb")


def _widen(pipe: IO[bytes]) -> None:
    """On Linux, let ffmpeg work ahead by a megabyte instead of 64 KB."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)  # type: ignore[attr-defined, unused-ignore]


def _fill(stream: IO[bytes], frame: np.ndarray) -> bool:
    """Read exactly one frame; False when the stream ends before."""
    rest = frame.data.cast("B")
    while rest:
        got = stream.readinto(rest)  # type: ignore[attr-defined]
        if not got:
            return False
        rest = rest[got:]
    return True


def _complaint(process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    log.seek(0)
    return meaning(log.read(100_000).decode("utf-8", "replace"))

"""Reading the frames of a video: ffmpeg decodes them one at a time into a pipe."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import IO

import ffmpeg
import numpy as np

from stages.clip.ffmpeg import (
    EXACT_CONVERSION,
    Media,
    executable,
    explain,
    log_file,
    media_input,
    passthrough_option,
    running,
    with_common_options,
)
from stages.clip.probe import Colour, VideoInfo, decoder_option, probe
from stages.errors import InputError

_FIRST_SEEK = 32
"""For this frame and later ones, seeking is faster than decoding from the start."""
_SEEK_MARGIN = 20
"""The target of a seek is this number of frames before the first frame that is read. ffmpeg may seek to a key frame up to 16 frames after
the target, and frames that are shown before that key frame but stored after it cannot be decoded."""


def read_frames(path: str | Path, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
    """Yield frames [start, stop) of the video at `path`: uint8 RGB [H, W, 3], rotated as a player shows them.

    Memory does not grow with the length. Raises InputError when the file is not a video or is truncated.
    """
    return decode(Media(Path(path)), probe(path), start, stop)


def decode(media: Media, info: VideoInfo, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
    """As `read_frames`, for a stream whose properties are known. Transparent pixels are laid over white."""
    start, stop, _ = slice(start, stop).indices(info.num_frames)
    if start >= stop:
        return
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(log_file())
        # in its own session, so that Ctrl-C reaches only this program, which then ends ffmpeg
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": log, "start_new_session": True}
        process = stack.enter_context(running(_command(media, info, start, stop), **options))
        assert process.stdout is not None
        _enlarge_buffer(process.stdout)
        for index in range(start, stop):
            frame = np.empty((info.height, info.width, 3), np.uint8)
            if not _read_frame(process.stdout, frame):
                raise InputError(
                    f"{media.path} ends after {index} of {info.num_frames} frames: {_explain_failure(process, log)}",
                    hint="Encode it again and import the result: ffmpeg -i VIDEO NEW.mp4",
                )
            yield frame


def _command(media: Media, info: VideoInfo, start: int, stop: int) -> list[str]:
    seek = info.seekable and start >= _FIRST_SEEK
    seek_time = info.time_of(start - _SEEK_MARGIN) if seek else Fraction(0)
    seek_option = {"ss": f"{float(seek_time):.6f}"} if seek else {}
    frames = media_input(media, **seek_option, **decoder_option(info.decoder))["V:0"]
    if seek:  # after a seek, times are relative to its target
        half_a_frame = (info.time_of(start) - info.time_of(start - 1)) / 2
        frames = frames.filter("select", f"gte(t,{float(info.time_of(start) - seek_time - half_a_frame):.6f})")
    elif start:
        frames = frames.filter("select", f"gte(n,{start})")
    has_clip_size = f"eq(iw,{info.width})*eq(ih,{info.height})"
    # for frames of another size the width is -1, with which crop fails: otherwise ffmpeg would scale them
    frames = frames.filter("crop", w=f"if({has_clip_size},iw,-1)", h="ih", exact=1)
    if info.colour.matrix:
        frames = frames.filter("setparams", colorspace=info.colour.matrix)
    if info.colour.needs_conversion:
        frames = _to_srgb(frames, info.colour)
    if info.colour.range == "tv":
        frames = _to_full_range(frames, info.pix_fmt)
    planar_rgb = "gbrap" if info.has_alpha else "gbrp"  # faster than packed formats
    frames = frames.filter("scale", flags=EXACT_CONVERSION).filter("format", planar_rgb)
    if info.has_alpha:
        frames = _lay_over_white(frames)
    options = {"frames:v": stop - start, **passthrough_option()}
    return with_common_options(ffmpeg.output(frames, "pipe:", format="rawvideo", pix_fmt="rgb24", **options).compile(cmd=executable()))


def _to_srgb(frames: ffmpeg.nodes.FilterableStream, colour: Colour) -> ffmpeg.nodes.FilterableStream:
    """Convert primaries to BT.709. For HDR, diffuse white at 203 nits (BT.2408) becomes 255, and brighter values are clipped."""
    frames = frames.filter("setparams", color_primaries=colour.primaries, color_trc=colour.transfer)
    target_transfer = "iec61966-2-1" if colour.hdr or colour.transfer == "iec61966-2-1" else "bt709"
    exact = colour.transfer == "arib-std-b67"  # zscale's faster mode applies HLG's curve to each channel instead of luminance
    options = {"primaries": "bt709", "transfer": target_transfer, "matrix": "gbr", "range": "full", "npl": 203, "agamma": int(not exact)}
    return frames.filter("zscale", filter="bicubic", **options).filter("format", "gbrp")


def _to_full_range(frames: ffmpeg.nodes.FilterableStream, pix_fmt: str) -> ffmpeg.nodes.FilterableStream:
    """Expand grey of limited range to full range. ffmpeg's scaler would not do so."""
    depth = re.match(r"gray(\d+)", pix_fmt)
    bits = int(depth[1]) if depth else 8
    low, span, top = 16 << bits - 8, 219 << bits - 8, (1 << bits) - 1
    return frames.filter("lut", c0=f"clip((val-{low})*{top}/{span}+0.5,0,{top})")


def _lay_over_white(frames: ffmpeg.nodes.FilterableStream) -> ffmpeg.nodes.FilterableStream:
    halves = frames.filter("format", "rgba").filter_multi_output("split")
    white = halves[0].filter("drawbox", color="white@1", replace=1, t="fill")
    return ffmpeg.filter([white, halves[1]], "overlay", format="rgb")


def _enlarge_buffer(pipe: IO[bytes]) -> None:
    """On Linux, enlarge the buffer of a pipe from 64 KB to 1 MB, so that ffmpeg can decode ahead."""
    with contextlib.suppress(ImportError, AttributeError, OSError):
        import fcntl

        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 1 << 20)  # type: ignore[attr-defined, unused-ignore]


def _read_frame(stream: IO[bytes], frame: np.ndarray) -> bool:
    """Read the bytes of one frame into `frame`. Returns False when the stream ends before that."""
    remaining = frame.data.cast("B")
    while remaining:
        num_bytes = stream.readinto(remaining)  # type: ignore[attr-defined]
        if not num_bytes:
            return False
        remaining = remaining[num_bytes:]
    return True


def _explain_failure(process: subprocess.Popen[bytes], log: IO[bytes]) -> str:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=5)
    log.seek(0)
    return explain(log.read(100_000).decode("utf-8", "replace"))

"""Videos with unusual times: edit lists, variable rates, timestamps that are negative or wrap around, and containers without durations."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from stages.clip.ffmpeg import executable
from strange_files.encoding import DELAYED, H264, INTRA, click, patch_box, write
from strange_files.registry import Setup, Truth, register


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


@register("edit list of a video that starts late", "late.mp4", "libx264")
def _late_video(setup: Setup, path: Path) -> Truth:
    sound = click(setup, 0.52, 1.5)
    setup.ffmpeg("-itsoffset", "0.32", *DELAYED.source(setup, setup.frames()), *sound, *DELAYED.output_options(), "-c:a", "alac", path.name)
    return setup.truth(sound=Fraction(1, 5))


@register("variable rate", "variable.mp4", "libx264")
def _variable(setup: Setup, path: Path) -> Truth:
    """Each frame is shown for one to three times 1/25 s."""
    times = [Fraction(n + n // 3 + n // 5, 25) for n in range(setup.count)]
    return write_at_times(setup, path, times, Fraction(1, 90000))


@register("variable rate in whole milliseconds", "variable.mkv", "libx264")
def _variable_mkv(setup: Setup, path: Path) -> Truth:
    times = [Fraction(n * 1000 // 30 + 7 * (n // 4), 1000) for n in range(setup.count)]
    return write_at_times(setup, path, times, Fraction(1, 1000))


def write_at_times(setup: Setup, path: Path, times: Sequence[Fraction], tick: Fraction, *options: object) -> Truth:
    """Write a video with frames at these times in seconds, which are multiples of `tick`. options: further arguments of ffmpeg."""
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

"""Videos with several streams: a second video or sound, subtitles, data, cover art, and sound that is shorter, longer or late."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from PIL import Image

from strange_files.encoding import DELAYED, H264, click
from strange_files.frames import draw_frame
from strange_files.registry import Setup, Truth, register
from strange_files.timing import write_at_times


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


@register("cover art of an audio file", "cover.m4a", "png")
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
    truth = write_at_times(setup, setup.folder / "silent.mp4", times, Fraction(1, 90000))
    setup.ffmpeg("-i", "silent.mp4", *sound, "-c:v", "copy", "-c:a", "alac", path.name)
    return replace(truth, sound=times[-2])

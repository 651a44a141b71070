"""Sound: finding it, copying it out of a source, and adding it to a new video."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg

from stages.clip.ffmpeg import Media, executable, explain, file_url, media_input, run
from stages.errors import InputError

_COPYABLE_CODECS = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"},
}
MAX_LEAD = Fraction(1, 10)
"""Seconds by which copied sound may start before the video. Sound that starts earlier is cut and encoded again, since a copy can only be
cut between packets."""
_OUTPUT_OPTIONS = {"fflags": "+bitexact", "map_metadata": -1, "y": None}


@dataclass(frozen=True)
class Sound:
    """The first sound stream of a file. start: seconds from the start of the file."""

    codec: str
    start: Fraction


def find_sound(media: Media) -> Sound | None:
    """The first sound stream, None without sound."""
    source = media_input(media)["a:0"]
    listing = run(ffmpeg.output(source, "-", **{"frames:a": 1, "c": "copy", "format": "framecrc"}).compile(cmd=executable())).stdout
    base = re.search(r"^#tb 0: (\d+)/(\d+)", listing, re.M)
    codec = re.search(r"^#codec_id 0: (\S+)", listing, re.M)
    first = re.search(r"^0, *-?\d+, *(-?\d+),", listing, re.M)
    if base is None or codec is None or first is None:
        return None
    return Sound(codec[1], Fraction(int(first[1]) * int(base[1]), int(base[2])))


def copy_sound(media: Media, target: Path) -> None:
    """Copy the first sound stream into a Matroska file: unchanged if Matroska supports its codec, else as FLAC. Raises InputError."""
    source = media_input(media)["a:0"]
    messages = ""
    for codec in ("copy", "flac"):
        result = run(
            ffmpeg.output(source, file_url(target), format="matroska", **{"c:a": codec}, **_OUTPUT_OPTIONS).compile(cmd=executable())
        )
        if result.returncode == 0:
            return
        messages = result.stderr
    raise InputError(f"the sound of {media.path} cannot be copied: {explain(messages)}")


def add_tags(command: list[str], tags: Mapping[str, str]) -> list[str]:
    """The command with options that write `tags` into the metadata of its output, which is the last argument."""
    options = [part for name, value in tags.items() for part in ("-metadata", f"{name}={value}")]
    return [*command[:-1], *options, command[-1]]


def add_sound(
    video: Path, sound: Media, shift: Fraction, duration: Fraction, target: Path, container: str, tags: Mapping[str, str]
) -> None:
    """Write `target`: a copy of `video` with the sound of `sound`, shifted by `shift` seconds and cut at `duration` seconds.

    tags: the metadata of the container. Raises InputError.
    """
    stream = find_sound(sound)
    if stream is None:
        raise InputError(f"{sound.path} holds no sound")
    starts_early = shift < -MAX_LEAD
    can_copy = not starts_early and stream.codec in _COPYABLE_CODECS.get(container, {stream.codec})
    copy_codec = "alac" if stream.codec == "alac" else "copy"  # the last packet of ALAC copied from Matroska lacks its duration
    messages = ""
    for codec in [copy_codec, "aac"] if can_copy else ["aac"]:
        video_stream = media_input(Media(video))["v:0"]
        placement = {"ss": f"{float(-shift):.6f}"} if starts_early else {"itsoffset": f"{float(shift):.6f}"}
        audio_stream = media_input(sound, **placement)["a:0"]
        if codec != "copy":  # otherwise encoded sound would start before the first frame, and end too early by the same amount
            audio_stream = audio_stream.filter("atrim", start=0, end=f"{float(duration):.6f}")
        options = {
            "c:v": "copy",
            "c:a": codec,
            "t": f"{float(duration):.6f}",
            "movflags": "+faststart",
            "format": container,
            **_OUTPUT_OPTIONS,
        }
        result = run(add_tags(ffmpeg.output(video_stream, audio_stream, file_url(target), **options).compile(cmd=executable()), tags))
        if result.returncode == 0:
            return
        messages = result.stderr
    raise InputError(f"the sound of {sound.path} cannot be added to the video: {explain(messages)}")

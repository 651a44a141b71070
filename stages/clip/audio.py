"""Sound: finding it, copying it out of a source, and adding it to a new video."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg as composer

from stages.clip.ffmpeg import Media, executable, file_url, meaning, media_input, run
from stages.errors import InputError

_COPIED_INTO = {
    "mp4": {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"},
    "mov": {"aac", "mp3", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le"},
}
_EXACT = {"fflags": "+bitexact", "map_metadata": -1, "y": None}


@dataclass(frozen=True)
class Sound:
    """The first sound stream of a file; `start` in seconds after the start of the file."""

    codec: str
    start: Fraction


def find_sound(media: Media) -> Sound | None:
    """The first sound stream, or None."""
    source = media_input(media)["a:0"]
    listing = run(composer.output(source, "-", **{"frames:a": 1, "c": "copy", "format": "framecrc"}).compile(cmd=executable())).stdout
    base = re.search(r"^#tb 0: (\d+)/(\d+)", listing, re.M)
    codec = re.search(r"^#codec_id 0: (\S+)", listing, re.M)
    first = re.search(r"^0, *-?\d+, *(-?\d+),", listing, re.M)
    if base is None or codec is None or first is None:
        return None
    return Sound(codec[1], Fraction(int(first[1]) * int(base[1]), int(base[2])))


def copy_sound(media: Media, target: Path) -> None:
    """Copy the first sound stream into a Matroska file, unchanged if Matroska takes it, else as FLAC. Raises InputError."""
    source = media_input(media)["a:0"]
    complaint = ""
    for codec in ("copy", "flac"):
        result = run(composer.output(source, file_url(target), format="matroska", **{"c:a": codec}, **_EXACT).compile(cmd=executable()))
        if result.returncode == 0:
            return
        complaint = result.stderr
    raise InputError(f"the sound of {media.path} cannot be copied: {meaning(complaint)}")


def tagged(command: list[str], tags: Mapping[str, str]) -> list[str]:
    """A composed command that also writes `tags` into the metadata of its output, the last argument."""
    options = [part for name, value in tags.items() for part in ("-metadata", f"{name}={value}")]
    return [*command[:-1], *options, command[-1]]


def add_sound(
    video: Path, sound: Media, shift: Fraction, duration: Fraction, target: Path, container: str, tags: Mapping[str, str]
) -> None:
    """Put `video` and `sound`, moved by `shift` seconds and cut at `duration`, into `target` without encoding the video again.

    `tags` are the metadata of the container.
    """
    found = find_sound(sound)
    if found is None:
        raise InputError(f"{sound.path} holds no sound")
    copied = found.codec in _COPIED_INTO.get(container, {found.codec})
    exactly = "alac" if found.codec == "alac" else "copy"  # out of Matroska a copy of ALAC has no length in its last packet
    complaint = ""
    for codec in [exactly, "aac"] if copied else ["aac"]:
        video_stream = media_input(Media(video))["v:0"]
        tones = media_input(sound, itsoffset=f"{float(shift):.6f}")["a:0"]
        if codec != "copy":  # encoded sound would begin before the first frame and end too early by the same amount
            tones = tones.filter("atrim", start=0, end=f"{float(duration):.6f}")
        options = {"c:v": "copy", "c:a": codec, "t": f"{float(duration):.6f}", "movflags": "+faststart", "format": container, **_EXACT}
        result = run(tagged(composer.output(video_stream, tones, file_url(target), **options).compile(cmd=executable()), tags))
        if result.returncode == 0:
            return
        complaint = result.stderr
    raise InputError(f"the sound of {sound.path} cannot be added to the video: {meaning(complaint)}")

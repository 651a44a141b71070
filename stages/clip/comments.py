"""The comment in the container of a video, in which stages store how it was made."""

from __future__ import annotations

from pathlib import Path

import ffmpeg

from stages.clip.ffmpeg import Media, executable, media_input, run


def read_comment(path: Path) -> str | None:
    """The comment in a file that `VideoWriter` wrote; None if there is none, or if the file is not a video."""
    command = ffmpeg.output(media_input(Media(path)), "-", format="ffmetadata").compile(cmd=executable())
    text = run(command).stdout.replace("\\\n", "\n")
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name.lower() == "comment":
            return value.replace("\\=", "=").replace("\\;", ";").replace("\\#", "#").replace("\\\\", "\\")
    return None

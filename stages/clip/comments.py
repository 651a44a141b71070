"""What a video says of how it was made: the comment in its container."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from stages.clip.ffmpeg import executable


def read_comment(path: Path) -> str | None:
    """The comment that `VideoWriter` was given, or None when the file has none or is no video."""
    command = [executable(), "-nostdin", "-v", "error", "-i", f"file:{os.path.abspath(path)}", "-f", "ffmetadata", "-"]
    done = subprocess.run(command, capture_output=True)
    text = done.stdout.decode("utf-8", "replace").replace("\\\n", "\n")
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name.lower() == "comment":
            return value.replace("\\=", "=").replace("\\;", ";").replace("\\#", "#").replace("\\\\", "\\")
    return None

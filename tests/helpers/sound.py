"""The start of the sound in a file."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from stages.clip.ffmpeg import executable


def sound_onset(path: Path) -> float:
    """Seconds from the start of the file to the first loud sample."""
    command = [executable(), "-v", "error", "-i", f"file:{path}", "-af", "aresample=async=1:first_pts=0", "-ac", "1", "-ar", "48000"]
    raw = subprocess.run([*command, "-f", "s16le", "-"], capture_output=True, check=True).stdout
    return float(np.argmax(np.abs(np.frombuffer(raw, np.int16).astype(int)) > 3000)) / 48000

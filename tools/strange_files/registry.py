"""The table of files: for each a function that writes it and returns its ground truth."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from stages.clip.ffmpeg import executable
from strange_files.frames import PATCHES, draw_frame


@dataclass(frozen=True)
class Truth:
    """What a reader must find in a file."""

    numbers: tuple[int, ...]
    times: tuple[Fraction, ...]
    """The time of each frame, in seconds from the first."""
    size: tuple[int, int]
    orientation: int = 1
    patches: np.ndarray = field(default_factory=lambda: PATCHES.astype(int))
    tolerance: float = 2
    """Grey levels by which a colour may differ."""
    tick: Fraction = Fraction(0)
    """The unit in seconds to which the container rounds times."""
    sound: Fraction | None = None
    """The time of the click in the sound, in seconds from the first frame; None without sound."""
    refused: str = ""
    """A part of the error message, if the file must be refused."""
    probed: bool = True
    """Whether ffprobe reads the same frames and times. It does not read image folders or image metadata, for example."""


@dataclass(frozen=True)
class Setup:
    """The folder for a file, and the size (width, height), number and rate of its frames."""

    folder: Path
    size: tuple[int, int] = (192, 144)
    count: int = 24
    fps: Fraction = Fraction(25)

    def ffmpeg(self, *arguments: object) -> None:
        subprocess.run(
            [executable(), "-v", "error", "-y", "-nostdin", *map(str, arguments)], check=True, cwd=self.folder, stderr=subprocess.DEVNULL
        )

    def truth(self, **changes: object) -> Truth:
        """The ground truth of upright frames 0, 1, 2, ... at a constant rate, with the given changes."""
        plain = Truth(tuple(range(self.count)), tuple(n / self.fps for n in range(self.count)), self.size)
        return replace(plain, **changes)  # type: ignore[arg-type]

    def frames(self, size: tuple[int, int] | None = None, first: int = 0) -> list[np.ndarray]:
        return [draw_frame(number, size or self.size) for number in range(first, first + self.count)]


@dataclass(frozen=True)
class StrangeFile:
    """An unusual file: a function that writes it and returns its ground truth, its name, and the encoder that it needs."""

    make: Callable[[Setup, Path], Truth]
    file: str
    encoder: str


STRANGE_FILES: dict[str, StrangeFile] = {}


def register(name: str, file: str, encoder: str = "") -> Callable[[Callable[[Setup, Path], Truth]], Callable[[Setup, Path], Truth]]:
    """A decorator that adds a function to STRANGE_FILES, under `name`."""

    def add(make: Callable[[Setup, Path], Truth]) -> Callable[[Setup, Path], Truth]:
        STRANGE_FILES[name] = StrangeFile(make, file, encoder)
        return make

    return add

"""Writing videos: H.264 that plays everywhere, with the sound of the source; the file appears when it is complete."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO

import ffmpeg as composer
import numpy as np

from stages.clip.audio import add_sound, find_sound, tagged
from stages.clip.clip import Clip
from stages.clip.ffmpeg import (
    EXACTLY,
    Media,
    arguments,
    executable,
    file_url,
    log_file,
    meaning,
    require_readable_file,
    running,
    usual_matrix,
)
from stages.clip.probe import probe
from stages.clip.provenance import Note
from stages.errors import Fsv2vError, InputError, MissingRequirement, UsageError
from stages.io.files import building_file, hidden_file, unwritable, write_errors

_TOO_LARGE = -getattr(signal, "SIGXFSZ", 0)
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}


_NOTICED = 0.045
"""Seconds by which sound can lead its image before viewers notice (ITU-R BT.1359)."""


def out_of_time(clip: Clip) -> list[str]:
    """A warning when the sound of `clip` would be noticeably out of sync in a video at its mean rate."""
    if clip.timestamps is None or not clip.has("audio"):
        return []
    apart = max(abs(float(clip.timestamps.seconds(index) - index / clip.fps)) for index in range(clip.num_frames))
    if apart < _NOTICED:
        return []
    remedy = "Make the rate constant first and import that: ffmpeg -i VIDEO -r 30 NEW.mp4"
    return [f"a variable rate is written at its mean, so that frames are up to {apart:.2f} s apart from the sound. {remedy}"]


class VideoWriter:
    """Writes frames one at a time; use as a context manager.

    The video is H.264, constant quality, 4:2:0, or 4:4:4 for an odd width or height, so that the size stays exact (browsers
    may refuse that profile). `audio_from` is a video, a sound file or a clip whose sound is copied, in time with the
    first frame and cut at the last; sound that the container cannot take becomes AAC. The file appears under its name
    when the block ends without exception; otherwise nothing is left.
    """

    def __init__(
        self,
        path: str | Path,
        width: int,
        height: int,
        fps: Fraction,
        audio_from: str | Path | Clip | None = None,
        quality: int = 17,
        comment: str = "",
        note: Note | None = None,
    ) -> None:
        """`width`, `height` in pixels; `fps` exact; `quality` is x264's constant rate factor, lower is better.

        `comment` is stored in the container; `read_comment` returns it. `note` says there that the video is synthetic.
        """
        self.path = Path(path)
        if self.path.suffix.lower() not in CONTAINERS:
            raise UsageError(f"{path} cannot be a video", hint=f"Its name must end in {', '.join(CONTAINERS)}")
        self.num_frames = 0
        self._shape = (height, width, 3)
        self._fps = Fraction(fps)
        self._quality = quality
        self._container = CONTAINERS[self.path.suffix.lower()]
        self._note = note
        self._tags = {**({"comment": comment} if comment else {}), **(note.tags(self._container) if note else {})}
        self._sound = _sound_of(audio_from)
        self._open = contextlib.ExitStack()

    def __enter__(self) -> VideoWriter:
        with contextlib.ExitStack() as stack:
            self._final = stack.enter_context(building_file(self.path))
            self._silent = stack.enter_context(hidden_file(self.path)) if self._sound else self._final
            self._log: IO[bytes] = stack.enter_context(log_file())
            self._process = stack.enter_context(
                running(self._command(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._log, start_new_session=True)
            )
            self._open = stack.pop_all()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, uint8 RGB [H, W, 3]. Raises InputError for another shape or when the disk is full."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise InputError(f"a frame for {self.path} is {frame.dtype} {frame.shape}; it must be uint8 {self._shape}")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data.cast("B"))
        except (BrokenPipeError, OSError) as error:
            raise self._failure() from error
        self.num_frames += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._open.__exit__(kind, error, trace)
            return
        with self._open:
            self._finish()

    def _finish(self) -> None:
        if self.num_frames == 0:
            raise InputError(f"{self.path} got no frame")
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError as error:
            raise self._failure() from error
        if self._process.wait() != 0:
            raise self._failure()
        if self._sound:
            media, shift = self._sound
            add_sound(self._silent, media, shift, self.num_frames / self._fps, self._final, self._container, self._tags)
        if self._note:
            with write_errors(self.path):
                self._note.complete(self._final, self._container)

    def _command(self) -> list[str]:
        height, width, _ = self._shape
        pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        tag = usual_matrix(height)
        raw = composer.input("pipe:", format="rawvideo", pix_fmt="rgb24", video_size=(width, height), framerate=str(self._fps))
        frames = raw.filter("scale", out_color_matrix=tag, out_range="tv", flags=EXACTLY)
        frames = frames.filter("format", pix_fmt).filter("setparams", colorspace=tag, color_primaries=tag, color_trc=tag, range="tv")
        options = {
            "c:v": "libx264",
            "crf": self._quality,
            "preset": "medium",
            "pix_fmt": pix_fmt,
            "colorspace": tag,  # for versions of ffmpeg that ignore the frames' own tags
            "color_primaries": tag,
            "color_trc": tag,
            "color_range": "tv",
            "movflags": "+faststart",
            "fflags": "+bitexact",
            "format": self._container,
            "y": None,
        }
        command = tagged(composer.output(frames, file_url(self._silent), **options).compile(cmd=executable()), self._tags)
        return [argument for argument in arguments(command) if argument != "-nostdin"]

    def _failure(self) -> Fsv2vError:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._log.seek(0)
        complaint = self._log.read(100_000).decode("utf-8", "replace")
        if "Unknown encoder" in complaint:
            return MissingRequirement(f"{executable()} cannot write H.264", hint="Put an ffmpeg with libx264 on PATH, or none")
        reason = "the disk is full or a file size limit is reached" if self._process.returncode == _TOO_LARGE else meaning(complaint)
        return unwritable(self.path, reason)


def _sound_of(source: str | Path | Clip | None) -> tuple[Media, Fraction] | None:
    """(the source of the sound, the shift in seconds that aligns it with the first frame), or None without sound."""
    if source is None:
        return None
    if isinstance(source, Clip):
        stored = source.audio()
        found = find_sound(stored[0]) if stored else None
        return (stored[0], stored[1] - found.start) if stored and found else None
    require_readable_file(Path(source))
    media = Media(Path(source))
    if find_sound(media) is None:
        return None
    try:
        return media, -probe(source).start
    except InputError:
        return media, Fraction(0)  # a file with sound only

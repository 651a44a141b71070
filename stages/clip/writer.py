"""Writing videos: H.264 that all players support, with the sound of the source. The file appears when it is complete."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO

import ffmpeg
import numpy as np

from stages.clip.audio import add_sound, add_tags, find_sound
from stages.clip.clip import Clip
from stages.clip.ffmpeg import (
    EXACT_CONVERSION,
    Media,
    default_matrix,
    executable,
    explain,
    file_url,
    log_file,
    require_readable_file,
    running,
    with_common_options,
)
from stages.clip.probe import probe
from stages.clip.provenance import Note
from stages.errors import Fsv2vError, InputError, MissingRequirement, UsageError
from stages.io.files import building_file, explain_write_errors, hidden_file, unwritable_error

_SIZE_LIMIT_EXIT_CODE = -getattr(signal, "SIGXFSZ", 0)
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
"""Suffix of a video -> ffmpeg's name of the container."""
_NOTICEABLE_SECONDS = 0.045
"""Viewers notice when sound leads the image by this time (ITU-R BT.1359)."""


def sound_sync_warnings(clip: Clip) -> list[str]:
    """A list with a warning if the sound of `clip` would be noticeably out of sync in a video at its mean rate, else an empty one."""
    if clip.timestamps is None or not clip.has("audio"):
        return []
    deviation = max(abs(float(clip.timestamps.seconds(index) - index / clip.fps)) for index in range(clip.num_frames))
    if deviation < _NOTICEABLE_SECONDS:
        return []
    advice = "Make the rate constant first and import that: ffmpeg -i VIDEO -r 30 NEW.mp4"
    return [f"a variable rate is written at its mean, so that frames are up to {deviation:.2f} s apart from the sound. {advice}"]


class VideoWriter:
    """A context manager that writes a video frame by frame.

    The video is H.264 of constant quality, 4:2:0. For an odd width or height it is 4:4:4, which keeps the size, but which some browsers do
    not support. audio_from: a video, a sound file or a clip whose sound is copied. The sound is aligned with the first frame and ends with
    the last. If the container does not support its codec, it is converted to AAC. The file appears when the block ends without an
    exception; otherwise nothing remains.
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
        """width, height: in pixels. fps: exact. quality: x264's constant rate factor; lower is better.

        comment: stored in the container; `read_comment` returns it. note: stored there, says that the video is synthetic.
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
        self._sound = _find_sound_and_shift(audio_from)
        self._resources = contextlib.ExitStack()

    def __enter__(self) -> VideoWriter:
        with contextlib.ExitStack() as stack:
            self._hidden_path = stack.enter_context(building_file(self.path))
            self._silent_path = stack.enter_context(hidden_file(self.path)) if self._sound else self._hidden_path
            self._log: IO[bytes] = stack.enter_context(log_file())
            self._process = stack.enter_context(
                running(self._command(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._log, start_new_session=True)
            )
            self._resources = stack.pop_all()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one frame, uint8 RGB [H, W, 3]. Raises InputError for another shape or when the disk is full."""
        if frame.shape != self._shape or frame.dtype != np.uint8:
            raise InputError(f"a frame for {self.path} is {frame.dtype} {frame.shape}; it must be uint8 {self._shape}")
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(np.ascontiguousarray(frame).data.cast("B"))
        except (BrokenPipeError, OSError) as error:
            raise self._error() from error
        self.num_frames += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._resources.__exit__(kind, error, trace)
            return
        with self._resources:
            self._finish()

    def _finish(self) -> None:
        if self.num_frames == 0:
            raise InputError(f"{self.path} got no frame")
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError as error:
            raise self._error() from error
        if self._process.wait() != 0:
            raise self._error()
        if self._sound:
            media, shift = self._sound
            add_sound(self._silent_path, media, shift, self.num_frames / self._fps, self._hidden_path, self._container, self._tags)
        if self._note:
            with explain_write_errors(self.path):
                self._note.complete(self._hidden_path, self._container)

    def _command(self) -> list[str]:
        height, width, _ = self._shape
        pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        colour_space = default_matrix(height)
        pipe = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", video_size=(width, height), framerate=str(self._fps))
        frames = pipe.filter("scale", out_color_matrix=colour_space, out_range="tv", flags=EXACT_CONVERSION)
        tags = {"colorspace": colour_space, "color_primaries": colour_space, "color_trc": colour_space}
        frames = frames.filter("format", pix_fmt).filter("setparams", **tags, range="tv")
        options = {
            "c:v": "libx264",
            "crf": self._quality,
            "preset": "medium",
            "pix_fmt": pix_fmt,
            **tags,  # for versions of ffmpeg that ignore the tags of the frames
            "color_range": "tv",
            "movflags": "+faststart",
            "fflags": "+bitexact",
            "format": self._container,
            "y": None,
        }
        command = add_tags(ffmpeg.output(frames, file_url(self._silent_path), **options).compile(cmd=executable()), self._tags)
        return [argument for argument in with_common_options(command) if argument != "-nostdin"]

    def _error(self) -> Fsv2vError:
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.wait(timeout=10)
        self._log.seek(0)
        messages = self._log.read(100_000).decode("utf-8", "replace")
        if "Unknown encoder" in messages:
            hint = "Put an ffmpeg with libx264 on PATH. Without any ffmpeg on PATH, that of imageio-ffmpeg is used"
            return MissingRequirement(f"{executable()} cannot write H.264", hint=hint)
        if self._process.returncode == _SIZE_LIMIT_EXIT_CODE:
            return unwritable_error(self.path, "the disk is full or a file size limit is reached")
        return unwritable_error(self.path, explain(messages))


def _find_sound_and_shift(source: str | Path | Clip | None) -> tuple[Media, Fraction] | None:
    """(the file with the sound, the shift in seconds that aligns it with the first frame), or None without sound."""
    if source is None:
        return None
    if isinstance(source, Clip):
        clip_sound = source.audio()
        sound = find_sound(clip_sound[0]) if clip_sound else None
        return (clip_sound[0], clip_sound[1] - sound.start) if clip_sound and sound else None
    require_readable_file(Path(source))
    media = Media(Path(source))
    if find_sound(media) is None:
        return None
    try:
        return media, -probe(source).start
    except InputError:
        return media, Fraction(0)  # a file with sound only

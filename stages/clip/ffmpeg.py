"""The ffmpeg executable: finding it, calling it, and reading its error messages.

Commands are built with ffmpeg-python and run as argument lists, never through a shell. File names are passed as `file:` URLs, so that a
leading dash, a colon or a percent sign in a name has no special meaning.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import ffmpeg

from stages.errors import InputError, MissingRequirement

PROTOCOLS = "file,subfile"
"""The protocols that ffmpeg may use. Network protocols are excluded, since an untrusted file could contain an address."""
DEMUXERS = (
    "3gp", "apng", "asf", "av1", "avi", "cavsvideo", "dirac", "dnxhd", "dv", "evc", "flic", "flv", "gif", "gxf", "h261", "h263", "h264",
    "hevc", "ivf", "kux", "live_flv", "m4v", "matroska", "mj2", "mjpeg", "mov", "mp4", "mpeg", "mpegts", "mpegvideo", "mpjpeg", "mxf",
    "mxg", "nut", "nuv", "obu", "ogg", "pva", "rm", "roq", "smjpeg", "swf", "vc1", "vc1test", "viv", "vvc", "webm", "webp_anim", "wtv",
    "yuv4mpegpipe", "png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe", "tiff_pipe", "gif_pipe", "matroska,webm",
)  # fmt: skip
"""The demuxers that ffmpeg may use. None of them opens a second file; those of playlists (HLS, DASH, concat) and of SVG would."""
AUDIO_DEMUXERS = ("aac", "ac3", "aiff", "caf", "eac3", "flac", "mp3", "w64", "wav")
EXACT_CONVERSION = "bicubic+accurate_rnd+full_chroma_int"
"""Flags of ffmpeg's scaler for conversion between YUV and RGB. Without them RGB is one to two grey levels too dark."""


@lru_cache(maxsize=1)
def executable() -> str:
    """The ffmpeg on PATH, else the one of imageio-ffmpeg. Raises MissingRequirement."""
    on_path = shutil.which("ffmpeg")
    if on_path:
        return on_path
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise MissingRequirement("ffmpeg was not found", hint="Install it with `pip install imageio-ffmpeg`") from error


@lru_cache(maxsize=1)
def version() -> tuple[int, int]:
    """The version (major, minor) of the executable; (99, 0) for a development build."""
    banner = subprocess.run([executable(), "-version"], capture_output=True, text=True, errors="replace", check=False).stdout
    match = re.match(r"ffmpeg version n?(\d+)\.(\d+)", banner)
    return (int(match[1]), int(match[2])) if match else (99, 0)


@lru_cache
def has_filter(name: str) -> bool:
    """Whether the executable was built with this filter."""
    listing = subprocess.run([executable(), "-filters"], capture_output=True, text=True, errors="replace", check=False).stdout
    return re.search(rf"^ *\S+ +{name} ", listing, re.M) is not None


def passthrough_option() -> dict[str, str]:
    """The output option with which ffmpeg neither duplicates nor drops frames."""
    return {"fps_mode": "passthrough"} if version() >= (5, 1) else {"vsync": "passthrough"}


def source_time_base_value() -> str:
    """The value of the option -enc_time_base that keeps the time base of the source."""
    return "demux" if version() >= (6, 1) else "-1"


def default_matrix(height: int) -> str:
    """The conventional colour matrix of videos of this height, for files that name none. fsv2v writes videos with it."""
    return "bt709" if height >= 720 else "smpte170m"


_TO_PRIVATE_USE = {0xDC00 + byte: 0x10FF00 + byte for byte in range(0x80, 0x100)}
_FROM_PRIVATE_USE = {private: byte for byte, private in _TO_PRIVATE_USE.items()}
"""ffmpeg-python rejects file names that are not valid Unicode. Their undecodable bytes are mapped to private-use characters."""


def file_url(path: Path) -> str:
    """A path as a URL for ffmpeg. The path may contain any characters."""
    return f"file:{os.path.abspath(path)}".translate(_TO_PRIVATE_USE)


@dataclass(frozen=True)
class Media:
    """An input of ffmpeg: a file, or the bytes [start, end) of one (a member of an uncompressed zip)."""

    path: Path
    start: int | None = None
    end: int | None = None

    @property
    def url(self) -> str:
        name = file_url(self.path)
        return name if self.start is None else f"subfile,,start,{self.start},end,{self.end},,:{name}"


def media_input(media: Media, **options: Any) -> ffmpeg.nodes.FilterableStream:
    """`media` as the input of a command, limited to PROTOCOLS and the demuxers above. All files that ffmpeg reads must be opened by it."""
    limits = {"protocol_whitelist": PROTOCOLS, "format_whitelist": ",".join((*DEMUXERS, *AUDIO_DEMUXERS))}
    return ffmpeg.input(media.url, **limits, **options)


def with_common_options(command: list[str], level: str = "error") -> list[str]:
    """A command that ffmpeg-python has compiled (executable first), with the options that all calls have in common."""
    return [command[0], "-hide_banner", "-nostdin", "-loglevel", level, *(part.translate(_FROM_PRIVATE_USE) for part in command[1:])]


def run(command: list[str], level: str = "error") -> subprocess.CompletedProcess[str]:
    """Run a compiled command and return its stdout and stderr as text. The caller checks the return code."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with running(with_common_options(command, level), encoding="utf-8", errors="replace", **pipes) as process:
        stdout, stderr = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def log_file() -> IO[bytes]:
    """An empty file for ffmpeg's messages. It is in memory if the system supports that, so that they are kept when the disk is full."""
    return os.fdopen(os.memfd_create("ffmpeg"), "w+b", 0) if hasattr(os, "memfd_create") else tempfile.TemporaryFile()


@contextlib.contextmanager
def running(command: list[str], **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """Run ffmpeg during the block, with `options` of Popen. The process is killed if it still runs at the end of the block.

    Otherwise, after an interrupt, it could create its output after the clean-up.
    """
    with contextlib.ExitStack() as stack:
        with _defer_interrupts():
            process = subprocess.Popen(command, **options)
            stack.callback(_end_process, process)
        yield process


def _end_process(process: subprocess.Popen[Any]) -> None:
    if process.poll() is None:
        process.kill()
    for pipe in (process.stdin, process.stdout, process.stderr):
        with contextlib.suppress(OSError):
            if pipe:
                pipe.close()
    process.wait()


@contextlib.contextmanager
def _defer_interrupts() -> Iterator[None]:
    """Defer SIGINT and SIGTERM to the end of the block."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield
        return
    received: list[int] = []
    handlers = {number: signal.signal(number, lambda number, frame: received.append(number)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for signal_number in received:
            signal.raise_signal(signal_number)


_EXPLANATIONS = (
    ("No space left on device", "the disk is full"),
    ("File too large", "the disk is full or a file size limit is reached"),
    ("Read-only file system", "the file system is read-only"),
    ("Permission denied", "permission denied"),
    ("not on whitelist", "it is a playlist, a text file or another kind of file that fsv2v does not open"),
    ("moov atom not found", "it is not a video, or it was cut off: its index is missing"),
    ("partial file", "the file was cut off"),
    ("File ended prematurely", "the file was cut off"),
    ("Invalid data found", "it is not a video that ffmpeg can read"),
    ("does not contain any stream", "it holds no video"),
    ("matches no streams", "it holds no video"),
    ("No such filter: 'zscale'", "it is HDR or has a wide colour gamut, and this ffmpeg lacks the filter zscale"),
    ("non positive size for width", "the size of its frames changes"),
    ("Unknown decoder", "this ffmpeg has no decoder for it"),
    ("Decoder not found", "this ffmpeg has no decoder for it"),
    ("Decoding requested, but no decoder found", "this ffmpeg has no decoder for it"),
)


def explain(stderr: str) -> str:
    """The reason for a failure from ffmpeg's messages, as the end of a sentence."""
    for text, explanation in _EXPLANATIONS:
        if text in stderr:
            return explanation
    lines = [re.sub(r"^\[[^\]]*\]\s*", "", line).strip() for line in stderr.splitlines()]
    return next((line for line in lines if line), "ffmpeg gave no reason")


def require_readable_file(path: Path) -> None:
    """Raises InputError when `path` is not a readable file, or is empty."""
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if not path.is_file():
        raise InputError(f"{path} is not a file")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} cannot be read: permission denied")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is an empty file")

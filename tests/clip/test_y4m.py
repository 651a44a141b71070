"""y4m streams have the pixels that ffmpeg reads and writes. Other streams are refused; a truncated one gives its complete frames."""

from __future__ import annotations

import io
import subprocess
from fractions import Fraction

import numpy as np
import pytest
from skimage.data import astronaut

from stages.clip.ffmpeg import executable
from stages.clip.y4m import Y4mReader, Y4mWriter
from stages.errors import InputError

IMAGE = astronaut()[:240, 100:420]


def encoded(*frames: np.ndarray, fps: Fraction = Fraction(30000, 1001)) -> bytes:
    """The stream that `Y4mWriter` makes of frames, uint8 RGB [H, W, 3]."""
    stream = io.BytesIO()
    writer = Y4mWriter(stream, frames[0].shape[1], frames[0].shape[0], fps)
    for frame in frames:
        writer.write(frame)
    return stream.getvalue()


def run_ffmpeg(data: bytes, *options: str) -> bytes:
    """What ffmpeg writes to stdout for `data` on stdin."""
    return subprocess.run([executable(), "-loglevel", "error", *options, "-"], input=data, capture_output=True, check=True).stdout


def decoded_by_ffmpeg(data: bytes, height: int, width: int) -> np.ndarray:
    """The frames of a y4m stream, uint8 RGB [T, height, width, 3]."""
    flags = "bicubic+accurate_rnd+full_chroma_int"
    raw = run_ffmpeg(data, "-f", "yuv4mpegpipe", "-i", "-", "-vf", f"scale=flags={flags}", "-pix_fmt", "rgb24", "-f", "rawvideo")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Mean absolute difference, in grey levels."""
    return float(np.abs(a.astype(float) - b).mean())


@pytest.mark.parametrize("size", [(240, 320), (239, 319), (720, 1280)], ids=str)
def test_a_stream_keeps_size_rate_and_pixels(size):
    frames = [np.resize(IMAGE, (*size, 3)) if size[0] > 240 else IMAGE[: size[0], : size[1]]] * 2
    reader = Y4mReader(io.BytesIO(encoded(*frames)))
    found = list(reader)
    assert (reader.height, reader.width, reader.fps, reader.cut_short) == (*size, Fraction(30000, 1001), False)
    assert len(found) == 2 and found[0].dtype == np.uint8
    assert difference(found[1], frames[1]) < 2  # 4:2:0 stores colours at half the resolution


def test_ffmpeg_reads_the_same_pixels():
    data = encoded(IMAGE)
    (frame,) = Y4mReader(io.BytesIO(data))
    assert difference(frame, decoded_by_ffmpeg(data, 240, 320)[0]) < 0.7


@pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "gray", "yuvj420p"])
def test_what_ffmpeg_writes_is_read(pixels):
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "320x240", "-r", "15", "-i", "-"]
    data = run_ffmpeg(IMAGE.tobytes() * 3, *raw, "-pix_fmt", pixels, "-strict", "-1", "-f", "yuv4mpegpipe")
    reader = Y4mReader(io.BytesIO(data))
    frames = list(reader)
    grey = np.repeat(np.dot(IMAGE, [0.299, 0.587, 0.114])[..., None], 3, -1)
    assert len(frames) == 3 and reader.fps == 15
    assert difference(frames[2], grey if pixels == "gray" else IMAGE) < 2.5


def test_the_complete_frames_of_a_truncated_stream_are_read():
    reader = Y4mReader(io.BytesIO(encoded(IMAGE, IMAGE)[:-100]))
    assert len(list(reader)) == 1 and reader.cut_short


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not a y4m"),
        (b"RIFF....AVI ", "not a y4m"),
        (b"YUV4MPEG2 W0 H10\n", "frame size"),
        (b"YUV4MPEG2 W99999999999 H10\n", "frame size"),
        (b"YUV4MPEG2 H10\n", "frame size"),
        (b"YUV4MPEG2 W10 H10 It\n", "interlaced"),
        (b"YUV4MPEG2 W10 H10 C420p10\n", "420p10"),
        (b"YUV4MPEG2 W2 H2 C444\nFRAME\n" + bytes(12) + b"DATA\n", "damaged"),
    ],
)
def test_other_streams_are_refused(data, reason):
    with pytest.raises(InputError, match=reason):
        list(Y4mReader(io.BytesIO(data), "stdin"))

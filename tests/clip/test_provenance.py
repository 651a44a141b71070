"""The note that a video is synthetic, read with independent tools: a parser of MP4 boxes, an XML parser, and ffmpeg's output."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from stages.clip import Producer, VideoWriter, create_clip, read_frames
from stages.clip.comments import read_comment
from stages.clip.exporters import export
from stages.clip.ffmpeg import executable
from stages.clip.preview import side_by_side
from stages.clip.provenance import Note

TRAINED_URL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
COMPOSITE_URL = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
FRAMES = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), np.uint8)


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of each box in an MP4 or QuickTime file, or in a box that contains boxes (ISO/IEC 14496-12, 4.2)."""
    offset = 0
    while offset + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, offset)
        header = 8
        if size == 1:
            size, header = struct.unpack_from(">Q", data, offset + 8)[0], 16
        assert size >= header, "a box is at least as large as its header"
        yield kind, data[offset + header : offset + size]
        offset += size
    assert offset == len(data), "the last box ends with the file"


def xmp_packets(path: Path) -> list[bytes]:
    """The XMP packets: in a box uuid (MP4), or in moov/udta/XMP_ (QuickTime), as part 3 of the XMP specification says."""
    data = path.read_bytes()
    packets = [content[16:] for kind, content in boxes(data) if kind == b"uuid" and content[:16] == XMP_UUID]
    (movie,) = (content for kind, content in boxes(data) if kind == b"moov")
    for kind, user_data in boxes(movie):
        packets += [content for inner, content in boxes(user_data.removesuffix(bytes(4))) if inner == b"XMP_"] if kind == b"udta" else []
    return packets


def source_type(packet: bytes) -> str:
    """The URL of the DigitalSourceType in an XMP packet."""
    description = ElementTree.fromstring(re.sub(rb"<\?xpacket.*?\?>", b"", packet)).find(".//{*}Description")
    assert description is not None
    return str(description.findtext("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"))


def ffmpeg_info(path: Path) -> str:
    """What `ffmpeg -i` prints about a file."""
    return subprocess.run([executable(), "-hide_banner", "-i", path], capture_output=True, text=True).stderr


def write_video(path: Path, note: Note | None, sound: Path | None = None) -> Path:
    with VideoWriter(path, 64, 48, Fraction(25), sound, comment='{"made": "by us"}', note=note) as video:
        for frame in FRAMES:
            video.write(frame)
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "tone.wav"
    subprocess.run([executable(), "-v", "error", "-f", "lavfi", "-i", "sine=d=0.3", path], check=True)
    return path


@pytest.mark.parametrize("with_sound", [False, True], ids=["silent", "with sound"])
@pytest.mark.parametrize("suffix", [".mp4", ".m4v", ".mov", ".mkv"])
def test_every_container_has_the_note_and_the_comment(suffix, with_sound, sound, tmp_path):
    path = write_video(tmp_path / f"noted{suffix}", Note("trainedAlgorithmicMedia"), sound if with_sound else None)
    if suffix == ".mkv":
        assert re.search(rf"DIGITAL_SOURCE_TYPE\s*: {TRAINED_URL}$", ffmpeg_info(path), re.M)
    else:
        (packet,) = xmp_packets(path)
        assert source_type(packet) == TRAINED_URL
    if suffix != ".mov":  # in which ffmpeg writes no description
        assert re.search(rf"description\s*: Synthetic video.*{TRAINED_URL}$", ffmpeg_info(path), re.M | re.I)
    assert read_comment(path) == '{"made": "by us"}'
    assert ("Audio:" in ffmpeg_info(path)) is with_sound


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_video_without_a_note_has_no_source_type_and_the_same_frames(suffix, tmp_path):
    plain, noted = write_video(tmp_path / f"plain{suffix}", None), write_video(tmp_path / f"noted{suffix}", Note("trainedAlgorithmicMedia"))
    assert b"digitalsourcetype" not in plain.read_bytes() and "ynthetic" not in ffmpeg_info(plain)
    assert all(np.array_equal(a, b) for a, b in zip(read_frames(plain), read_frames(noted), strict=True))


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [({}, TRAINED_URL), ({"compare": True}, COMPOSITE_URL), ({"placement": {"pasted": True}}, COMPOSITE_URL),
     ({"placement": {"pasted": False}}, TRAINED_URL), ({"placement": 5}, TRAINED_URL), ({"note": False}, None)],
)  # fmt: skip
def test_videos_of_a_synthetic_clip_have_the_note(parameters, expected, tmp_path):
    clip = create_clip(tmp_path / "made.clip", iter(FRAMES), producer=Producer("synthesize", "landmarks", parameters))
    for path in (export(clip, "frames", tmp_path / "export.mp4"), side_by_side(clip, tmp_path / "preview.mp4", 48)):
        assert [source_type(packet) for packet in xmp_packets(path)] == ([expected] if expected else [])


def test_videos_of_a_real_clip_have_no_note(tmp_path):
    clip = create_clip(tmp_path / "real.clip", iter(FRAMES))
    assert xmp_packets(export(clip, "frames", tmp_path / "export.mp4")) == []

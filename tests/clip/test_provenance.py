"""The note that says that a video is synthetic, read back by other means: a reader of boxes, an XML parser, and what ffmpeg prints."""

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

TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
FRAMES = np.random.default_rng(0).integers(0, 255, (4, 48, 64, 3), np.uint8)


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of the boxes of an MP4 or QuickTime file, or of a box of boxes (ISO/IEC 14496-12, 4.2)."""
    at = 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            size, head = struct.unpack_from(">Q", data, at + 8)[0], 16
        assert size >= head, "the box lies about its size"
        yield kind, data[at + head : at + size]
        at += size
    assert at == len(data), "the last box ends with the file"


def packets(path: Path) -> list[bytes]:
    """The XMP packets, at the places that part 3 of the XMP specification names."""
    data = path.read_bytes()
    found = [content[16:] for kind, content in boxes(data) if kind == b"uuid" and content[:16] == XMP]
    (movie,) = (content for kind, content in boxes(data) if kind == b"moov")
    for kind, user in boxes(movie):
        found += [content for inner, content in boxes(user.removesuffix(bytes(4))) if inner == b"XMP_"] if kind == b"udta" else []
    return found


def source_type(packet: bytes) -> str:
    description = ElementTree.fromstring(re.sub(rb"<\?xpacket.*?\?>", b"", packet)).find(".//{*}Description")
    assert description is not None
    return str(description.findtext("{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"))


def printed(path: Path) -> str:
    """What ffmpeg prints of a file."""
    return subprocess.run([executable(), "-hide_banner", "-i", path], capture_output=True, text=True).stderr


def write(path: Path, note: Note | None, sound: Path | None = None) -> Path:
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
def test_the_note_stands_in_every_container_beside_the_comment(suffix, with_sound, sound, tmp_path):
    path = write(tmp_path / f"noted{suffix}", Note("trainedAlgorithmicMedia"), sound if with_sound else None)
    if suffix == ".mkv":
        assert re.search(rf"DIGITAL_SOURCE_TYPE\s*: {TRAINED}$", printed(path), re.M)
    else:
        (packet,) = packets(path)
        assert source_type(packet) == TRAINED
    if suffix != ".mov":  # where ffmpeg writes no such tag
        assert re.search(rf"description\s*: Synthetic video.*{TRAINED}$", printed(path), re.M | re.I)
    assert read_comment(path) == '{"made": "by us"}'
    assert ("Audio:" in printed(path)) is with_sound


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_without_a_note_the_file_says_nothing_and_has_the_same_frames(suffix, tmp_path):
    silent, noted = write(tmp_path / f"silent{suffix}", None), write(tmp_path / f"noted{suffix}", Note("trainedAlgorithmicMedia"))
    assert b"digitalsourcetype" not in silent.read_bytes() and "ynthetic" not in printed(silent)
    assert all(np.array_equal(a, b) for a, b in zip(read_frames(silent), read_frames(noted), strict=True))


@pytest.mark.parametrize(
    ("parameters", "said"),
    [({}, TRAINED), ({"compare": True}, COMPOSITE), ({"placement": {"pasted": True}}, COMPOSITE),
     ({"placement": {"pasted": False}}, TRAINED), ({"placement": 5}, TRAINED), ({"note": False}, None)],
)  # fmt: skip
def test_a_synthetic_clip_says_so_in_the_videos_that_are_made_of_it(parameters, said, tmp_path):
    clip = create_clip(tmp_path / "made.clip", iter(FRAMES), producer=Producer("synthesize", "landmarks", parameters))
    for path in (export(clip, "frames", tmp_path / "export.mp4"), side_by_side(clip, tmp_path / "preview.mp4", 48)):
        assert [source_type(packet) for packet in packets(path)] == ([said] if said else [])


def test_a_real_clip_says_nothing_of_the_kind(tmp_path):
    clip = create_clip(tmp_path / "real.clip", iter(FRAMES))
    assert packets(export(clip, "frames", tmp_path / "export.mp4")) == []

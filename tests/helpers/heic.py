"""HEIC images as phones write them: coded tiles, a grid that joins them, a rotation and a colour profile (ISO/IEC 23008-12)."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from stages.clip.ffmpeg import executable


def box(kind: bytes, content: bytes) -> bytes:
    """A box of ISO/IEC 14496-12: size, type, content."""
    return struct.pack(">I", 8 + len(content)) + kind + content


def full_box(kind: bytes, version: int, content: bytes) -> bytes:
    """A box with a version and flags, which are 0."""
    return box(kind, struct.pack(">I", version << 24) + content)


def encode_tile(colour: str, side: int, folder: Path) -> tuple[bytes, bytes]:
    """(the box hvcC, the coded image) of a square of one colour, an ffmpeg colour name. `folder` holds a temporary file."""
    path = folder / "tile.mp4"
    image = ["-f", "lavfi", "-i", f"color={colour}:s={side}x{side}:r=1:d=1", "-frames:v", "1", "-pix_fmt", "yuv420p", "-tag:v", "hvc1"]
    coding = ["-c:v", "libx265", "-x265-params", "log-level=error:keyint=1:info=0:lossless=1"]
    subprocess.run([executable(), "-v", "error", "-y", "-nostdin", *image, *coding, path], check=True)
    data = path.read_bytes()
    path.unlink()
    header, media = data.index(b"hvcC") - 4, data.index(b"mdat") - 4
    size = struct.unpack_from(">I", data, header)[0]
    return data[header : header + size], data[media + 8 : media + struct.unpack_from(">I", data, media)[0]]


def write_heic(path: Path, colours: Sequence[str], side: int = 64, turns: int = 0, profile: bytes = b"") -> Path:
    """Write an image of 2x2 tiles with four colours, row by row, rotated `turns` times by 90 degrees counter-clockwise.

    side: of a tile, in pixels. profile: an ICC profile, or none if it is empty.
    """
    tiles = [encode_tile(colour, side, path.parent) for colour in colours]
    grid = struct.pack(">BBBBHH", 0, 0, 1, 1, 2 * side, 2 * side)
    ids = range(1, 6)  # four tiles and the grid that joins them
    entries = b"".join(full_box(b"infe", 2, struct.pack(">HH", i, 0) + (b"grid" if i == 5 else b"hvc1") + b"\0") for i in ids)
    extents = [full_box(b"ispe", 0, struct.pack(">II", size, size)) for size in (side, 2 * side)]
    optional = ([box(b"irot", bytes([turns]))] if turns else []) + ([box(b"colr", b"prof" + profile)] if profile else [])
    properties = box(b"ipco", b"".join([tiles[0][0], *extents, *optional]))
    grid_properties = bytes([3, *(0x80 | 4 + n for n in range(len(optional)))])
    property_lists = [bytes([2, 0x81, 2])] * 4 + [bytes([len(grid_properties)]) + grid_properties]
    associations = full_box(
        b"ipma", 0, struct.pack(">I", 5) + b"".join(struct.pack(">H", i) + listed for i, listed in zip(ids, property_lists, strict=True))
    )

    def meta_box(start: int) -> bytes:
        """All metadata; the coded tiles begin at the byte `start` of the file."""
        locations = b""
        for number, (_, data) in enumerate(tiles, 1):
            locations += struct.pack(">HHHHII", number, 0, 0, 1, start, len(data))
            start += len(data)
        locations += struct.pack(">HHHHII", 5, 1, 0, 1, 0, len(grid))
        return full_box(b"meta", 0, b"".join([
            full_box(b"hdlr", 0, bytes(4) + b"pict" + bytes(13)),
            full_box(b"pitm", 0, struct.pack(">H", 5)),
            full_box(b"iloc", 1, struct.pack(">BBH", 0x44, 0, 5) + locations),
            full_box(b"iinf", 0, struct.pack(">H", 5) + entries),
            full_box(b"iref", 0, box(b"dimg", struct.pack(">HH4H", 5, 4, 1, 2, 3, 4))),
            box(b"iprp", properties + associations),
            box(b"idat", grid),
        ]))  # fmt: skip

    file_type = box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    path.write_bytes(file_type + meta_box(len(file_type) + len(meta_box(0)) + 8) + box(b"mdat", b"".join(data for _, data in tiles)))
    return path

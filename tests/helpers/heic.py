"""HEIC pictures as phones write them: coded tiles and what joins, turns and colours them."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path

from stages.clip.ffmpeg import executable


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def full(kind: bytes, version: int, content: bytes) -> bytes:
    return box(kind, struct.pack(">I", version << 24) + content)


def tile(colour: str, side: int, folder: Path) -> tuple[bytes, bytes]:
    """(the box hvcC, the coded picture) of a square of one colour."""
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
    """A picture of two by two tiles of these colours, row by row, turned `turns` quarters counter-clockwise, with an ICC profile."""
    tiles = [tile(colour, side, path.parent) for colour in colours]
    grid = struct.pack(">BBBBHH", 0, 0, 1, 1, 2 * side, 2 * side)
    ids = range(1, 6)  # four tiles, then what joins them
    entries = b"".join(full(b"infe", 2, struct.pack(">HH", i, 0) + (b"grid" if i == 5 else b"hvc1") + b"\0") for i in ids)
    extents = [full(b"ispe", 0, struct.pack(">II", size, size)) for size in (side, 2 * side)]
    extra = ([box(b"irot", bytes([turns]))] if turns else []) + ([box(b"colr", b"prof" + profile)] if profile else [])
    properties = box(b"ipco", b"".join([tiles[0][0], *extents, *extra]))
    of_grid = bytes([3, *(0x80 | 4 + n for n in range(len(extra)))])
    given = [bytes([2, 0x81, 2])] * 4 + [bytes([len(of_grid)]) + of_grid]
    owners = full(b"ipma", 0, struct.pack(">I", 5) + b"".join(struct.pack(">H", i) + own for i, own in zip(ids, given, strict=True)))

    def about(start: int) -> bytes:
        places = b""
        for number, (_, data) in enumerate(tiles, 1):
            places += struct.pack(">HHHHII", number, 0, 0, 1, start, len(data))
            start += len(data)
        places += struct.pack(">HHHHII", 5, 1, 0, 1, 0, len(grid))
        return full(b"meta", 0, b"".join([
            full(b"hdlr", 0, bytes(4) + b"pict" + bytes(13)),
            full(b"pitm", 0, struct.pack(">H", 5)),
            full(b"iloc", 1, struct.pack(">BBH", 0x44, 0, 5) + places),
            full(b"iinf", 0, struct.pack(">H", 5) + entries),
            full(b"iref", 0, box(b"dimg", struct.pack(">HH4H", 5, 4, 1, 2, 3, 4))),
            box(b"iprp", properties + owners),
            box(b"idat", grid),
        ]))  # fmt: skip

    kind = box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    path.write_bytes(kind + about(len(kind) + len(about(0)) + 8) + box(b"mdat", b"".join(data for _, data in tiles)))
    return path

"""Image size from the header of a PNG or JPEG, read before decoding."""

from __future__ import annotations

import struct

MAX_SIDE = 16384
"""Longest side of a frame or image, in pixels."""
MAX_PIXELS = 178_956_970
"""Pixels of an image: Pillow refuses larger ones."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEFLATED = 1032
"""Largest ratio of deflate compression."""
_JPEG_PIXELS = 512
"""Most pixels for each byte of a Huffman-coded JPEG: one bit for each block of 64."""


def may_be_decoded(data: bytes) -> bool:
    """Whether these are the bytes of a PNG or a JPEG of a size that can be handled. OpenCV takes memory for whatever size an image, or a
    chunk of a PNG, claims to have, and fills it: 4 GiB and ten seconds for a file of 92 bytes.
    """
    width, height = _size_of_png(data) if data.startswith(_PNG) else size_of_jpeg(data)
    return min(width, height) > 0 and max(width, height) <= MAX_SIDE and width * height <= MAX_PIXELS


def _size_of_png(data: bytes) -> tuple[int, int]:
    """Width and height; zeros where a chunk is longer than what is left of the file, or the pixels more than it can hold."""
    place, kinds = len(_PNG), [b""]
    while place < len(data) and kinds[-1] != b"IEND":
        kinds.append(data[place + 4 : place + 8])
        place += 12 + int.from_bytes(data[place : place + 4], "big")
    if place > len(data) or kinds[1:2] != [b"IHDR"] or kinds[-1] != b"IEND" or b"IDAT" not in kinds:
        return 0, 0  # without pixels OpenCV reads on behind the end
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    bits = width * height * depth * _PNG_CHANNELS.get(colour, 4)
    return (width, height) if bits <= 8 * _DEFLATED * len(data) else (0, 0)


def size_of_jpeg(data: bytes) -> tuple[int, int]:
    """Width and height of the frame header; zeros where there is none, or where it has more pixels than the file can hold."""
    place = 2 if data.startswith(b"\xff\xd8") else len(data)
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[place + 5 : place + 9])
            huffman = marker <= 0xC2
            return (0, 0) if huffman and width * height > _JPEG_PIXELS * len(data) else (width, height)
        place += 1 if marker == 0xFF else 2 + length
    return 0, 0

"""The size of a PNG or JPEG from its header, to be checked before decoding."""

from __future__ import annotations

import struct

MAX_SIDE = 16384
"""Longest side of a frame or image, in pixels."""
MAX_PIXELS = 178_956_970
"""Largest number of pixels of an image; Pillow refuses more."""
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_MAX_DEFLATE_RATIO = 1032
"""Largest ratio of deflate compression."""
_MAX_PIXELS_PER_JPEG_BYTE = 512
"""A Huffman-coded JPEG takes at least one bit for each block of 64 pixels."""


def is_decodable(data: bytes) -> bool:
    """Whether `data` is a PNG or a JPEG of a size that can be handled.

    OpenCV allocates and fills as much memory as the header of an image or of a PNG chunk claims: 4 GiB for a file of 92 bytes.
    """
    width, height = _size_of_png(data) if data.startswith(_PNG) else size_of_jpeg(data)
    return min(width, height) > 0 and max(width, height) <= MAX_SIDE and width * height <= MAX_PIXELS


def _size_of_png(data: bytes) -> tuple[int, int]:
    """Width and height; zeros if a chunk is longer than the rest of the file, or if the file is too short for the pixels."""
    offset, chunk_types = len(_PNG), [b""]
    while offset < len(data) and chunk_types[-1] != b"IEND":
        chunk_types.append(data[offset + 4 : offset + 8])
        offset += 12 + int.from_bytes(data[offset : offset + 4], "big")
    if offset > len(data) or chunk_types[1:2] != [b"IHDR"] or chunk_types[-1] != b"IEND" or b"IDAT" not in chunk_types:
        return 0, 0  # without an IDAT chunk OpenCV reads past the end
    width, height, depth, colour = struct.unpack(">IIBB", data[16:26])
    bits = width * height * depth * _PNG_CHANNELS.get(colour, 4)
    return (width, height) if bits <= 8 * _MAX_DEFLATE_RATIO * len(data) else (0, 0)


def size_of_jpeg(data: bytes) -> tuple[int, int]:
    """Width and height of the frame header; zeros if there is none, or if the file is too short for the pixels."""
    offset = 2 if data.startswith(b"\xff\xd8") else len(data)
    while offset + 9 <= len(data) and data[offset] == 0xFF:
        marker, length = data[offset + 1], int.from_bytes(data[offset + 2 : offset + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[offset + 5 : offset + 9])
            huffman = marker <= 0xC2
            return (0, 0) if huffman and width * height > _MAX_PIXELS_PER_JPEG_BYTE * len(data) else (width, height)
        offset += 1 if marker == 0xFF else 2 + length
    return 0, 0

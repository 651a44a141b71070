"""Images of every kind that users have are read as uint8 RGB."""

from __future__ import annotations

import io
import struct
import time
import zlib
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest
from heic import write_heic
from icc_profiles import ADOBE_RGB, DISPLAY_P3
from PIL import Image, ImageCms

from stages.clip import as_clip, list_images, probe, read_image
from stages.clip.images import decode_image, encode
from stages.errors import InputError, InvalidClip
from stages.evaluate.frame_source import open_frame_source

GREY_RAMP = np.linspace(0, 255, 32 * 24).astype(np.uint8).reshape(24, 32)
COLOURS = np.stack([GREY_RAMP, GREY_RAMP[::-1], np.full_like(GREY_RAMP, 90)], -1)


def save(path, image: Image.Image, **options):
    """Save the image and return its path."""
    image.save(path, **options)
    return path


def test_a_16_bit_grey_image_is_scaled_to_8_bits(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), GREY_RAMP.astype(np.uint16) * 257)

    assert np.array_equal(read_image(tmp_path / "deep.png"), np.repeat(GREY_RAMP[:, :, None], 3, 2))


def test_a_16_bit_colour_image_is_scaled_to_8_bits(tmp_path):
    cv2.imwrite(str(tmp_path / "deep.png"), COLOURS[:, :, ::-1].astype(np.uint16) * 257)

    assert np.array_equal(read_image(tmp_path / "deep.png"), COLOURS)


def test_a_cmyk_image_becomes_rgb(tmp_path):
    path = save(tmp_path / "print.jpg", Image.new("CMYK", (8, 8), (0, 255, 255, 0)), quality=100)

    assert np.abs(read_image(path).astype(int) - [255, 0, 0]).max() <= 3


def test_a_palette_image_becomes_rgb(tmp_path):
    path = save(tmp_path / "palette.gif.png", Image.new("RGB", (8, 8), (10, 200, 30)).quantize(4))

    assert np.array_equal(read_image(path)[0, 0], [10, 200, 30])


@pytest.mark.parametrize("mode", ["1", "L"])
def test_grey_and_black_and_white_become_rgb(mode, tmp_path):
    path = save(tmp_path / "grey.png", Image.new(mode, (8, 6), 255))

    assert read_image(path).shape == (6, 8, 3)
    assert (read_image(path) == 255).all()


def test_transparent_pixels_become_white(tmp_path):
    path = save(tmp_path / "cut_out.png", Image.new("RGBA", (4, 4), (200, 0, 0, 0)))

    assert (read_image(path) == 255).all()


def test_a_transparent_palette_colour_becomes_white(tmp_path):
    image = Image.new("P", (4, 4), 0)
    image.putpalette([200, 0, 0, 0, 0, 200])
    path = save(tmp_path / "cut_out.png", image, transparency=0)

    assert (read_image(path) == 255).all()


def test_exif_rotation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    path = save(tmp_path / "phone.jpg", Image.new("RGB", (30, 20), "red"), exif=exif)

    assert read_image(path).shape == (30, 20, 3)


SKIN = (200, 140, 115)
"""A colour that differs between the colour spaces."""


@pytest.mark.parametrize("space", [DISPLAY_P3, ADOBE_RGB], ids=lambda space: space.name)
@pytest.mark.parametrize("suffix", ["png", "jpg", "tiff", "webp"])
def test_the_colours_of_an_icc_profile_become_srgb(suffix, space, tmp_path):
    options = {} if suffix in ("png", "tiff") else {"quality": 100}
    path = save(tmp_path / f"phone.{suffix}", Image.new("RGB", (16, 16), SKIN), icc_profile=space.profile(), **options)

    assert np.abs(read_image(path)[8, 8] - space.in_srgb(SKIN)).max() <= (1 if suffix in ("png", "tiff") else 3)


@pytest.mark.parametrize("mode", ["P", "RGBA"])
def test_palettes_and_transparency_keep_their_profile(mode, tmp_path):
    image = Image.new("RGB", (16, 16), SKIN).convert(mode) if mode == "RGBA" else Image.new("RGB", (16, 16), SKIN).quantize(4)
    path = save(tmp_path / "picture.png", image, icc_profile=DISPLAY_P3.profile())

    assert np.abs(read_image(path)[8, 8] - DISPLAY_P3.in_srgb(SKIN)).max() <= 1


def test_transparent_pixels_are_white_whatever_the_profile(tmp_path):
    path = save(tmp_path / "cut_out.png", Image.new("RGBA", (4, 4), (200, 0, 0, 0)), icc_profile=ADOBE_RGB.profile())

    assert (read_image(path) == 255).all()


def test_the_profile_of_a_heic_applies_to_all_tiles(tmp_path):
    plain = read_image(write_heic(tmp_path / "plain.heic", ["0xC88C73"] * 4))
    image = read_image(write_heic(tmp_path / "phone.heic", ["0xC88C73"] * 4, profile=DISPLAY_P3.profile()))

    assert np.abs(image - DISPLAY_P3.in_srgb(tuple(plain[8, 8]))).max() <= 1


def test_an_srgb_image_keeps_its_values_exactly(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

    assert np.array_equal(read_image(save(tmp_path / "picture.png", Image.fromarray(COLOURS), icc_profile=srgb)), COLOURS)


@pytest.mark.parametrize(("mode", "profile"), [("RGB", b"no profile"), ("L", DISPLAY_P3.profile()), ("1", DISPLAY_P3.profile())])
def test_a_profile_that_does_not_fit_is_ignored(mode, profile, tmp_path):
    path = save(tmp_path / "picture.png", Image.new("RGB", (8, 8), (200, 200, 200)).convert(mode), icc_profile=profile)

    assert np.array_equal(read_image(path), np.array(Image.open(path).convert("RGB")))


TILES = ["red", "lime", "blue", "yellow"]
TILE_COLOURS = np.array([[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 0)]])
"""The RGB of TILES, by row and column."""


@pytest.mark.parametrize("name", ["phone.heic", "PHONE.HEIC", "renamed.jpg"])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_the_tiles_of_a_heic_are_joined_and_rotated(turns, name, tmp_path):
    image = read_image(write_heic(tmp_path / name, TILES, turns=turns))

    assert image.shape == (128, 128, 3)
    assert np.abs(image[32::64, 32::64].astype(int) - np.rot90(TILE_COLOURS, turns)).max() <= 3


def test_a_heic_becomes_a_clip_alone_and_in_a_folder(tmp_path):
    path = write_heic(tmp_path / "phone.heic", TILES)

    for clip in (as_clip(path, tmp_path / "one.clip"), as_clip(tmp_path, tmp_path / "folder.clip")):
        assert (clip.width, clip.height, clip.num_frames, clip.fps) == (128, 128, 1, 25)
        assert np.array_equal(clip.frame(0), read_image(path))


def test_a_heic_is_refused_where_exact_ids_are_needed(tmp_path):
    path = write_heic(tmp_path / "dense.heic", TILES)
    with pytest.raises(InputError, match=r"dense\.heic is compressed as HEIC, which changes ids"):
        read_image(path, lossless=True)


def test_a_heic_that_is_named_like_a_video_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"image made of tiles, not a video\. Give it a name that ends in \.heic"):
        probe(write_heic(tmp_path / "phone.mov", TILES))


@pytest.mark.parametrize("missing", [20, 200, 600])
def test_a_truncated_heic_is_refused(missing, tmp_path):
    path = write_heic(tmp_path / "phone.heic", TILES)
    path.write_bytes(path.read_bytes()[:-missing])

    with pytest.raises(InputError, match=r"HEIC image that ffmpeg cannot read\. Save it as JPEG"):
        read_image(path)


@pytest.fixture
def animation(tmp_path):
    """A WebP of three frames, which are shown for 40, 0 and 80 ms."""
    first, *others = (Image.new("RGB", (16, 12), colour) for colour in ("red", "lime", "blue"))
    first.save(tmp_path / "animation.webp", save_all=True, append_images=others, duration=[40, 0, 80], lossless=True)
    return tmp_path / "animation.webp"


@pytest.mark.parametrize("fps", [None, Fraction(12)])
def test_an_animation_has_its_own_times_or_the_given_rate(fps, animation):
    """A duration of 0 means a tenth of a second, as in browsers."""
    for _ in range(2):  # the second time, the existing clip is opened
        clip = as_clip(animation, fps=fps)
        assert [frame[0, 0].tolist() for frame in clip.frames()] == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
        assert clip.fps == (fps or Fraction(2000, 140)) and (clip.timestamps and clip.timestamps.ticks) == (None if fps else (0, 40, 140))


def test_an_animation_among_images_is_refused(animation):
    Image.new("RGB", (16, 12)).save(animation.with_name("a.png"))

    with pytest.raises(InputError, match=r"animation\.webp is an animation, not one image"):
        as_clip(animation.parent)


def test_evaluate_reads_all_frames_of_an_animation(animation):
    source = open_frame_source(str(animation))

    assert (source.num_frames, source.width, source.height, sum(1 for _ in source.frames())) == (3, 16, 12, 3)


def test_an_image_of_one_pixel_is_read(tmp_path):
    path = save(tmp_path / "dot.png", Image.new("RGB", (1, 1), (1, 2, 3)))

    assert read_image(path).tolist() == [[[1, 2, 3]]]


@pytest.mark.slow
def test_an_image_of_12000_pixels_is_read_without_a_warning(tmp_path, recwarn):
    path = save(tmp_path / "poster.png", Image.new("L", (12000, 12000), 7))

    assert read_image(path).shape == (12000, 12000, 3)
    assert not recwarn.list


@pytest.mark.parametrize(("size", "sentence"), [((16385, 2), "at most 16384 per side"), ((16000, 16000), "at most 178 megapixels")])
def test_an_image_that_is_too_large_is_refused(size, sentence, tmp_path):
    path = save(tmp_path / "huge.png", Image.new("1", size))

    with pytest.raises(InputError, match=sentence):
        read_image(path)


def test_floating_point_images_are_refused(tmp_path):
    path = save(tmp_path / "float.tiff", Image.fromarray(np.ones((4, 4), np.float32)))

    with pytest.raises(InputError, match="floating-point"):
        read_image(path)


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n broken"])
def test_a_file_that_is_not_an_image_is_refused(content, tmp_path):
    (tmp_path / "thing.png").write_bytes(content)

    with pytest.raises(InputError, match=r"thing\.png"):
        read_image(tmp_path / "thing.png")


def test_a_truncated_image_is_refused(tmp_path):
    path = save(tmp_path / "whole.jpg", Image.fromarray(COLOURS))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(InputError, match="damaged"):
        read_image(path)


def test_images_are_listed_in_natural_order(images):
    assert [path.stem for path in list_images(images)] == [f"frame{index}" for index in range(1, 13)]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")

    with pytest.raises(InputError, match="holds no image"):
        list_images(tmp_path)


def test_png_is_lossless_and_jpeg_keeps_full_colour_resolution():
    assert np.array_equal(decode_image(encode(COLOURS, "png"), "", 3), COLOURS)
    stripes = np.zeros((16, 16, 3), np.uint8)
    stripes[:, ::2] = [255, 0, 0]
    stripes[:, 1::2] = [0, 0, 255]
    assert np.abs(decode_image(encode(stripes, "jpg"), "", 3).astype(int) - stripes).max() < 40  # 4:2:0 would be off by 127


@pytest.mark.parametrize("storage", ["png", "jpg"])
@pytest.mark.parametrize("missing", [2, 300])
def test_a_truncated_frame_is_refused(storage, missing):
    with pytest.raises(InvalidClip, match="000003 is not a readable image"):
        decode_image(encode(COLOURS, storage)[:-missing], "000003", 3)


def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    return struct.pack(">I", len(data) if length is None else length) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


HEADER, END = struct.pack(">IIBBBBB", 6, 4, 8, 0, 0, 0, 0), chunk(b"IEND", b"")
PIXELS = chunk(b"IDAT", zlib.compress(bytes(7 * 4)))


@pytest.mark.parametrize(
    "file",
    [
        png(chunk(b"IHDR", struct.pack(">IIBBBBB", 1 << 26, 6, 16, 2, 0, 0, 0)), PIXELS, END),
        png(chunk(b"IHDR", struct.pack(">IIBBBBB", 16000, 11000, 16, 2, 0, 0, 0)), PIXELS, END),
        png(chunk(b"IHDR", HEADER), chunk(b"IDAT", b"", 0xA0000000), END),
        png(chunk(b"IHDR", HEADER), chunk(b"IEND", b"", 0xA0000000)),
        png(chunk(b"IHDR", HEADER), END, chunk(b"IDAT", b"", 0x6BEA0024)),
        b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03" + bytes(9) + b"\xff\xd9",
    ],
    ids=["a side", "the pixels", "a chunk", "the last chunk", "a chunk after the last", "a jpeg"],
)
def test_a_small_file_of_a_frame_cannot_claim_much_memory(file):
    """OpenCV would allocate and fill the gigabytes that such a file claims to need."""
    start = time.process_time()
    with pytest.raises(InvalidClip, match="000003 is not a readable image: not a PNG or JPEG, damaged, or larger"):
        decode_image(file, "000003", 3)
    assert time.process_time() - start < 0.1


def test_a_frame_may_come_from_any_encoder():
    assert np.array_equal(decode_image(png(chunk(b"IHDR", HEADER), PIXELS, END), "", 1), np.zeros((4, 6), np.uint8))
    encodings: list[tuple[str, dict[str, Any]]] = [
        ("png", {"optimize": True}),
        ("jpeg", {"progressive": True}),
        ("jpeg", {"exif": Image.Exif(), "restart_marker_rows": 1}),
    ]
    for file_format, options in encodings:
        stream = io.BytesIO()
        Image.fromarray(COLOURS).save(stream, file_format, **options)
        assert decode_image(stream.getvalue(), "", 3).shape == COLOURS.shape

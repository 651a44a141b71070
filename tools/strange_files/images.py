"""Animations, single images and folders of images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from strange_files.encoding import raw_frames
from strange_files.frames import GREY_PATCHES, HALF_TRANSPARENT, INVERSE, ORIENTATIONS, add_alpha, draw_frame
from strange_files.registry import Setup, Truth, register


@register("GIF", "moving.gif", "gif")
def _gif(setup: Setup, path: Path) -> Truth:
    """Frames of different durations, in hundredths of a second. The palette contains all colours."""
    durations = [40 + 30 * (n % 3) for n in range(setup.count)]
    _write_animation(setup, path, durations, optimize=False)
    return setup.truth(times=_start_times(durations))


def _write_animation(setup: Setup, path: Path, durations: Sequence[int], **options: Any) -> None:
    first, *others = map(Image.fromarray, setup.frames())
    first.save(path, save_all=True, append_images=others, duration=list(durations), loop=0, **options)


def _start_times(durations: Sequence[int]) -> tuple[Fraction, ...]:
    """The times in seconds of frames with these durations in milliseconds."""
    return tuple(Fraction(sum(durations[:n]), 1000) for n in range(len(durations)))


def _animated(**options: Any) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        durations = [40 + 30 * (n % 3) for n in range(setup.count)]
        _write_animation(setup, path, durations, **options)
        return setup.truth(times=_start_times(durations), tick=Fraction(1, 1000), probed=path.suffix == ".apng")

    return make


register("APNG", "moving.apng")(_animated())
register("APNG named .png", "moving.png")(_animated())
register("WebP animation", "moving.webp")(_animated(lossless=True))
register("AVIF animation", "moving.avif")(_animated(quality=100, subsampling="4:4:4"))


def _image_truth(setup: Setup, **changes: object) -> Truth:
    """The ground truth of a single image, frame 7."""
    return replace(setup.truth(numbers=(7,), times=(Fraction(0),), probed=False), **changes)  # type: ignore[arg-type]


def _image(save: Callable[[Image.Image, Path], object], **changes: object) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        save(Image.fromarray(draw_frame(7, setup.size)), path)
        return _image_truth(setup, **changes)

    return make


def _rotated_image(orientation: int) -> Callable[[Setup, Path], Truth]:
    def make(setup: Setup, path: Path) -> Truth:
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = np.ascontiguousarray(ORIENTATIONS[INVERSE[orientation]](draw_frame(7, setup.size)))
        quality: dict[str, Any] = {"lossless": True} if path.suffix == ".webp" else {"quality": 100}
        Image.fromarray(stored).save(path, exif=exif, **quality)
        return _image_truth(setup)

    return make


for _orientation in ORIENTATIONS:
    register(f"EXIF {_orientation}", "photo.jpg")(_rotated_image(_orientation))
register("EXIF 6 in WebP", "photo.webp")(_rotated_image(6))
register("EXIF 5 in PNG", "photo.png")(_rotated_image(5))
register("EXIF 8 in TIFF", "photo.tiff")(_rotated_image(8))
register("rotated AVIF", "photo.avif")(_rotated_image(6))
register("AVIF", "photo.avif")(_image(lambda image, path: image.save(path, quality=100)))
register("WebP", "photo.webp")(_image(lambda image, path: image.save(path, lossless=True)))
register("CMYK JPEG", "print.jpg")(_image(lambda image, path: image.convert("CMYK").save(path, quality=100), tolerance=3))
register("palette PNG", "palette.png")(_image(lambda image, path: image.quantize(16).save(path)))


@register("16 bit PNG", "deep.png", "png")
def _rgb_16_bit(setup: Setup, path: Path) -> Truth:
    setup.ffmpeg(*raw_frames(setup, [draw_frame(7, setup.size).astype("<u2") * 257], "rgb48le"), "-frames:v", "1", path.name)
    return _image_truth(setup)


@register("16 bit grey PNG", "deep.png", "png")
def _grey_16_bit(setup: Setup, path: Path) -> Truth:
    grey = np.rint(draw_frame(7, setup.size) @ np.array([0.299, 0.587, 0.114])).astype("<u2")
    setup.ffmpeg(*raw_frames(setup, [grey * 257], "gray16le"), "-frames:v", "1", path.name)
    return _image_truth(setup, patches=GREY_PATCHES)


@register("PNG with alpha", "alpha.png")
def _alpha_png(setup: Setup, path: Path) -> Truth:
    Image.fromarray(add_alpha([draw_frame(7, setup.size)])[0]).save(path)
    return _image_truth(setup, patches=HALF_TRANSPARENT)


@register("AVIF with alpha", "alpha.avif")
def _alpha_avif(setup: Setup, path: Path) -> Truth:
    Image.fromarray(add_alpha([draw_frame(7, setup.size)])[0]).save(path, quality=100, subsampling="4:4:4")
    return _image_truth(setup, patches=HALF_TRANSPARENT)


def _profiled(**options: Any) -> Callable[[Setup, Path], Truth]:
    """Red and blue are exchanged both in the pixels and in the colour profile, so the image looks the same."""

    def make(setup: Setup, path: Path) -> Truth:
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        profile = profile.replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")
        profile = profile.replace("sRGB".encode("utf-16-be"), "sBGR".encode("utf-16-be"))
        Image.fromarray(draw_frame(7, setup.size)[..., ::-1].copy()).save(path, icc_profile=profile, **options)
        return _image_truth(setup)

    return make


for _file, _options in (("photo.png", {}), ("photo.jpg", {"quality": 100, "subsampling": 0}), ("photo.webp", {"lossless": True})):
    register(f"ICC profile, {_file[6:].upper()}", _file)(_profiled(**_options))
register("ICC profile, AVIF", "photo.avif")(_profiled(quality=100, subsampling="4:4:4"))


@register("images with gaps in their numbers", "walk")
def _gaps(setup: Setup, path: Path) -> Truth:
    """All images are read in the order of their numbers, at 25 per second."""
    path.mkdir()
    numbers = [n for n in range(2 * setup.count) if n % 3 and n != 8][: setup.count]
    for number in numbers:
        Image.fromarray(draw_frame(number, setup.size)).save(path / f"frame{number}.png")
    return setup.truth(numbers=tuple(numbers), probed=False)


@register("images of several formats in one folder", "mixed")
def _mixed(setup: Setup, path: Path) -> Truth:
    path.mkdir()
    for number, frame in enumerate(setup.frames()):
        ending, options = (("png", {}), ("webp", {"lossless": True}), ("avif", {"quality": 100}), ("bmp", {}))[number % 4]
        Image.fromarray(frame).save(path / f"{number}.{ending}", **options)
    return setup.truth(probed=False)

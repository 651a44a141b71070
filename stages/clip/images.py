"""Images: reading files of users, and reading and writing the PNG and JPEG files of a clip."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import warnings
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeVar

import cv2
import ffmpeg
import numpy as np
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from stages.clip.ffmpeg import Media, executable, media_input, require_readable_file, running, with_common_options
from stages.errors import READ_ERRORS, InputError, InvalidClip
from stages.io.image_headers import MAX_SIDE, is_decodable, size_of_jpeg

IMAGE_SUFFIXES = {
    ".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".dib", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif",
    ".avif",
}  # fmt: skip
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "DIB", "PPM", "GIF", "AVIF")
"""The formats that Pillow may read. Others are not safe: for EPS, whatever the suffix, it would run Ghostscript."""
Storage = Literal["png", "jpg"]
FrameName = TypeVar("FrameName", str, int)


def is_image(path: Path) -> bool:
    """Whether `path` has the suffix of an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def natural_key(name: str) -> tuple[Any, ...]:
    """The sort key for natural order, in which frame2 comes before frame10."""
    return tuple((1, int(part), part) if part.isdecimal() else (0, part.casefold(), part) for part in re.split(r"(\d+)", name) if part)


def list_images(folder: Path, *, sequence: bool = True) -> list[Path]:
    """The images directly in `folder` in natural order, without hidden files.

    sequence: each image is a frame. Raises InputError when there is no image, and for two images of one frame in a sequence (0001.png and
    0001.jpg).
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    images = [path for path in folder.iterdir() if is_image(path) and path.is_file() and not path.name.startswith(".")]
    if not images:
        raise InputError(f"{folder} holds no image", hint=f"Images end in {', '.join(sorted(IMAGE_SUFFIXES))}")
    ordered = sorted(images, key=lambda path: natural_key(path.name))
    return list(by_name(ordered).values()) if sequence else ordered


def by_name(files: Iterable[Path]) -> dict[str, Path]:
    """Name without suffix -> file, in the same order. Raises InputError for two files of one name."""
    found: dict[str, Path] = {}
    for path in files:
        add_frame(found, path.stem, path)
    return found


def add_frame(found: dict[FrameName, Path], frame: FrameName, path: Path) -> None:
    """Set found[frame] = path. Raises InputError naming both files when the frame has a file already."""
    if (other := found.setdefault(frame, path)) != path:
        raise InputError(f"{path.parent} holds two files of one frame: {other.name} and {path.name}", hint="Remove one of them")


def read_image(path: str | Path, *, lossless: bool = False) -> np.ndarray:
    """Read any image as uint8 RGB [H, W, 3], rotated by its EXIF orientation (HEIC: by its own transformation boxes).

    16 bits are scaled to 8. Palettes, grey and CMYK become RGB, and colours with an ICC profile become sRGB. Transparent pixels are laid
    over white. lossless: the pixels are ids, so lossy formats are refused and ICC profiles ignored. Raises InputError for a file that is
    not an image, is damaged, has a side of more than 16384 pixels, is an animation (see `read_animation`), or is lossy with `lossless`.
    """
    path = Path(path)
    with open_image(path) as image:
        if _is_animation(image):
            raise InputError(f"{path} is an animation, not one image", code="animation")
        if lossless:
            require_lossless(path, image)
            image.info.pop("icc_profile", None)  # the values are ids, not colours
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image), path)


def is_animation(path: Path) -> bool:
    """Whether an image file is an animation (PNG, WebP, AVIF, GIF). Raises InputError for a file that is not an image."""
    with open_image(path) as image:
        return _is_animation(image)


def read_animation(path: Path) -> Iterator[tuple[np.ndarray, Fraction]]:
    """Yield each frame of an animation, uint8 RGB [H, W, 3] as from `read_image`, and its duration in seconds."""
    with open_image(path) as image:
        first = int(bool(image.info.get("default_image")))  # a fallback for viewers without animations
        for index in range(first, _frame_count(image)):
            image.seek(index)
            image.load()
            yield _to_rgb(ImageOps.exif_transpose(image), path), _duration(image)


def _is_animation(image: Image.Image) -> bool:
    return image.format in ("PNG", "WEBP", "AVIF", "GIF") and _frame_count(image) > 1


def _frame_count(image: Image.Image) -> int:
    return int(getattr(image, "n_frames", 1))


def _duration(image: Image.Image) -> Fraction:
    """The duration of the current frame in seconds, to the millisecond. 0 means a tenth of a second, as in browsers."""
    return Fraction(round(image.info.get("duration") or 100), 1000)


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """Open an image without decoding it. Errors, also in the block, become InputError, and warnings of Pillow are dropped."""
    require_readable_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _open_with_pillow_or_ffmpeg(path) as image:
                _require_max_side(path, image.size)
                # size_of_jpeg returns zeros for a file that is too short for its pixels
                if image.format == "JPEG" and min(size_of_jpeg(path.read_bytes())) == 0:
                    raise InputError(f"{path} is damaged: it has far fewer bytes than an image of its size needs")
                yield image
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not an image that can be read") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{path} is too large: at most 178 megapixels can be read", hint="Make it smaller first") from error
    except READ_ERRORS as error:
        raise InputError(f"{path} is damaged: {error}") from error


def _open_with_pillow(path: Path) -> Image.Image:
    """Open an image of one of FORMATS without decoding it. Raises Pillow's errors."""
    Image.init()
    return Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN])


def _open_with_pillow_or_ffmpeg(path: Path) -> Image.Image:
    """Open an image of one of FORMATS, or HEIC. The suffix is ignored, since HEIC photos are often renamed to .jpg."""
    try:
        return _open_with_pillow(path)
    except UnidentifiedImageError:
        with path.open("rb") as file:
            if not re.match(rb"....ftyp(hei|hev|mif|msf)", file.read(12), re.DOTALL):
                raise
    image: Image.Image = Image.open(io.BytesIO(_heic_as_png(path)))
    image.info["icc_profile"] = _profile_of_heic(path)
    image.format = "HEIC"
    return image


def _profile_of_heic(path: Path) -> bytes:
    """The ICC profile of a HEIC, empty if there is none. ffmpeg drops it when it joins tiles."""
    data = path.read_bytes()
    offset = data.find(b"colrprof")
    return data[offset + 8 : offset - 4 + int.from_bytes(data[offset - 4 : offset], "big")] if offset >= 4 else b""


def _heic_as_png(path: Path) -> bytes:
    """The primary image of a HEIC as PNG. ffmpeg selects it by default, joins its tiles and rotates it."""
    image = media_input(Media(path))
    options = {"frames:v": 1, "c:v": "png", "pix_fmt": "rgb24", "format": "image2pipe", "xerror": None}
    command = with_common_options(ffmpeg.output(image, "pipe:", **options).compile(cmd=executable()), level="info")
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with running(command, **pipes) as process:
        data: bytes
        data, log = process.communicate()
    messages = log.decode("utf-8", "replace")
    if "Tile Grid" in messages and "xstack" not in messages:
        raise InputError(f"{path} is made of tiles, which this ffmpeg cannot join", hint="Save it as JPEG, or put a newer ffmpeg on PATH")
    if process.returncode != 0 or not data:
        raise InputError(f"{path} is a HEIC image that ffmpeg cannot read", hint="Save it as JPEG or PNG first")
    return data


def require_lossless(path: Path, image: Image.Image) -> None:
    """Raises InputError for a lossy format. Lossy compression changes ids along edges."""
    lossy = image.format in ("JPEG", "MPO", "HEIC", "AVIF") or "jpeg" in str(image.info.get("compression"))
    if lossy or (image.format == "WEBP" and b"VP8L" not in path.read_bytes()):
        hint = "Export the original as PNG; converting this file does not restore the ids"
        raise InputError(f"{path} is compressed as {image.format}, which changes ids along every edge", hint=hint)


def _require_max_side(path: Path, size: tuple[int, int]) -> None:
    if max(size) > MAX_SIDE:
        raise InputError(
            f"{path} has {size[0]} x {size[1]} pixels; at most {MAX_SIDE} per side can be handled", hint="Make it smaller first"
        )


def _to_rgb(image: Image.Image, path: Path) -> np.ndarray:
    if image.mode.startswith("I") or image.mode == "F":
        return np.repeat(_grey_to_8_bits(np.asarray(image), path)[:, :, None], 3, axis=2)
    profile = image.info.get("icc_profile")
    transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    if transparent or image.mode == "P":
        image = image.convert("RGBA" if transparent else "RGB")
    if profile:
        image = _to_srgb(image, profile)
    if transparent:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert `image` from its ICC profile to sRGB. As in viewers, a profile that is damaged or does not fit the image is ignored."""
    try:
        source_profile = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if ImageCms.getProfileDescription(source_profile).startswith("sRGB"):
            return image
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        return ImageCms.profileToProfile(image, source_profile, ImageCms.createProfile("sRGB"), outputMode=mode) or image
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _grey_to_8_bits(values: np.ndarray, path: Path) -> np.ndarray:
    """Scale 16-bit grey to 8 bits: 65,535 becomes 255. If 32-bit integers are larger, the largest becomes 255.

    Raises InputError for images of floating-point numbers.
    """
    if values.dtype.kind == "f":
        raise InputError(f"{path} holds floating-point values, whose range is unknown", hint="Save it as an 8-bit or 16-bit image")
    white = max(65535, int(values.max(initial=0)))
    return (np.clip(values.astype(np.int64), 0, white) * 255 // white).astype(np.uint8)


JPEG_QUALITY = 95
_NO_FILTER = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE] if hasattr(cv2, "IMWRITE_PNG_FILTER") else []  # since OpenCV 4.12


def encode(image: np.ndarray, storage: Storage) -> bytes:
    """uint8 grey [H, W] or RGB [H, W, 3] -> the bytes of a PNG, or of a JPEG of quality JPEG_QUALITY without chroma subsampling.

    For PNG, grey may also be uint16.
    """
    stored = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    options: Sequence[int] = [cv2.IMWRITE_PNG_COMPRESSION, 3]
    if image.ndim == 2:  # sketches, labels and masks compress well without filters
        options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE, *_NO_FILTER]
    if storage == "jpg":
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    ok, data = cv2.imencode(f".{storage}", np.ascontiguousarray(stored), options)
    if not ok:
        raise InputError(f"an image of {image.shape} {image.dtype} cannot be stored as {storage}")
    return data.tobytes()


_READ_AS_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)  # since OpenCV 4.11: avoids the conversion from BGR


def decode_image(data: bytes, name: str, channels: int) -> np.ndarray:
    """The bytes of a PNG or JPEG of a clip -> uint8 RGB [H, W, 3] or grey [H, W]. Raises InvalidClip naming `name`."""
    colour = cv2.IMREAD_COLOR if _READ_AS_RGB is None else _READ_AS_RGB
    if not is_decodable(data):
        raise InvalidClip(
            f"{name} is not a readable image: not a PNG or JPEG, damaged, or larger than {MAX_SIDE} pixels a side or 178 megapixels"
        )
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), colour if channels == 3 else cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:
        raise InvalidClip(f"{name} is not a readable image") from error
    if image is None or _is_truncated(data):
        raise InvalidClip(f"{name} is not a readable image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if channels == 3 and _READ_AS_RGB is None else image


def _is_truncated(data: bytes) -> bool:
    """Whether the data is a truncated JPEG, which OpenCV before version 5 decodes without an error."""
    return data.startswith(b"\xff\xd8") and b"\xff\xd9" not in data[-4096:]

"""Creating clips: from a video, from images, or from frames that a stage makes."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.clip.audio import copy_sound, find_sound
from stages.clip.clip import Clip, is_clip, open_clip
from stages.clip.ffmpeg import Media, require_readable_file
from stages.clip.images import Storage, is_animation, is_image, list_images, read_animation, read_image
from stages.clip.layers import VERSION, LayerWriter, Producer, layer_json
from stages.clip.probe import Timestamps, VideoInfo, probe, rate_of
from stages.clip.reader import decode
from stages.clip.schema import CLIP_SCHEMA, MAX_FRAMES, dump, rational_text, timestamps_json
from stages.clip.store import DirectoryStore
from stages.errors import Fsv2vError, InputError, ParametersDiffer, UsageError
from stages.io.digests import file_sha256
from stages.io.files import alone, building_directory, discard, write_bytes, write_errors
from stages.io.image_headers import MAX_SIDE

FrameStorage = Literal["reference", "jpg", "png"]
DEFAULT_FPS = Fraction(25)
"""Frame rate of clips made from images, which have none."""


def as_clip(source: str | Path, out: str | Path | None = None, frames: FrameStorage | None = None, fps: Fraction | None = None) -> Clip:
    """The clip of `source`: an existing clip is opened; a video, animation, image or folder of images becomes one.

    The clip is made at `out` if that ends in .clip, else in the folder `out`, else in the current one. `frames` says how
    frames are kept: by reference to the video (the default for videos), as PNG (for images) or as JPEG. `fps` is the
    rate of images. A finished clip of the same source is reused; one of another source or storage raises
    ParametersDiffer. Raises InputError for a file that is neither a video nor an image.
    """
    source = Path(source)
    if is_clip(source):
        return open_clip(source) if out is None else _elsewhere(open_clip(source), clip_path(source, out))
    if not source.exists():
        raise InputError(f"{source} does not exist")
    target = clip_path(source, out)
    identity = source_identity(source)
    if (target / "clip.json").exists():
        return finished(target, source, identity["sha256"], frames, fps)
    try:
        if is_image(source) and source.is_file() and is_animation(source):
            _from_animation(source, target, identity, frames, fps)
        elif source.is_dir() or is_image(source):
            images = list_images(source) if source.is_dir() else [source]
            _from_images(source, images, target, identity, frames, fps or DEFAULT_FPS)
        else:
            _from_video(source, target, identity, frames or "reference")
    except InputError as error:
        if not isinstance(error.__cause__, FileExistsError) or not (target / "clip.json").exists():
            raise
        return finished(target, source, identity["sha256"], frames, fps)
    return open_clip(target)


def clip_of_images(
    images: Sequence[Path],
    target: Path,
    frames: FrameStorage | None = None,
    fps: Fraction = DEFAULT_FPS,
    timestamps: Timestamps | None = None,
) -> Clip:
    """A clip of these images of one folder, in this order. A finished one of the same images is reused; see `as_clip`."""
    identity = images_identity(images)
    if (target / "clip.json").exists():
        return finished(target, images[0].parent, identity["sha256"], frames, fps)
    _from_images(images[0].parent, images, target, identity, frames, fps, timestamps)
    return open_clip(target)


@contextlib.contextmanager
def all_or_nothing(target: Path) -> Iterator[None]:
    """Remove a clip that the block creates at `target` when the block fails; one that existed before stays.

    Raises InputError while another process creates one there.
    """
    with contextlib.nullcontext() if target.exists() else alone(target, refusal=InputError):
        fresh = not target.exists()
        try:
            yield
        except Fsv2vError:
            if fresh:
                discard(target)
            raise


def clip_path(source: Path, out: str | Path | None) -> Path:
    """The path of the clip of `source`."""
    out = Path.cwd() if out is None else Path(out)
    name = Path(os.path.abspath(source)).name
    stem = name.removesuffix(".zip").removesuffix(".clip") if is_clip(source) else name if source.is_dir() else Path(name).stem
    return out if out.suffix.lower() == ".clip" else out / f"{stem}.clip"


def source_identity(source: Path) -> dict[str, Any]:
    """sha256 and bytes of a file, or of all images of a folder in natural order."""
    if not source.is_dir():
        require_readable_file(source)
        return {"sha256": file_sha256(source), "bytes": source.stat().st_size}
    return images_identity(list_images(source))


def images_identity(images: Sequence[Path]) -> dict[str, Any]:
    """sha256 of their names and contents, and bytes."""
    lines = "".join(f"{path.name}\0{file_sha256(path)}\n" for path in images)
    digest = hashlib.sha256(os.fsencode(lines)).hexdigest()
    return {"sha256": digest, "bytes": sum(path.stat().st_size for path in images)}


def create_clip(
    path: str | Path,
    frames: Iterable[np.ndarray] | None = None,
    *,
    fps: Fraction = DEFAULT_FPS,
    width: int | None = None,
    height: int | None = None,
    num_frames: int | None = None,
    storage: Storage = "png",
    source: Mapping[str, Any] | None = None,
    timestamps: Timestamps | None = None,
    audio_from: str | Path | Clip | None = None,
    producer: Producer | None = None,
    overwrite: bool = False,
    fill: Callable[[Clip], None] = lambda clip: None,
) -> Clip:
    """Make a clip of `frames` (uint8 RGB [H, W, 3], taken one at a time), or without frames of the given size and length.

    `source` is kept in clip.json: {path, sha256, bytes, crop, range}. The clip appears at `path` when it is complete; `fill` may add
    layers to it before that.
    Raises ParametersDiffer when one exists and `overwrite` is not set, InputError when frames differ in size.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise ParametersDiffer(f"{path} exists already", code="output-exists")
    require_replaceable(path)
    with building_directory(path, replace=overwrite) as folder:
        if frames is not None:
            width, height, num_frames = _store_frames(folder, frames, storage, producer or Producer("import"))
        if not (width and height and num_frames) or max(width, height) > MAX_SIDE or num_frames > MAX_FRAMES:
            raise UsageError(f"a clip cannot have {num_frames} frames of {width} x {height} pixels")
        if audio_from is not None:
            _store_sound(folder, audio_from, num_frames)
        _write_clip_json(folder, path.stem, (width, height), num_frames, Fraction(fps), timestamps, source)
        fill(open_clip(folder))
    return open_clip(path)


def require_replaceable(path: Path) -> None:
    """Raises ParametersDiffer when `path` is anything but a clip: overwriting must not delete a user's folder."""
    if path.exists() and not (path / "clip.json").is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise ParametersDiffer(f"{path} exists and is not a clip, so it is not replaced", code="output-taken")


def finished(target: Path, source: Path, sha256: str, frames: FrameStorage | None = None, fps: Fraction | None = None) -> Clip:
    """The clip at `target`. Raises ParametersDiffer unless it was made from the source with this `sha256`, in the same way.

    `fps` applies to images; a video has its own.
    """
    clip = open_clip(target)
    if (clip.source or {}).get("sha256") != sha256:
        raise ParametersDiffer(f"{target} was made from another source than {source}", code="output-other")
    kept = clip.layer("frames").storage if clip.has("frames") else None
    if frames and frames != kept:
        raise ParametersDiffer(f"{target} stores its frames in another way (frames: {kept} -> {frames})", code="output-taken")
    if fps and fps != clip.fps and (source.is_dir() or is_image(source)):
        raise ParametersDiffer(f"{target} has another rate (fps: {clip.fps} -> {fps})", code="output-other")
    return clip


def _from_video(source: Path, target: Path, identity: Mapping[str, Any], storage: FrameStorage) -> None:
    info = probe(source)
    producer = Producer("import", parameters={"frames": storage})
    with building_directory(target) as folder:
        if storage == "reference":
            _refer(folder, info, producer, identity)
        else:
            _store_frames(folder, decode(Media(source), info), storage, producer, info.num_frames)
        if info.has_audio:
            _store_sound(folder, source, info.num_frames, info.start)
        described = {"path": kept_path(source, target), **identity, "crop": None, "range": None}
        _write_clip_json(folder, target.stem, (info.width, info.height), info.num_frames, info.fps, info.timestamps, described)


def _from_images(
    source: Path,
    images: Sequence[Path],
    target: Path,
    identity: Mapping[str, Any],
    storage: FrameStorage | None,
    fps: Fraction,
    timestamps: Timestamps | None = None,
) -> None:
    if storage == "reference":
        raise UsageError(f"the images of {source} cannot be kept by reference", hint="Choose png or jpg")
    described = {"path": kept_path(source, target), **identity, "crop": None, "range": None}
    producer = Producer("import", parameters={"frames": storage or "png"})
    with building_directory(target) as folder:
        size = _store_frames(folder, same_size(images), storage or "png", producer, len(images))
        _write_clip_json(folder, target.stem, size[:2], size[2], fps, timestamps, described)


def _from_animation(source: Path, target: Path, identity: Mapping[str, Any], storage: FrameStorage | None, fps: Fraction | None) -> None:
    if storage == "reference":
        raise UsageError(f"the frames of {source} cannot be kept by reference", hint="Choose png or jpg")
    described = {"path": kept_path(source, target), **identity, "crop": None, "range": None}
    ticks = [0]  # the time of each frame and of the end, in milliseconds

    def frames() -> Iterator[np.ndarray]:
        for image, seconds in read_animation(source):
            ticks.append(ticks[-1] + int(seconds * 1000))
            yield image

    with building_directory(target) as folder:
        producer = Producer("import", parameters={"frames": storage or "png"})
        width, height, count = _store_frames(folder, frames(), storage or "png", producer)
        times = Timestamps(Fraction(1, 1000), tuple(ticks[:-1]))
        own, constant = rate_of(times.ticks, times.time_base)
        kept = None if fps or constant else times
        _write_clip_json(folder, target.stem, (width, height), count, fps or own, kept, described)


def borrowed(clip: Clip, target: Path) -> Clip:
    """A copy of `clip` at `target`, for layers that must not be added to the clip itself. Its files are links where that is possible."""
    return _elsewhere(clip, target, _link)


def _link(content: Path, place: Path) -> None:
    try:
        place.symlink_to(content.absolute())
    except OSError:
        shutil.copyfile(content, place)


def _elsewhere(clip: Clip, target: Path, put: Callable[[Path, Path], object] = shutil.copyfile) -> Clip:
    """A copy of `clip` at `target`, a directory to which layers can be added, or the existing copy."""
    if os.path.abspath(target) == os.path.abspath(clip.path):
        return clip
    if (target / "clip.json").exists():
        return _copy_at(target, clip)
    try:
        _copy(clip, target, put)
    except InputError as error:
        if not isinstance(error.__cause__, FileExistsError) or not (target / "clip.json").exists():
            raise
    return _copy_at(target, clip)


def _copy_at(target: Path, clip: Clip) -> Clip:
    copy = open_clip(target)
    if any(copy.meta.get(key) != clip.meta.get(key) for key in ("id", "created", "width", "height", "num_frames")):
        raise ParametersDiffer(f"{target} is another clip than {clip.path}", code="output-other")
    return copy


def _copy(clip: Clip, target: Path, put: Callable[[Path, Path], object]) -> None:
    with building_directory(target) as folder:
        for name, content in files_of(clip):
            with write_errors(target):
                (folder / name).parent.mkdir(exist_ok=True)
                put(content, folder / name) if isinstance(content, Path) else (folder / name).write_bytes(content)
        source = clip.source_path()
        if source:
            meta = {**clip.meta, "source": {**(clip.source or {}), "path": kept_path(source, target)}}
            (folder / "clip.json").unlink()  # it may be a link to the other clip's own
            write_bytes(folder / "clip.json", dump(meta))


def files_of(clip: Clip) -> Iterator[tuple[str, Path | bytes]]:
    """(name, content) of every finished file of a clip, clip.json first, then layer by layer."""
    packed = not isinstance(clip.store, DirectoryStore)
    names = ["clip.json", *(f"{kind}/{name}" for kind in clip.layers() for name in clip.store.names(kind))]
    return ((name, clip.store.read(name) if packed else clip.path / name) for name in names)


def same_size(images: Sequence[Path]) -> Iterator[np.ndarray]:
    """Read images one at a time. Raises InputError naming the first one of another size."""
    first: tuple[int, ...] | None = None
    for path in images:
        image = read_image(path)
        first = first or image.shape
        if image.shape != first:
            raise InputError(f"{path} is {image.shape[1]} x {image.shape[0]} pixels, but the ones before it are {first[1]} x {first[0]}")
        yield image


def _store_frames(
    folder: Path, frames: Iterable[np.ndarray], storage: Storage, producer: Producer, length: int | None = None
) -> tuple[int, int, int]:
    """Write the layer `frames` of a new clip and return (width, height, number of frames)."""
    inside = folder / "frames"
    with write_errors(inside):
        inside.mkdir()
    stream = iter(frames)
    first = next(stream, None)
    if first is None:
        raise InputError("there is no frame to make a clip from")
    height, width = first.shape[:2]
    writer = LayerWriter("frames", inside, length or MAX_FRAMES, (width, height), storage)
    for frame in itertools.chain([first], stream):
        writer.image(frame)
    count = length or writer.end_here()
    writer.finish(producer, {}, {})
    return width, height, count


def _refer(folder: Path, info: VideoInfo, producer: Producer, identity: Mapping[str, Any]) -> None:
    about = {"storage": "reference", "colour": "RGB", "video": video_json(info)}
    with write_errors(folder):
        (folder / "frames").mkdir()
    data = layer_json("frames", info.num_frames, about, producer, 0.0, {}, identity["sha256"], 0)
    write_bytes(folder / "frames" / "layer.json", data)


def video_json(info: VideoInfo) -> dict[str, Any]:
    """What a reader needs to know of a video that a clip refers to, besides clip.json."""
    about = {"pix_fmt": info.pix_fmt, "rotation": info.rotation, "start": str(info.start), "seekable": info.seekable}
    about |= {"decoder": info.decoder} if info.decoder else {}
    return about | asdict(info.colour)


def _store_sound(folder: Path, source: str | Path | Clip, num_frames: int, video_start: Fraction | None = None) -> None:
    """Write the layer `audio` of a new clip, unless the source has no sound."""
    if isinstance(source, Clip):
        stored = source.audio()
        if stored is None:
            return
        media, offset = stored
    else:
        media = Media(Path(source))
        found = find_sound(media)
        if found is None:
            return
        offset = found.start - (probe(source).start if video_start is None else video_start)
    inside = folder / "audio"
    with write_errors(inside):
        inside.mkdir()
    writer = LayerWriter("audio", inside, num_frames, (1, 1))
    copy_sound(media, inside / "audio.mka")
    writer.adopt("audio.mka", file_sha256(inside / "audio.mka"))
    meta = {"file": "audio.mka", "offset": str(offset), "units": "seconds from the first frame to the first sound"}
    writer.finish(Producer("import"), {}, meta)


def _write_clip_json(
    folder: Path,
    name: str,
    size: tuple[int, int],
    num_frames: int,
    fps: Fraction,
    timestamps: Timestamps | None,
    source: Mapping[str, Any] | None,
) -> None:
    value = {
        "schema": CLIP_SCHEMA,
        "id": name,
        "width": size[0],
        "height": size[1],
        "num_frames": num_frames,
        "fps": rational_text(fps),
        "timestamps": timestamps_json(timestamps),
        "source": dict(source) if source is not None else None,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "tool": f"fsv2v {VERSION}",
    }
    write_bytes(folder / "clip.json", dump(value))


def kept_path(source: Path, target: Path) -> str:
    """The path of the source as clip.json stores it: relative if it lies beside or below the clip's folder, so that both can move
    together."""
    here, there = os.path.abspath(source), os.path.abspath(target.parent)
    relative = os.path.relpath(here, there)
    return here if relative.startswith("..") else relative.replace(os.sep, "/")

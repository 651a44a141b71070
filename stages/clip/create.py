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
from stages.clip.probe import Timestamps, VideoInfo, find_rate, probe
from stages.clip.reader import decode
from stages.clip.schema import CLIP_SCHEMA, MAX_FRAMES, dump, rational_text, timestamps_json
from stages.clip.store import DirectoryStore
from stages.errors import Fsv2vError, InputError, ParametersDiffer, UsageError
from stages.io.digests import file_sha256
from stages.io.files import building_directory, discard, exclusive_lock, explain_write_errors, write_bytes
from stages.io.image_headers import MAX_SIDE

FrameStorage = Literal["reference", "jpg", "png"]
DEFAULT_FPS = Fraction(25)
"""The default frame rate of clips that are made from images."""


def as_clip(source: str | Path, out: str | Path | None = None, frames: FrameStorage | None = None, fps: Fraction | None = None) -> Clip:
    """The clip of `source`: a video, animation, image or folder of images becomes one; an existing clip is opened, or copied to `out`.

    out: the path of the clip if it ends in .clip, else the folder for the clip; None: the current folder. frames: how frames are stored: by
    reference to the video (the default for videos), as PNG (the default for images) or as JPEG. fps: the frame rate of images; a video has
    its own. A finished clip of the same source is reused. Raises ParametersDiffer when there is a clip of another source, storage or rate,
    InputError for a file that is neither a video nor an image.
    """
    source = Path(source)
    if is_clip(source):
        return open_clip(source) if out is None else _copy_to(open_clip(source), clip_path(source, out))
    if not source.exists():
        raise InputError(f"{source} does not exist")
    target = clip_path(source, out)
    identity = source_identity(source)
    if (target / "clip.json").exists():
        return open_finished(target, source, identity["sha256"], frames, fps)
    try:
        if is_image(source) and source.is_file() and is_animation(source):
            _create_from_animation(source, target, identity, frames, fps)
        elif source.is_dir() or is_image(source):
            images = list_images(source) if source.is_dir() else [source]
            _create_from_images(source, images, target, identity, frames, fps or DEFAULT_FPS)
        else:
            _create_from_video(source, target, identity, frames or "reference")
    except InputError as error:
        if not isinstance(error.__cause__, FileExistsError) or not (target / "clip.json").exists():
            raise
        return open_finished(target, source, identity["sha256"], frames, fps)
    return open_clip(target)


def clip_of_images(
    images: Sequence[Path],
    target: Path,
    frames: FrameStorage | None = None,
    fps: Fraction = DEFAULT_FPS,
    timestamps: Timestamps | None = None,
) -> Clip:
    """The clip at `target` of these images of one folder, in this order. A finished clip of the same images is reused, as in `as_clip`."""
    identity = images_identity(images)
    if (target / "clip.json").exists():
        return open_finished(target, images[0].parent, identity["sha256"], frames, fps)
    _create_from_images(images[0].parent, images, target, identity, frames, fps, timestamps)
    return open_clip(target)


@contextlib.contextmanager
def discard_on_failure(target: Path) -> Iterator[None]:
    """If the block raises an Fsv2vError, remove the clip that it has created at `target`. A clip that existed before is kept.

    Raises InputError while another process creates a clip there.
    """
    with contextlib.nullcontext() if target.exists() else exclusive_lock(target, error_type=InputError):
        is_new = not target.exists()
        try:
            yield
        except Fsv2vError:
            if is_new:
                discard(target)
            raise


def clip_path(source: Path, out: str | Path | None) -> Path:
    """The path at which `as_clip` makes the clip of `source`."""
    out = Path.cwd() if out is None else Path(out)
    name = Path(os.path.abspath(source)).name
    stem = name.removesuffix(".zip").removesuffix(".clip") if is_clip(source) else name if source.is_dir() else Path(name).stem
    return out if out.suffix.lower() == ".clip" else out / f"{stem}.clip"


def source_identity(source: Path) -> dict[str, Any]:
    """{"sha256", "bytes"} of a file, or of the images of a folder."""
    if not source.is_dir():
        require_readable_file(source)
        return {"sha256": file_sha256(source), "bytes": source.stat().st_size}
    return images_identity(list_images(source))


def images_identity(images: Sequence[Path]) -> dict[str, Any]:
    """{"sha256", "bytes"}: the digest of the names and contents of the images, and their total size."""
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
    """Make a clip of `frames` (uint8 RGB [H, W, 3], read one at a time), or a clip without frames that has this size and length.

    source: {path, sha256, bytes, crop, range} for clip.json. audio_from: a file or clip whose sound is copied. fill: a function that is
    called with the clip before it is finished, and may add layers. The clip appears at `path` when it is complete. Raises ParametersDiffer
    when `path` exists and `overwrite` is not set; with `overwrite`, when it is not a clip. Raises InputError when frames differ in size.
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
    """Raises ParametersDiffer unless `path` is a clip, an empty folder or absent: a user's folder must not be replaced."""
    if path.exists() and not (path / "clip.json").is_file() and not (path.is_dir() and not any(path.iterdir())):
        raise ParametersDiffer(f"{path} exists and is not a clip, so it is not replaced", code="output-taken")


def open_finished(target: Path, source: Path, sha256: str, frames: FrameStorage | None = None, fps: Fraction | None = None) -> Clip:
    """Open the clip at `target`. Raises ParametersDiffer unless it was made in this way from the source with this `sha256`.

    fps: the rate of images; it is ignored for a video.
    """
    clip = open_clip(target)
    if (clip.source or {}).get("sha256") != sha256:
        raise ParametersDiffer(f"{target} was made from another source than {source}", code="output-other")
    storage = clip.layer("frames").storage if clip.has("frames") else None
    if frames and frames != storage:
        raise ParametersDiffer(f"{target} stores its frames in another way (frames: {storage} -> {frames})", code="output-taken")
    if fps and fps != clip.fps and (source.is_dir() or is_image(source)):
        raise ParametersDiffer(f"{target} has another rate (fps: {clip.fps} -> {fps})", code="output-other")
    return clip


def _create_from_video(source: Path, target: Path, identity: Mapping[str, Any], storage: FrameStorage) -> None:
    info = probe(source)
    producer = Producer("import", parameters={"frames": storage})
    with building_directory(target) as folder:
        if storage == "reference":
            _store_reference(folder, info, producer, identity)
        else:
            _store_frames(folder, decode(Media(source), info), storage, producer, info.num_frames)
        if info.has_audio:
            _store_sound(folder, source, info.num_frames, info.start)
        source_entry = {"path": stored_path(source, target), **identity, "crop": None, "range": None}
        _write_clip_json(folder, target.stem, (info.width, info.height), info.num_frames, info.fps, info.timestamps, source_entry)


def _create_from_images(
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
    source_entry = {"path": stored_path(source, target), **identity, "crop": None, "range": None}
    producer = Producer("import", parameters={"frames": storage or "png"})
    with building_directory(target) as folder:
        width, height, count = _store_frames(folder, read_same_size(images), storage or "png", producer, len(images))
        _write_clip_json(folder, target.stem, (width, height), count, fps, timestamps, source_entry)


def _create_from_animation(
    source: Path, target: Path, identity: Mapping[str, Any], storage: FrameStorage | None, fps: Fraction | None
) -> None:
    if storage == "reference":
        raise UsageError(f"the frames of {source} cannot be kept by reference", hint="Choose png or jpg")
    source_entry = {"path": stored_path(source, target), **identity, "crop": None, "range": None}
    ticks = [0]  # the times of the frames, and of the end, in milliseconds

    def frames() -> Iterator[np.ndarray]:
        for image, seconds in read_animation(source):
            ticks.append(ticks[-1] + int(seconds * 1000))
            yield image

    with building_directory(target) as folder:
        producer = Producer("import", parameters={"frames": storage or "png"})
        width, height, count = _store_frames(folder, frames(), storage or "png", producer)
        times = Timestamps(Fraction(1, 1000), tuple(ticks[:-1]))
        rate, is_constant = find_rate(times.ticks, times.time_base)
        timestamps = None if fps or is_constant else times
        _write_clip_json(folder, target.stem, (width, height), count, fps or rate, timestamps, source_entry)


def link_clip(clip: Clip, target: Path) -> Clip:
    """A copy of `clip` at `target`, to which layers can be added without changing `clip`. Its files are links if possible."""
    return _copy_to(clip, target, link_or_copy)


def link_or_copy(file: Path, target: Path) -> None:
    """Make `target` a link to `file`, or a copy where links cannot be made."""
    try:
        target.symlink_to(file.absolute())
    except OSError:
        shutil.copyfile(file, target)


def _copy_to(clip: Clip, target: Path, copy_file: Callable[[Path, Path], object] = shutil.copyfile) -> Clip:
    """A copy of `clip` as the directory `target`; an existing copy is reused. copy_file: copies or links one file."""
    if os.path.abspath(target) == os.path.abspath(clip.path):
        return clip
    if (target / "clip.json").exists():
        return _open_copy(target, clip)
    try:
        _write_copy(clip, target, copy_file)
    except InputError as error:
        if not isinstance(error.__cause__, FileExistsError) or not (target / "clip.json").exists():
            raise
    return _open_copy(target, clip)


def _open_copy(target: Path, clip: Clip) -> Clip:
    copy = open_clip(target)
    if any(copy.meta.get(key) != clip.meta.get(key) for key in ("id", "created", "width", "height", "num_frames")):
        raise ParametersDiffer(f"{target} is another clip than {clip.path}", code="output-other")
    return copy


def _write_copy(clip: Clip, target: Path, copy_file: Callable[[Path, Path], object]) -> None:
    with building_directory(target) as folder:
        for name, content in list_files(clip):
            with explain_write_errors(target):
                (folder / name).parent.mkdir(exist_ok=True)
                copy_file(content, folder / name) if isinstance(content, Path) else (folder / name).write_bytes(content)
        source = clip.source_path()
        if source:
            meta = {**clip.meta, "source": {**(clip.source or {}), "path": stored_path(source, target)}}
            (folder / "clip.json").unlink()  # it may be a link to that of the original clip
            write_bytes(folder / "clip.json", dump(meta))


def list_files(clip: Clip) -> Iterator[tuple[str, Path | bytes]]:
    """(name, path or content) of clip.json and of the files of all finished layers."""
    packed = not isinstance(clip.store, DirectoryStore)
    names = ["clip.json", *(f"{kind}/{name}" for kind in clip.layers() for name in clip.store.names(kind))]
    return ((name, clip.store.read(name) if packed else clip.path / name) for name in names)


def read_same_size(images: Sequence[Path]) -> Iterator[np.ndarray]:
    """Read images one at a time. Raises InputError naming the first image that differs in size."""
    first: tuple[int, ...] | None = None
    for path in images:
        image = read_image(path)
        first = first or image.shape
        if image.shape != first:
            raise InputError(f"{path} is {image.shape[1]} x {image.shape[0]} pixels, but the ones before it are {first[1]} x {first[0]}")
        yield image


def _store_frames(
    folder: Path, frames: Iterable[np.ndarray], storage: Storage, producer: Producer, known_length: int | None = None
) -> tuple[int, int, int]:
    """Write the layer `frames` of a new clip and return (width, height, number of frames)."""
    subfolder = folder / "frames"
    with explain_write_errors(subfolder):
        subfolder.mkdir()
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise InputError("there is no frame to make a clip from")
    height, width = first.shape[:2]
    writer = LayerWriter("frames", subfolder, known_length or MAX_FRAMES, (width, height), storage)
    for frame in itertools.chain([first], iterator):
        writer.image(frame)
    count = known_length or writer.end_here()
    writer.finish(producer, {}, {})
    return width, height, count


def _store_reference(folder: Path, info: VideoInfo, producer: Producer, identity: Mapping[str, Any]) -> None:
    meta = {"storage": "reference", "colour": "RGB", "video": video_json(info)}
    with explain_write_errors(folder):
        (folder / "frames").mkdir()
    data = layer_json("frames", info.num_frames, meta, producer, 0.0, {}, identity["sha256"], 0)
    write_bytes(folder / "frames" / "layer.json", data)


def video_json(info: VideoInfo) -> dict[str, Any]:
    """The entry about the video of a clip in layer.json: what is needed to decode it, besides clip.json."""
    entry = {"pix_fmt": info.pix_fmt, "rotation": info.rotation, "start": str(info.start), "seekable": info.seekable}
    entry |= {"decoder": info.decoder} if info.decoder else {}
    return entry | asdict(info.colour)


def _store_sound(folder: Path, source: str | Path | Clip, num_frames: int, video_start: Fraction | None = None) -> None:
    """Write the layer `audio` of a new clip, unless the source has no sound."""
    if isinstance(source, Clip):
        stored = source.audio()
        if stored is None:
            return
        media, offset = stored
    else:
        media = Media(Path(source))
        sound = find_sound(media)
        if sound is None:
            return
        offset = sound.start - (probe(source).start if video_start is None else video_start)
    subfolder = folder / "audio"
    with explain_write_errors(subfolder):
        subfolder.mkdir()
    writer = LayerWriter("audio", subfolder, num_frames, (1, 1))
    copy_sound(media, subfolder / "audio.mka")
    writer.adopt("audio.mka", file_sha256(subfolder / "audio.mka"))
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
    """size: (width, height) of the frames in pixels."""
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


def stored_path(source: Path, target: Path) -> str:
    """The path of the source for clip.json: relative if the source is in the folder that contains the clip, so that both can be moved."""
    absolute, folder = os.path.abspath(source), os.path.abspath(target.parent)
    relative = os.path.relpath(absolute, folder)
    return absolute if relative.startswith("..") else relative.replace(os.sep, "/")

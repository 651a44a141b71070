"""Clips from what other tools left behind: videos, pictures, OpenPose folders, optical flow, the data layout of imaginaire."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError

from stages.clip.clip import Clip, is_clip, open_clip
from stages.clip.create import DEFAULT_FPS, FrameStorage, as_clip, clip_path, create_clip, file_sha256, finished, kept_path, same_size
from stages.clip.ffmpeg import require_readable_file
from stages.clip.layers import Producer
from stages.clip.openpose import list_json, load_json, read_openpose
from stages.clip.pictures import is_picture, list_pictures, natural_key
from stages.errors import BadInput, UsageProblem
from stages.flow.files import list_flow, read_flow

Layout = Literal["auto", "video", "images", "openpose", "flow", "imaginaire"]
IMAGINAIRE = {
    "landmarks-dlib68": "landmarks",
    "poses-openpose": "poses",
    "pose_maps-densepose": "densepose",
    "human_instance_maps": "instances",
    "seg_maps": "segment",
}
"""Folder of imaginaire's layout -> layer."""


def import_clips(
    source: str | Path,
    out: str | Path | None = None,
    layout: Layout = "auto",
    frames: FrameStorage | None = None,
    fps: Fraction | None = None,
    size: tuple[int, int] | None = None,
) -> list[Clip]:
    """Make clips of `source`; more than one only for the layout of imaginaire, which holds many sequences.

    `fps` is for pictures and JSON, which have no rate; `size` (width, height) for JSON without pictures. What is there
    already and was made of the same source is used again. Raises BadInput when the layout cannot be told or is broken.
    """
    source = Path(source)
    if not source.exists():
        raise BadInput(f"{source} does not exist")
    found = guess_layout(source) if layout == "auto" else layout
    if found == "openpose":
        return [import_openpose(source, out, fps or DEFAULT_FPS, size)]
    if found == "flow":
        return [import_flow(source, out)]
    if found == "imaginaire":
        return import_imaginaire(source, out, frames, fps or DEFAULT_FPS)
    if found == "video" and source.is_dir():
        raise UsageProblem(f"{source} is a folder, not a video")
    return [as_clip(source, out, frames, fps)]


def guess_layout(source: Path) -> Layout:
    """Which layout `source` has."""
    if not source.is_dir() or is_clip(source):
        return "images" if is_picture(source) else "video" if not source.is_dir() else "images"
    if (source / "images").is_dir() and any((source / name).is_dir() for name in IMAGINAIRE):
        return "imaginaire"
    names = [entry.name for entry in source.iterdir()]
    if any(name.endswith(".flo") for name in names):
        return "flow"
    return "openpose" if any(name.endswith(".json") for name in names) and not any(is_picture(Path(name)) for name in names) else "images"


def import_openpose(folder: Path, out: str | Path | None = None, fps: Fraction = DEFAULT_FPS, size: tuple[int, int] | None = None) -> Clip:
    """A clip without frames whose layer `poses` holds the people of an OpenPose JSON folder, one file per frame.

    OpenPose does not write the size of the picture; without `size` it is the smallest even one that holds every point.
    """
    files = list_json(folder)
    arrays = read_openpose(files)
    width, height = size or _size_around(arrays["keypoints"])
    target = clip_path(folder, out)
    digest = _digest_of(files)
    source = {"path": kept_path(folder, target), "sha256": digest, "bytes": sum(path.stat().st_size for path in files)}
    if (target / "clip.json").exists():
        clip = finished(target, folder, digest)
    else:
        described = {**source, "crop": None, "range": None}
        clip = create_clip(target, width=width, height=height, num_frames=len(files), fps=fps, source=described)
    _put(clip, "poses", "openpose", files, lambda _: arrays, _MEANING["poses"])
    return clip


def import_flow(folder: Path, out: str | Path | None) -> Clip:
    """The clip at `out` with the layers `flow` and `flow_confidence` of a folder's .flo, KITTI PNG or npz files, t to t + 1.

    The file of the last frame may be missing, for nothing follows it. Raises UsageProblem when there is no clip at `out`.
    """
    if out is None or not is_clip(Path(out)) or not Path(out).exists():
        hint = "Name it with -o NAME.clip; `fsv2v clip import VIDEO -o NAME.clip` makes one"
        raise UsageProblem(f"The optical flow in {folder} needs a clip that it belongs to", hint=hint)
    clip = open_clip(out)
    files = list_flow(folder)
    if len(files) not in (clip.num_frames - 1, clip.num_frames):
        raise BadInput(f"{folder} holds flow from {len(files)} frames to the next, but {clip.path} has {clip.num_frames} frames")

    def fields(part: int) -> Iterator[np.ndarray]:
        for path in files:
            field = read_flow(path)
            if field.confidence.shape != (clip.height, clip.width):
                height, width = field.confidence.shape
                raise BadInput(f"{path} is {width} x {height}, but the frames of {clip.path} are {clip.width} x {clip.height}")
            yield field[part]
        if len(files) < clip.num_frames:
            yield np.zeros_like(field[part])

    _put(clip, "flow", "flow", files, lambda _: fields(0), {})
    _put(clip, "flow_confidence", "flow", files, lambda _: fields(1), {})
    return clip


def import_imaginaire(root: Path, out: str | Path | None, storage: FrameStorage | None, fps: Fraction) -> list[Clip]:
    """One clip per folder in images/, with a layer for each of the folders of `IMAGINAIRE` that is there.

    `out` is the folder of the clips (by default `root`). Raises BadInput naming the first file that is missing.
    """
    folder = Path(out) if out else root
    if folder.suffix.lower() == ".clip":
        raise UsageProblem(f"{root} holds many sequences, so {folder} must be a folder, not a clip")
    sequences = sorted((entry.name for entry in (root / "images").iterdir() if entry.is_dir()), key=natural_key)
    if not sequences:
        raise BadInput(f"{root / 'images'} holds no folder with a sequence")
    return [_import_sequence(root, name, folder / f"{name}.clip", storage, fps) for name in sequences]


def _import_sequence(root: Path, name: str, target: Path, storage: FrameStorage | None, fps: Fraction) -> Clip:
    pictures = list_pictures(root / "images" / name)
    others = {kind: _matching(pictures, root / folder / name) for folder, kind in IMAGINAIRE.items() if (root / folder).is_dir()}
    clip = as_clip(root / "images" / name, target, storage, fps)
    for kind, files in others.items():
        _put(clip, kind, "imaginaire", files, _READERS[kind], _MEANING.get(kind, {}))
    return clip


def _matching(pictures: Sequence[Path], folder: Path) -> list[Path]:
    """The file of `folder` for each picture, by stem."""
    by_stem = {path.stem: path for path in folder.iterdir()} if folder.is_dir() else {}
    for picture in pictures:
        if picture.stem not in by_stem:
            raise BadInput(f"{folder} has no file for the frame {picture.stem}")
    return [by_stem[picture.stem] for picture in pictures]


def read_dlib68(files: Sequence[Path]) -> dict[str, np.ndarray]:
    """The arrays of a `landmarks` layer from JSON files with 68 pairs [x, y] each; an empty list is a missing face."""
    points = np.zeros((len(files), 1, 68, 3), np.float32)
    for index, path in enumerate(files):
        value = load_json(path)
        if value == []:
            continue
        try:
            pairs = np.array(value, np.float32)
        except (ValueError, TypeError) as error:
            raise BadInput(f"{path} is not a list of 68 pairs [x, y]") from error
        if pairs.shape != (68, 2) or not np.isfinite(pairs).all():
            raise BadInput(f"{path} is not a list of 68 pairs [x, y]")
        points[index, 0, :, :2], points[index, 0, :, 2] = pairs, 1
    return {"points": points}


def read_labels(path: Path) -> np.ndarray:
    """A label map as uint8 [H, W]: the ids themselves, also of a palette picture. Raises BadInput."""
    require_readable_file(path)
    try:
        with Image.open(path) as picture:
            values = np.array(picture)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(f"{path} is not a picture that can be read") from error
    if values.ndim != 2 or values.dtype.kind not in "uib" or values.min(initial=0) < 0 or values.max(initial=0) > 255:
        raise BadInput(f"{path} is not a label map: it must have one channel with ids from 0 to 255")
    return values.astype(np.uint8)


def _label_maps(files: Sequence[Path]) -> Iterator[np.ndarray]:
    return (read_labels(path) for path in files)


def _densepose(files: Sequence[Path]) -> Iterator[np.ndarray]:
    """DensePose writes its pictures with OpenCV, so that I comes last when they are read as RGB."""
    return (image[:, :, ::-1] for image in same_size(list(files)))


_READERS: Mapping[str, Callable[[Sequence[Path]], Any]] = {
    "landmarks": read_dlib68,
    "poses": read_openpose,
    "densepose": _densepose,
    "instances": _label_maps,
    "segment": _label_maps,
}
_MEANING: Mapping[str, Mapping[str, Any]] = {
    "poses": {"skeleton": "BODY_25"},
    "instances": {"values": "instance ids as stored by the importer"},
}


def _put(
    clip: Clip, kind: str, backend: str, files: Sequence[Path], read: Callable[[Sequence[Path]], Any], meta: Mapping[str, Any]
) -> None:
    """Write the layer that `read` makes of `files`, unless it is there."""
    producer, inputs = Producer("import", backend), {"source": _digest_of(files)}
    if not clip.needs(kind, producer, inputs):
        return
    content = read(files)
    with clip.writing(kind, producer, inputs, meta) as writer:
        if isinstance(content, dict):
            writer.arrays(content)
        else:
            for image in content:
                writer.image(image)


def _digest_of(files: Sequence[Path]) -> str:
    return hashlib.sha256("".join(f"{os.fsencode(path.name).hex()} {file_sha256(path)}\n" for path in files).encode()).hexdigest()


def _size_around(points: np.ndarray) -> tuple[int, int]:
    far = points[..., :2].reshape(-1, 2).max(0)
    width, height = (max(2, 2 * math.ceil((float(value) + 1) / 2)) for value in far)
    return width, height

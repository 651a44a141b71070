"""Export of layers in the formats of other tools: images, videos, OpenPose and COCO JSON, lists of landmarks, files of optical flow."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from stages.clip.clip import Clip
from stages.clip.coco import coco_file
from stages.clip.flow_files import FLOW_FORMATS, FlowField, FlowFormat, flow_bytes
from stages.clip.images import Storage, encode
from stages.clip.openpose import openpose_files, shortest_floats
from stages.clip.provenance import note_of_clip
from stages.clip.writer import CONTAINERS, VideoWriter
from stages.errors import InputError, InvalidClip, ParametersDiffer, UsageError
from stages.io.files import building_directory, exclusive_lock, write_atomically, write_bytes

_VIDEO_LAYERS = ("frames", "sketch", "mask", "segment", "densepose")
_EXPORTED_NAMES = re.compile(r"\d{6,}\.(png|jpg|json|txt|flo|npz)|.*_\d{12}_keypoints\.json|person_keypoints\.json")
Format = Literal["auto", "png", "jpg", "video", "openpose", "coco", "json", "txt", "flo", "npz"]

_DEFAULT_FORMATS: dict[str, Format] = {"images": "png", "flow": "flo"}
"""How a layer is stored -> its default format."""


def export(clip: Clip, kind: str, out: str | Path, form: Format = "auto", overwrite: bool = False) -> Path:
    """Write the layer `kind` of `clip` to `out`: a video if `out` ends in .mp4, .m4v, .mov or .mkv, else a folder of files.

    Formats:
    frames: png, jpg or video.
    poses: openpose, or coco (one file: OUT.json or OUT/person_keypoints.json).
    landmarks: json (68 pairs [x, y], for imaginaire) or txt (68 lines "x,y", for few-shot vid2vid).
    flow: flo, png (KITTI) or npz.
    densepose: png with DensePose's order of channels.
    other images: png with the values of the imported files, such as label ids; instance ids above 255 take 16 bits.
    sketch, mask, segment and densepose: also video.
    Numbers are written with enough digits to be read back exactly. Raises ParametersDiffer when `out` holds something else and
    `overwrite` is not set, InputError while another process writes there.
    """
    out = Path(os.path.abspath(out))
    clip.require_other_path(out)
    with exclusive_lock(out, error_type=InputError):
        _export(clip, kind, out, form, overwrite)
    return out


def _export(clip: Clip, kind: str, out: Path, form: Format, overwrite: bool) -> None:
    target_format = _choose_format(clip, kind, out) if form == "auto" else form
    if target_format == "video" and kind in _VIDEO_LAYERS:
        _write_video(clip, kind, out, overwrite)
    elif kind == "landmarks" and target_format in ("json", "txt"):
        _write_folder(out, overwrite, _landmark_files(clip, target_format))
    elif kind == "poses" and target_format == "openpose":
        _write_folder(out, overwrite, openpose_files(clip))
    elif target_format in FLOW_FORMATS and clip.layer(kind).payload == "flow":
        _write_folder(out, overwrite, _flow_files(clip, kind, target_format))
    elif kind == "poses" and target_format == "coco":
        _write_file(out, overwrite, coco_file(clip)) if out.suffix == ".json" else _write_folder(out, overwrite, _coco_files(clip))
    elif target_format in ("png", "jpg") and clip.layer(kind).payload == "images":
        _write_folder(out, overwrite, _image_files(clip, kind, "jpg" if target_format == "jpg" else "png"))
    else:
        wanted = "" if target_format == "auto" else f" as {target_format}"
        raise UsageError(f"the layer {kind} cannot be exported{wanted}")


def _choose_format(clip: Clip, kind: str, out: Path) -> Format:
    if out.suffix.lower() in CONTAINERS:
        return "video"
    payload = clip.layer(kind).payload
    if kind == "poses" and out.suffix == ".json":
        return "coco"
    return "openpose" if kind == "poses" else "json" if kind == "landmarks" else _DEFAULT_FORMATS.get(payload, "auto")


def _images(clip: Clip, kind: str) -> Iterator[np.ndarray]:
    return clip.frames() if kind == "frames" else clip.layer(kind).images()


def _write_video(clip: Clip, kind: str, out: Path, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        raise ParametersDiffer(f"{out} exists already", code="output-exists")
    with VideoWriter(out, clip.width, clip.height, clip.fps, audio_from=clip, note=note_of_clip(clip)) as writer:
        for image in _images(clip, kind):
            writer.write(image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2))


def _image_files(clip: Clip, kind: str, storage: Storage) -> Iterator[tuple[str, bytes]]:
    if storage == "jpg" and kind != "frames":
        raise UsageError(f"the layer {kind} would be damaged by JPEG", hint="Choose png")
    convert = _converter_to_file_values(clip, kind)
    return ((f"{index:06d}.{storage}", encode(convert(image), storage)) for index, image in enumerate(_images(clip, kind)))


def _converter_to_file_values(clip: Clip, kind: str) -> Callable[[np.ndarray], np.ndarray]:
    """The function that converts an image of the layer to the values of imported files: ids instead of indices; DensePose's I last."""
    if kind == "densepose":
        return lambda image: image[:, :, ::-1]
    ids = clip.layer(kind).meta.get("ids")
    if not ids:
        return lambda image: image
    if not isinstance(ids, list) or len(ids) > 256 or not all(isinstance(value, int) and 0 <= value < 2**16 for value in ids):
        raise InvalidClip(f"{clip.path}/{kind}/layer.json holds ids that cannot be read")
    values = np.r_[ids, np.arange(len(ids), 256)].astype(np.uint16 if max(ids) > 255 else np.uint8)
    return lambda image: values[image]


def _flow_files(clip: Clip, kind: str, form: FlowFormat) -> Iterator[tuple[str, bytes]]:
    """A file for each frame, also for the last, whose flow is 0. Without the layer `flow_confidence` the confidence is 255."""
    confidence_layer = clip.layer("flow_confidence") if kind == "flow" and clip.has("flow_confidence") else None
    for index, flow in enumerate(clip.layer(kind).images()):
        confidence_image = confidence_layer.image(index) if confidence_layer else np.full(flow.shape[:2], 255, np.uint8)
        yield f"{index:06d}.{form}", flow_bytes(FlowField(flow, confidence_image), form)


def _landmark_files(clip: Clip, form: str) -> Iterator[tuple[str, bytes]]:
    """A file with the first face of each frame; without a face it holds an empty list or nothing."""
    for index, people in enumerate(clip.layer("landmarks").arrays()["points"]):
        if people.shape[0] == 0:
            raise InputError(f"{clip.path} has no column for a face in its landmarks")
        coordinates = shortest_floats(people[0, :, :2]) if (people[0, :, 2] > 0).any() else []
        points = list(zip(coordinates[::2], coordinates[1::2], strict=True))
        if form == "json":
            yield f"{index:06d}.json", json.dumps(points, allow_nan=False).encode()
        else:
            yield f"{index:06d}.txt", "".join(f"{x},{y}\n" for x, y in points).encode()


def _coco_files(clip: Clip) -> Iterator[tuple[str, bytes]]:
    yield "person_keypoints.json", coco_file(clip)


def _write_file(out: Path, overwrite: bool, data: bytes) -> None:
    """Write one file, unless it exists with the same content."""
    if out.exists() and not overwrite:
        if not out.is_file() or out.read_bytes() != data:
            raise ParametersDiffer(f"{out} exists and holds something else", code="output-exists")
        return
    write_atomically(out, data)


def _write_folder(out: Path, overwrite: bool, files: Iterator[tuple[str, bytes]]) -> None:
    """Write a folder with these files, unless it exists with exactly these."""
    if out.exists() and not overwrite and not (out.is_dir() and not any(out.iterdir())):
        if not _holds_exactly(out, files):
            _require_replaceable(out)
            raise ParametersDiffer(f"{out} holds another export", code="export-differs")
        return
    _require_replaceable(out)
    with building_directory(out, replace=overwrite) as folder:
        for name, data in files:
            write_bytes(folder / name, data)


def _require_replaceable(out: Path) -> None:
    """Raises ParametersDiffer when `out` has files that no export writes: a user's files must not be replaced."""
    others = [path.name for path in out.iterdir() if not _EXPORTED_NAMES.fullmatch(path.name)] if out.is_dir() else []
    if others or (out.exists() and not out.is_dir()):
        examples = ", ".join(others[:3]) or "a file"
        raise ParametersDiffer(f"{out} holds other things ({examples}), so it is not replaced", code="output-taken")


def _holds_exactly(out: Path, files: Iterator[tuple[str, bytes]]) -> bool:
    found = {path.name for path in out.iterdir()} if out.is_dir() else {""}
    for name, data in files:
        if name not in found or (out / name).read_bytes() != data:
            return False
        found.remove(name)
    return not found

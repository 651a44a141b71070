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
from stages.clip.flow_files import FORMS, FlowField, FlowForm, flow_bytes
from stages.clip.images import Storage, encode
from stages.clip.openpose import numbers_of, openpose_files
from stages.clip.provenance import note_of_clip
from stages.clip.writer import CONTAINERS, VideoWriter
from stages.errors import InputError, InvalidClip, ParametersDiffer, UsageError
from stages.io.files import alone, building_directory, write_atomically, write_bytes

_DRAWABLE = ("frames", "sketch", "mask", "segment", "densepose")
_OURS = re.compile(r"\d{6,}\.(png|jpg|json|txt|flo|npz)|.*_\d{12}_keypoints\.json|person_keypoints\.json")
Format = Literal["auto", "png", "jpg", "video", "openpose", "coco", "json", "txt", "flo", "npz"]

_BY_PAYLOAD: dict[str, Format] = {"images": "png", "flow": "flo"}


def export(clip: Clip, kind: str, out: str | Path, form: Format = "auto", overwrite: bool = False) -> Path:
    """Write the layer `kind` of `clip` to `out`: a video if its name ends in .mp4, .mov or .mkv, else a folder with a file per frame.

    Formats: frames as png, jpg or video; poses as openpose or coco (one file, OUT.json or OUT/person_keypoints.json); landmarks as json (68
    pairs [x, y], as imaginaire reads) or txt (68 lines "x,y", as few-shot vid2vid reads); flow as flo, png (KITTI's) or npz; densepose
    as png, in DensePose's order of channels; other images as png, whose values are those of the source: label ids, instance ids (16 bits
    where they need them). Numbers are written with enough digits to be read back exactly. Raises ParametersDiffer when something else
    is at `out` and `overwrite` is not set, InputError while another process writes there.
    """
    out = Path(os.path.abspath(out))
    clip.require_not(out)
    with alone(out, refusal=InputError):
        _export(clip, kind, out, form, overwrite)
    return out


def _export(clip: Clip, kind: str, out: Path, form: Format, overwrite: bool) -> None:
    chosen = _chosen(clip, kind, out) if form == "auto" else form
    if chosen == "video" and kind in _DRAWABLE:
        _video(clip, kind, out, overwrite)
    elif kind == "landmarks" and chosen in ("json", "txt"):
        _folder(out, overwrite, _landmark_files(clip, chosen))
    elif kind == "poses" and chosen == "openpose":
        _folder(out, overwrite, openpose_files(clip))
    elif chosen in FORMS and clip.layer(kind).payload == "flow":
        _folder(out, overwrite, _flow_files(clip, kind, chosen))
    elif kind == "poses" and chosen == "coco":
        _file(out, overwrite, coco_file(clip)) if out.suffix == ".json" else _folder(out, overwrite, _coco_files(clip))
    elif chosen in ("png", "jpg") and clip.layer(kind).payload == "images":
        _folder(out, overwrite, _image_files(clip, kind, "jpg" if chosen == "jpg" else "png"))
    else:
        what = "cannot be exported" if chosen == "auto" else f"cannot be exported as {chosen}"
        raise UsageError(f"the layer {kind} {what}")


def _chosen(clip: Clip, kind: str, out: Path) -> Format:
    if out.suffix.lower() in CONTAINERS:
        return "video"
    payload = clip.layer(kind).payload
    if kind == "poses" and out.suffix == ".json":
        return "coco"
    return "openpose" if kind == "poses" else "json" if kind == "landmarks" else _BY_PAYLOAD.get(payload, "auto")


def _images(clip: Clip, kind: str) -> Iterator[np.ndarray]:
    return clip.frames() if kind == "frames" else clip.layer(kind).images()


def _video(clip: Clip, kind: str, out: Path, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        raise ParametersDiffer(f"{out} exists already", code="output-exists")
    with VideoWriter(out, clip.width, clip.height, clip.fps, audio_from=clip, note=note_of_clip(clip)) as writer:
        for image in _images(clip, kind):
            writer.write(image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2))


def _image_files(clip: Clip, kind: str, storage: Storage) -> Iterator[tuple[str, bytes]]:
    if storage == "jpg" and kind != "frames":
        raise UsageError(f"the layer {kind} would be damaged by JPEG", hint="Choose png")
    convert = _as_in_files(clip, kind)
    return ((f"{index:06d}.{storage}", encode(convert(image), storage)) for index, image in enumerate(_images(clip, kind)))


def _as_in_files(clip: Clip, kind: str) -> Callable[[np.ndarray], np.ndarray]:
    """A function from a layer's image to the values of the files that it was imported from: ids instead of indices, DensePose's I last."""
    if kind == "densepose":
        return lambda image: image[:, :, ::-1]
    ids = clip.layer(kind).meta.get("ids")
    if not ids:
        return lambda image: image
    if not isinstance(ids, list) or len(ids) > 256 or not all(isinstance(value, int) and 0 <= value < 2**16 for value in ids):
        raise InvalidClip(f"{clip.path}/{kind}/layer.json holds ids that cannot be read")
    values = np.r_[ids, np.arange(len(ids), 256)].astype(np.uint16 if max(ids) > 255 else np.uint8)
    return lambda image: values[image]


def _flow_files(clip: Clip, kind: str, form: FlowForm) -> Iterator[tuple[str, bytes]]:
    """A file for each frame, including the last, whose flow is 0. Without the layer `flow_confidence` the confidence is 255 everywhere."""
    confidence = clip.layer("flow_confidence") if kind == "flow" and clip.has("flow_confidence") else None
    for index, flow in enumerate(clip.layer(kind).images()):
        trust = confidence.image(index) if confidence else np.full(flow.shape[:2], 255, np.uint8)
        yield f"{index:06d}.{form}", flow_bytes(FlowField(flow, trust), form)


def _landmark_files(clip: Clip, form: str) -> Iterator[tuple[str, bytes]]:
    """The first face of each frame; a frame without a face is an empty list or an empty file."""
    for index, people in enumerate(clip.layer("landmarks").arrays()["points"]):
        if people.shape[0] == 0:
            raise InputError(f"{clip.path} has no column for a face in its landmarks")
        numbers = numbers_of(people[0, :, :2]) if (people[0, :, 2] > 0).any() else []
        points = list(zip(numbers[::2], numbers[1::2], strict=True))
        if form == "json":
            yield f"{index:06d}.json", json.dumps(points, allow_nan=False).encode()
        else:
            yield f"{index:06d}.txt", "".join(f"{x},{y}\n" for x, y in points).encode()


def _coco_files(clip: Clip) -> Iterator[tuple[str, bytes]]:
    yield "person_keypoints.json", coco_file(clip)


def _file(out: Path, overwrite: bool, data: bytes) -> None:
    """Write one file, unless it exists with the same content."""
    if out.exists() and not overwrite:
        if not out.is_file() or out.read_bytes() != data:
            raise ParametersDiffer(f"{out} exists and holds something else", code="output-exists")
        return
    write_atomically(out, data)


def _folder(out: Path, overwrite: bool, files: Iterator[tuple[str, bytes]]) -> None:
    """Write the files, unless `out` holds exactly these."""
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
    """Raises ParametersDiffer when `out` holds files that no export writes: overwriting must not delete a user's files."""
    others = [path.name for path in out.iterdir() if not _OURS.fullmatch(path.name)] if out.is_dir() else []
    if others or (out.exists() and not out.is_dir()):
        things = ", ".join(others[:3]) or "a file"
        raise ParametersDiffer(f"{out} holds other things ({things}), so it is not replaced", code="output-taken")


def _holds_exactly(out: Path, files: Iterator[tuple[str, bytes]]) -> bool:
    found = {path.name for path in out.iterdir()} if out.is_dir() else {""}
    for name, data in files:
        if name not in found or (out / name).read_bytes() != data:
            return False
        found.remove(name)
    return not found

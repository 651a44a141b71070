"""Import of layers from files of other tools: one file per frame, or one file for all frames."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.clip.clip import Clip
from stages.clip.ffmpeg import require_readable_file
from stages.clip.images import open_image, read_image, require_lossless
from stages.clip.layers import Producer
from stages.clip.openpose import load_json, read_openpose
from stages.clip.scaling import WidthHeight, find_scaling, read_coordinates
from stages.errors import InputError, ParametersDiffer
from stages.io.digests import file_sha256
from stages.tables.label_tables import LabelTable, find_table

Content = Mapping[str, np.ndarray] | Iterator[np.ndarray]
"""The arrays of a layer, or its images one at a time."""


def add_layer(clip: Clip, kind: str, backend: str, files: Sequence[Path], labels: str = "") -> None:
    """Write the layer `kind` from `files`, unless it exists. labels: the name of the table of label ids.

    Raises InputError naming the file when it cannot be read, has another size than the frames, or an id that is not in the table.
    Raises ParametersDiffer when the layer exists and was made in another way.
    """
    label_table = find_table(labels) if kind == "segment" and labels else None
    description: dict[str, Any] = label_table.meta() if label_table else {}
    parameters: Mapping[str, Any] = {"table": label_table.meta()} if label_table else {}
    if kind == "instances":
        ids = _instance_ids(files)
        description = {"values": "instance ids"} if ids is None else {"values": "places in the list of ids", "ids": ids}
        write_layer(clip, kind, backend, files, lambda: _instance_maps(clip, files, ids), description)
    elif kind == "segment":
        write_layer(clip, kind, backend, files, lambda: _label_maps(clip, files, label_table), description, parameters)
    elif kind == "densepose":
        write_layer(clip, kind, backend, files, lambda: _densepose_images(clip, files), description)
    elif kind == "poses":
        poses = read_openpose(files, (clip.width, clip.height))
        write_layer(clip, kind, backend, files, lambda: poses.arrays, {"skeleton": "BODY_25"}, poses.parameters)
    else:
        arrays, parameters = read_landmarks(files, (clip.width, clip.height))
        write_layer(clip, kind, backend, files, lambda: arrays, description, parameters)


def write_layer(
    clip: Clip,
    kind: str,
    backend: str,
    files: Sequence[Path],
    read: Callable[[], Content],
    description: Mapping[str, Any],
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Write the layer `kind` with the content that `read` returns for `files`, unless it exists. description: entries for layer.json."""
    producer, inputs = Producer("import", backend, parameters or {}), {"source": digest_of(files)}
    try:
        if not clip.needs(kind, producer, inputs):
            return
    except ParametersDiffer as error:
        raise ParametersDiffer(error.message, code="layer-imported-otherwise", facts={"layer": str(clip.path / kind)}) from error
    content = read()
    with clip.writing(kind, producer, inputs, description) as writer:
        if isinstance(content, Mapping):
            writer.arrays(content)
        else:
            for image in content:
                writer.image(image)


def digest_of(files: Sequence[Path]) -> str:
    """sha256 of the names and contents of files."""
    return hashlib.sha256("".join(f"{os.fsencode(path.name).hex()} {file_sha256(path)}\n" for path in files).encode()).hexdigest()


def read_landmarks(files: Sequence[Path], size: WidthHeight) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
    """The arrays and parameters of a layer `landmarks`, with a file for each frame.

    A file is JSON with 68 pairs [x, y] (imaginaire), or text with 68 lines "x,y" (few-shot vid2vid). An empty list or file is a frame
    without a face. Coordinates relative to the image are converted to pixels of frames of `size`. Raises InputError.
    """
    points = np.zeros((len(files), 1, 68, 3), np.float32)
    for index, path in enumerate(files):
        value = _read_text_pairs(path) if path.suffix.lower() == ".txt" else load_json(path)
        if value == []:
            continue
        try:
            pairs = read_coordinates(value)
        except TypeError as error:
            raise InputError(f"{path} is not a list of 68 pairs [x, y]") from error
        except ValueError as error:
            raise InputError(f"{path} {error}") from error
        if pairs.shape != (68, 2):
            raise InputError(f"{path} is not a list of 68 pairs [x, y]")
        points[index, 0, :, :2], points[index, 0, :, 2] = pairs, 1
    scaling = find_scaling(files[0].parent, points[points[..., 2] > 0, :2], None, size)
    return {"points": scaling(points)}, scaling.parameters


def _read_text_pairs(path: Path) -> list[list[str]]:
    require_readable_file(path)
    try:
        return [line.split(",") for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a list of 68 pairs [x, y]") from error


def read_labels(path: Path) -> np.ndarray:
    """A label map as uint8 [H, W]; for a palette image, its indices. Raises InputError."""
    values = _read_ids(path)
    if values.max(initial=0) > 255:
        hint = "It holds instance ids; the label ids are in ..._labelIds.png" if "instanceIds" in path.name else ""
        raise InputError(f"{path} is not a label map: it must have one channel with ids from 0 to 255", hint=hint)
    return values.astype(np.uint8)


def _read_ids(path: Path) -> np.ndarray:
    """The ids in an image with one channel of 8 or 16 bits, [H, W]; for a palette image, its indices."""
    with open_image(path) as image:
        require_lossless(path, image)
        values = np.array(image)
    if values.ndim != 2 or values.dtype.kind not in "uib" or values.min(initial=0) < 0:
        raise InputError(f"{path} is not a label map: it must have one channel with ids from 0 to 255")
    return values


def _label_maps(clip: Clip, files: Sequence[Path], label_table: LabelTable | None) -> Iterator[np.ndarray]:
    for path in files:
        ids = _require_frame_size(read_labels(path), path, clip)
        try:
            yield label_table.indices(ids) if label_table else ids
        except InputError as error:
            raise InputError(f"{path}: {error}", code="wrong-label-table") from error


def _instance_ids(files: Sequence[Path]) -> list[int] | None:
    """The ids in all files, in ascending order; None if all fit into 8 bits. Those of Cityscapes are label id x 1000 + number."""
    ids: set[int] = set()
    for path in files:
        ids.update(np.unique(_read_ids(path)).tolist())
        if len(ids) > 256 and max(ids) > 255:
            raise InputError(f"{path}: a layer holds at most 256 instances, and these have more", hint="Import fewer frames at once")
    return None if max(ids, default=0) <= 255 else sorted(ids)


def _instance_maps(clip: Clip, files: Sequence[Path], ids: Sequence[int] | None) -> Iterator[np.ndarray]:
    for path in files:
        values = _require_frame_size(_read_ids(path), path, clip)
        yield (values if ids is None else np.searchsorted(ids, values)).astype(np.uint8)


def _densepose_images(clip: Clip, files: Sequence[Path]) -> Iterator[np.ndarray]:
    """IUV images. DensePose writes them with OpenCV, so that I is the last channel when they are read as RGB."""
    for path in files:
        image = _require_frame_size(read_image(path, lossless=True), path, clip)[:, :, ::-1]
        if image[..., 0].max() > 24:
            raise InputError(f"{path} is not a DensePose IUV image: it has the part {image[..., 0].max()}, and there are 24")
        yield image


def _require_frame_size(image: np.ndarray, path: Path, clip: Clip) -> np.ndarray:
    """Returns `image`. Raises InputError unless it has the size of the clip's frames."""
    if image.shape[:2] != (clip.height, clip.width):
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise InputError(f"{path} is {size} pixels, but the frames of {clip.path.name} are {clip.width} x {clip.height}")
    return image

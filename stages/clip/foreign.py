"""Import of layers from the files of other tools: one file per frame, or one for all."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stages.clip.clip import Clip
from stages.clip.ffmpeg import require_readable_file
from stages.clip.images import opened, read_image, require_exact
from stages.clip.layers import Producer
from stages.clip.openpose import load_json, read_openpose
from stages.clip.scaling import Size, coordinates, scaling_of
from stages.errors import InputError, ParametersDiffer
from stages.io.digests import file_sha256
from stages.tables.label_tables import LabelTable, table

Content = Mapping[str, np.ndarray] | Iterator[np.ndarray]
"""The arrays of a layer, or its images one at a time."""


def add_layer(clip: Clip, kind: str, backend: str, files: Sequence[Path], labels: str = "") -> None:
    """Write the layer `kind` from `files`, unless it exists. `labels` is the table of label ids.

    Raises InputError naming the file that cannot be read, has another size than the frames, or an id that the table does not know;
    ParametersDiffer when the layer exists and was made in another way.
    """
    names = table(labels) if kind == "segment" and labels else None
    meaning: dict[str, Any] = names.meta() if names else {}
    parameters: Mapping[str, Any] = {"table": names.meta()} if names else {}
    if kind == "instances":
        ids = _instance_ids(files)
        meaning = {"values": "instance ids"} if ids is None else {"values": "places in the list of ids", "ids": ids}
        write_layer(clip, kind, backend, files, lambda: _instances(clip, files, ids), meaning)
    elif kind == "segment":
        write_layer(clip, kind, backend, files, lambda: _label_maps(clip, files, names), meaning, parameters)
    elif kind == "densepose":
        write_layer(clip, kind, backend, files, lambda: _densepose(clip, files), meaning)
    elif kind == "poses":
        found = read_openpose(files, (clip.width, clip.height))
        write_layer(clip, kind, backend, files, lambda: found.arrays, {"skeleton": "BODY_25"}, found.parameters)
    else:
        arrays, parameters = read_landmarks(files, (clip.width, clip.height))
        write_layer(clip, kind, backend, files, lambda: arrays, meaning, parameters)


def write_layer(
    clip: Clip,
    kind: str,
    backend: str,
    files: Sequence[Path],
    read: Callable[[], Content],
    meaning: Mapping[str, Any],
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Write the layer that `read` makes from `files`, unless it exists."""
    producer, inputs = Producer("import", backend, parameters or {}), {"source": digest_of(files)}
    try:
        if not clip.needs(kind, producer, inputs):
            return
    except ParametersDiffer as error:
        raise ParametersDiffer(error.message, code="layer-imported-otherwise", facts={"layer": str(clip.path / kind)}) from error
    content = read()
    with clip.writing(kind, producer, inputs, meaning) as writer:
        if isinstance(content, Mapping):
            writer.arrays(content)
        else:
            for image in content:
                writer.image(image)


def digest_of(files: Sequence[Path]) -> str:
    """sha256 of names and contents."""
    return hashlib.sha256("".join(f"{os.fsencode(path.name).hex()} {file_sha256(path)}\n" for path in files).encode()).hexdigest()


def read_landmarks(files: Sequence[Path], size: Size) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
    """The arrays and parameters of a `landmarks` layer: JSON files with 68 pairs [x, y] (dlib's, as in imaginaire) or text files with 68
    lines "x,y" (few-shot vid2vid's). An empty list or file is a missing face. Coordinates relative to an image become pixels of frames of
    `size`.
    """
    points = np.zeros((len(files), 1, 68, 3), np.float32)
    for index, path in enumerate(files):
        value = _pairs_of_text(path) if path.suffix.lower() == ".txt" else load_json(path)
        if value == []:
            continue
        try:
            pairs = coordinates(value)
        except TypeError as error:
            raise InputError(f"{path} is not a list of 68 pairs [x, y]") from error
        except ValueError as error:
            raise InputError(f"{path} {error}") from error
        if pairs.shape != (68, 2):
            raise InputError(f"{path} is not a list of 68 pairs [x, y]")
        points[index, 0, :, :2], points[index, 0, :, 2] = pairs, 1
    scale = scaling_of(files[0].parent, points[points[..., 2] > 0, :2], None, size)
    return {"points": scale(points)}, scale.parameters


def _pairs_of_text(path: Path) -> list[list[str]]:
    require_readable_file(path)
    try:
        return [line.split(",") for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not a list of 68 pairs [x, y]") from error


def read_labels(path: Path) -> np.ndarray:
    """A label map as uint8 [H, W]: the ids themselves, also of a palette image. Raises InputError."""
    values = _ids(path)
    if values.max(initial=0) > 255:
        hint = "It holds instance ids; the label ids are in ..._labelIds.png" if "instanceIds" in path.name else ""
        raise InputError(f"{path} is not a label map: it must have one channel with ids from 0 to 255", hint=hint)
    return values.astype(np.uint8)


def _ids(path: Path) -> np.ndarray:
    """The integers [H, W] of an image of 8 or 16 bits."""
    with opened(path) as image:
        require_exact(path, image)
        values = np.array(image)
    if values.ndim != 2 or values.dtype.kind not in "uib" or values.min(initial=0) < 0:
        raise InputError(f"{path} is not a label map: it must have one channel with ids from 0 to 255")
    return values


def _label_maps(clip: Clip, files: Sequence[Path], names: LabelTable | None) -> Iterator[np.ndarray]:
    for path in files:
        ids = _fitting(read_labels(path), path, clip)
        try:
            yield names.indices(ids) if names else ids
        except InputError as error:
            raise InputError(f"{path}: {error}", code="wrong-label-table") from error


def _instance_ids(files: Sequence[Path]) -> list[int] | None:
    """The ids in all files, in ascending order, or None when all of them fit into 8 bits. Cityscapes' are label id x 1000 + number."""
    found: set[int] = set()
    for path in files:
        found.update(np.unique(_ids(path)).tolist())
        if len(found) > 256 and max(found) > 255:
            raise InputError(f"{path}: a layer holds at most 256 instances, and these have more", hint="Import fewer frames at once")
    return None if max(found, default=0) <= 255 else sorted(found)


def _instances(clip: Clip, files: Sequence[Path], ids: Sequence[int] | None) -> Iterator[np.ndarray]:
    for path in files:
        values = _fitting(_ids(path), path, clip)
        yield (values if ids is None else np.searchsorted(ids, values)).astype(np.uint8)


def _densepose(clip: Clip, files: Sequence[Path]) -> Iterator[np.ndarray]:
    """DensePose writes its images with OpenCV, so that I comes last when they are read as RGB."""
    for path in files:
        image = _fitting(read_image(path, exact=True), path, clip)[:, :, ::-1]
        if image[..., 0].max() > 24:
            raise InputError(f"{path} is not a DensePose IUV image: it has the part {image[..., 0].max()}, and there are 24")
        yield image


def _fitting(image: np.ndarray, path: Path, clip: Clip) -> np.ndarray:
    if image.shape[:2] != (clip.height, clip.width):
        size = f"{image.shape[1]} x {image.shape[0]}"
        raise InputError(f"{path} is {size} pixels, but the frames of {clip.path.name} are {clip.width} x {clip.height}")
    return image

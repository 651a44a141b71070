"""Layers in the forms that other tools read: pictures, videos, OpenPose JSON, lists of landmarks."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from stages.clip.atomic import building_directory, write_bytes, write_errors
from stages.clip.clip import Clip
from stages.clip.openpose import write_openpose
from stages.clip.pictures import Storage, encode
from stages.clip.writer import CONTAINERS, VideoWriter
from stages.errors import BadInput, ParametersDiffer, UsageProblem

Format = Literal["auto", "png", "jpg", "video", "openpose", "json", "txt"]


def export(clip: Clip, kind: str, out: str | Path, form: Format = "auto", overwrite: bool = False) -> Path:
    """Write the layer `kind` of `clip` to `out`: a video if its name ends like one, else a folder with a file per frame.

    Forms: frames as png, jpg or video; poses as openpose; landmarks as json (68 pairs [x, y], as imaginaire reads) or
    txt (68 lines "x,y", as fs_vid2vid reads); other pictures as png, whose values are the label ids. Raises
    ParametersDiffer when `out` is there and `overwrite` is not set.
    """
    out = Path(os.path.abspath(out))
    if out.exists() and not overwrite:
        raise ParametersDiffer(f"{out} is there already", hint="Replace it with --overwrite, or choose another place with -o")
    chosen = _chosen(clip, kind, out) if form == "auto" else form
    if kind == "landmarks" and chosen in ("json", "txt"):
        _into_folder(out, overwrite, _landmark_files(clip, chosen))
    elif kind == "poses" and chosen == "openpose":
        with building_directory(out, replace=overwrite) as folder, write_errors(out):
            write_openpose(clip, folder, clip.id)
    elif chosen == "video" and kind in ("frames", "sketch", "mask", "segment", "densepose"):
        _video(clip, kind, out)
    elif chosen in ("png", "jpg") and clip.layer(kind).payload == "images":
        _into_folder(out, overwrite, _picture_files(clip, kind, "jpg" if chosen == "jpg" else "png"))
    else:
        raise UsageProblem(f"the layer {kind} cannot be exported as {chosen}")
    return out


def _chosen(clip: Clip, kind: str, out: Path) -> Format:
    if out.suffix.lower() in CONTAINERS:
        return "video"
    payload = clip.layer(kind).payload
    return "openpose" if kind == "poses" else "json" if kind == "landmarks" else "png" if payload == "images" else "auto"


def _images(clip: Clip, kind: str) -> Iterator[np.ndarray]:
    return clip.frames() if kind == "frames" else clip.layer(kind).images()


def _video(clip: Clip, kind: str, out: Path) -> None:
    with VideoWriter(out, clip.width, clip.height, clip.fps, audio_from=clip) as writer:
        for image in _images(clip, kind):
            writer.write(image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2))


def _picture_files(clip: Clip, kind: str, storage: Storage) -> Iterator[tuple[str, bytes]]:
    if storage == "jpg" and kind != "frames":
        raise UsageProblem(f"the layer {kind} would be damaged by JPEG", hint="Choose png")
    return ((f"{index:06d}.{storage}", encode(image, storage)) for index, image in enumerate(_images(clip, kind)))


def _landmark_files(clip: Clip, form: str) -> Iterator[tuple[str, bytes]]:
    """The first face of each frame; a frame without a face is an empty list or an empty file."""
    for index, people in enumerate(clip.layer("landmarks").arrays()["points"]):
        if people.shape[0] == 0:
            raise BadInput(f"{clip.path} has room for no face in its landmarks")
        points = people[0, :, :2].round(3).tolist() if (people[0, :, 2] > 0).any() else []
        if form == "json":
            yield f"{index:06d}.json", json.dumps(points, allow_nan=False).encode()
        else:
            yield f"{index:06d}.txt", "".join(f"{x:.3f},{y:.3f}\n" for x, y in points).encode()


def _into_folder(out: Path, overwrite: bool, files: Iterator[tuple[str, bytes]]) -> None:
    with building_directory(out, replace=overwrite) as folder:
        for name, data in files:
            write_bytes(folder / name, data)

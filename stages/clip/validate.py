"""Validation of a clip: digests, frames and arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stages.clip.clip import Clip, open_clip
from stages.clip.layer_types import check_image
from stages.clip.layers import DATA, Layer, combined_digest
from stages.clip.schema import is_layer_name
from stages.clip.store import DirectoryStore
from stages.errors import Fsv2vError, InputError, InvalidClip
from stages.io.digests import file_sha256
from stages.tables.label_tables import VOID

_TABLE_KEYS = {"segment": "names", "instances": "ids"}
"""Layer -> the list in layer.json to which the values of its images are indices."""


@dataclass
class Findings:
    """`errors` make a clip invalid; `warnings` do not."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def valid(self) -> bool:
        return not self.errors


def validate(path: str | Path) -> Findings:
    """Read all files of the clip at `path` and compare them with its JSON files.

    Raises InputError when it does not exist and InvalidClip when it cannot be opened (not a clip, or a newer format).
    """
    clip = open_clip(path)
    findings = Findings()
    for name in clip.store.names():
        if name == "clip.json":
            continue
        if not is_layer_name(name) or not clip.has(name):
            findings.errors.append(f"{name} is not a finished layer: it has no layer.json")
            continue
        try:
            _check_layer(clip, clip.layer(name), findings)
        except Fsv2vError as error:
            findings.errors.append(f"{name}: {error}")
    _check_leftovers(clip, findings)
    return findings


def require_valid(path: str | Path) -> Findings:
    """As `validate`, but raises InvalidClip with all errors, if there are any. Else returns the findings, which are warnings."""
    findings = validate(path)
    if findings.errors:
        raise InvalidClip(f"{path} is damaged: {'; '.join(findings.errors)}", code="layers-damaged")
    return findings


def _check_layer(clip: Clip, layer: Layer, findings: Findings) -> None:
    if layer.kind == "frames" and layer.storage in ("reference", "video"):
        _check_video(clip, layer)
    else:
        _check_digest(clip, layer)
        if layer.payload == "arrays":
            _check_numbers(clip, layer, findings)
        elif layer.payload in ("images", "flow"):
            _check_images(clip, layer)
    for name, digest in layer.meta["inputs"].items():
        if clip.has(name) and clip.layer(name).digest != digest:
            findings.warnings.append(f"{layer.kind} was made from a layer {name} that has been replaced since")


def _check_digest(clip: Clip, layer: Layer) -> None:
    names = [name for name in clip.store.names(layer.kind) if name != "layer.json"]
    expected = _expected_names(layer)
    if expected is not None and names != expected:
        differing = sorted(set(names) ^ set(expected))
        raise InvalidClip(f"it should have {len(expected)} data files and has {len(names)} (see {differing[0]})")
    entries = [(name, hashlib.sha256(data := clip.store.read(f"{layer.kind}/{name}")).hexdigest(), len(data)) for name in names]
    if combined_digest(entries) != layer.digest:
        raise InvalidClip("its files have changed since they were written: the digest differs")
    if sum(size for _, _, size in entries) != layer.meta.get("bytes"):
        raise InvalidClip('the size of its files differs from "bytes"')


def _expected_names(layer: Layer) -> list[str] | None:
    """The names of the data files of the layer; None if it does not define them."""
    if layer.payload == "arrays":
        return [DATA]
    if layer.payload == "file":
        return [str(layer.meta["file"])] if "file" in layer.meta else None
    return sorted(layer.entry(index) for index in range(layer.num_frames))


def _check_images(clip: Clip, layer: Layer) -> None:
    table = layer.meta.get(_TABLE_KEYS.get(layer.kind, ""))
    for index, image in enumerate(layer.images()):
        try:
            check_image(layer.kind, image, clip.width, clip.height)
        except InputError as error:
            raise InvalidClip(f"{layer.entry(index)}: {error}") from error
        if isinstance(table, list):
            _check_ids(layer, index, image, len(table))


def _check_ids(layer: Layer, index: int, image: np.ndarray, count: int) -> None:
    """Raises InvalidClip for a value that is not an index to a table of `count` entries. In label maps 255 means void."""
    unknown = [value for value in np.unique(image[image >= count]).tolist() if layer.kind != "segment" or value != VOID]
    if unknown:
        raise InvalidClip(f"{layer.entry(index)} has the id {unknown[0]}, but its table ends at {count - 1}")


def _check_numbers(clip: Clip, layer: Layer, findings: Findings) -> None:
    arrays = layer.arrays()
    for name in ("points", "keypoints"):
        if name not in arrays or arrays[name].ndim < 3 or arrays[name].shape[-1] != 3:
            continue
        points = arrays[name].reshape(len(arrays[name]), -1, 3)
        seen = points[..., 2] > 0
        outside = seen & ((points[..., :2] < -0.5).any(-1) | (points[..., :2] > np.array([clip.width, clip.height]) - 0.5).any(-1))
        if outside.any():
            frames = int(outside.any(axis=1).sum())
            findings.warnings.append(f"{layer.kind}: {int(outside.sum())} points in {frames} frames lie outside the image")
        empty = int((~seen.any(axis=1)).sum())
        if empty:
            findings.warnings.append(f"{layer.kind}: {empty} of {layer.num_frames} frames have no detection")


def _check_video(clip: Clip, layer: Layer) -> None:
    media = clip.video(layer)
    if file_sha256(media.path, media.start or 0, media.end) != layer.digest:
        raise InvalidClip(f"{media.path} is not the video that the clip was made of: its sha256 differs")
    for _ in clip.frames():
        pass


def _check_leftovers(clip: Clip, findings: Findings) -> None:
    if not isinstance(clip.store, DirectoryStore):
        return
    hidden = [entry.name for entry in clip.path.iterdir() if entry.name.startswith(".")]
    if hidden:
        findings.warnings.append(f"unfinished work of a running or killed process: {', '.join(sorted(hidden))}")

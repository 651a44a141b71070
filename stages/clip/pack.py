"""Packing a clip into one uncompressed zip, from which frames can be read without unpacking."""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from stages.clip.clip import Clip, open_clip
from stages.clip.create import list_files, require_replaceable
from stages.clip.layers import Layer
from stages.clip.schema import dump
from stages.clip.store import ZipStore
from stages.errors import InputError, InvalidClip, ParametersDiffer
from stages.io.digests import file_sha256
from stages.io.files import building_directory, building_file, exclusive_lock, explain_write_errors

_TIME_STAMP = (1980, 1, 1, 0, 0, 0)
"""The modification time of all members, so that the bytes do not depend on it."""
MAX_MEMBERS = 5_000_000


def pack(path: str | Path, out: str | Path | None = None, overwrite: bool = False) -> Path:
    """Pack the clip directory at `path` into `out` (by default its name with .zip) and return that path.

    The bytes depend only on the clip. If its frames refer to a video, the zip contains the video. If `out` is the same clip, nothing is
    done; for anything else ParametersDiffer is raised unless `overwrite` is set. Raises InputError while another process makes `out`.
    """
    clip = open_clip(path)
    if isinstance(clip.store, ZipStore):
        raise InputError(f"{path} is packed already")
    target = Path(out) if out else Path(os.path.abspath(clip.path)).with_suffix(".zip")
    with exclusive_lock(target, error_type=InputError):
        if overwrite or not _is_same_clip(target, clip):
            _write_zip(clip, target)
    return target


def _write_zip(clip: Clip, target: Path) -> None:
    with (
        building_file(target) as hidden,
        explain_write_errors(target),
        zipfile.ZipFile(hidden, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for name, content in _members(clip):
            _add_member(archive, name, content)


def unpack(path: str | Path, out: str | Path | None = None, overwrite: bool = False) -> Path:
    """Unpack the zip at `path` into the clip directory `out` (by default its name with .clip) and return that path.

    Raises InvalidClip for names that lead out of the directory, compressed members, and members that overlap. Raises InputError while
    another process makes `out`.
    """
    path = Path(path)
    clip = open_clip(path)
    if not isinstance(clip.store, ZipStore):
        raise InputError(f"{path} is not packed")
    target = Path(out) if out else Path(os.path.abspath(path)).with_suffix("" if path.stem.endswith(".clip") else ".clip")
    with exclusive_lock(target, error_type=InputError):
        if overwrite or not _is_same_clip(target, clip):
            require_replaceable(target)
            _require_plausible_sizes(path)
            _write_directory(path, target, overwrite)
    return target


def _write_directory(path: Path, target: Path, overwrite: bool) -> None:
    with building_directory(target, replace=overwrite) as folder, explain_write_errors(target), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                _extract(archive, info, folder / info.filename)


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, target: Path) -> None:
    """Write one member to the file `target`. Raises InvalidClip when its data is damaged."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(info) as source, target.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError) as error:
        raise InvalidClip(f"{archive.filename}: {info.filename} is damaged: {error}") from error


def _is_same_clip(target: Path, clip: Clip) -> bool:
    """Whether `target` exists and is the same clip. Raises ParametersDiffer when it is anything else."""
    if not target.exists():
        return False
    with contextlib.suppress(InputError, InvalidClip):
        if _identity(open_clip(target)) == _identity(clip):
            return True
    raise ParametersDiffer(f"{target} exists and is not this clip", code="output-exists")


def _identity(clip: Clip) -> tuple[object, ...]:
    return clip.meta, {kind: clip.layer(kind).digest for kind in clip.layers()}


def _require_plausible_sizes(path: Path) -> None:
    """Raises InvalidClip when members add up to more bytes than the zip has: they are compressed or overlap."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if len(members) > MAX_MEMBERS or len({info.filename for info in members}) != len(members):
        raise InvalidClip(f"{path} holds too many members, or a name twice")
    if sum(info.file_size for info in members) > path.stat().st_size:
        raise InvalidClip(f"{path} claims to hold more bytes than it has")


def _members(clip: Clip) -> Iterator[tuple[str, Path | bytes]]:
    """(name, path or content) of every file of the zip. If frames refer to a video, the video is included."""
    layer = clip.layer("frames") if clip.has("frames") else None
    if layer is None or layer.storage != "reference":
        yield from list_files(clip)
        return
    for name, content in list_files(clip):
        if name == "frames/layer.json":
            yield from _embed_video(clip, layer)
        else:
            yield name, content


def _embed_video(clip: Clip, layer: Layer) -> Iterator[tuple[str, Path | bytes]]:
    media = clip.video(layer)
    # An untrusted clip may name any file of this machine as its source.
    if file_sha256(media.path, media.start or 0, media.end) != layer.digest:
        raise InputError(f"{media.path} is not the video that {clip.path} was made of: its sha256 differs", hint="Import the video again")
    video = media.path
    name = f"source{video.suffix.lower()}"
    yield "frames/layer.json", dump({**layer.meta, "storage": "video", "file": name, "bytes": video.stat().st_size})
    yield f"frames/{name}", video


def _add_member(archive: zipfile.ZipFile, name: str, content: Path | bytes) -> None:
    info = zipfile.ZipInfo(name, _TIME_STAMP)
    info.create_system = 3
    info.external_attr = 0o100644 << 16
    with contextlib.ExitStack() as stack:
        if isinstance(content, bytes):
            info.file_size = len(content)
            stack.enter_context(archive.open(info, "w")).write(content)
            return
        info.file_size = content.stat().st_size
        source: IO[bytes] = stack.enter_context(content.open("rb"))
        shutil.copyfileobj(source, stack.enter_context(archive.open(info, "w", force_zip64=info.file_size > 1 << 31)), 1 << 20)

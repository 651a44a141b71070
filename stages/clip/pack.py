"""Packs a clip into one uncompressed zip. Any frame can be read from it without unpacking."""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from stages.clip.clip import Clip, open_clip
from stages.clip.create import files_of, require_replaceable
from stages.clip.layers import Layer
from stages.clip.schema import dump
from stages.clip.store import ZipStore
from stages.errors import InputError, InvalidClip, ParametersDiffer
from stages.io.digests import file_sha256
from stages.io.files import alone, building_directory, building_file, write_errors

_THEN = (1980, 1, 1, 0, 0, 0)
MAX_MEMBERS = 5_000_000


def pack(path: str | Path, out: str | Path | None = None, overwrite: bool = False) -> Path:
    """Pack the clip directory at `path` into `out` (by default its name with .zip) and return that path.

    The bytes depend on the clip alone. The source video of frames by reference is put inside, so that the zip is
    complete. The same clip at `out` is kept; anything else there raises ParametersDiffer unless `overwrite` is set. Raises InputError
    while another process makes `out`.
    """
    clip = open_clip(path)
    if isinstance(clip.store, ZipStore):
        raise InputError(f"{path} is packed already")
    target = Path(out) if out else Path(os.path.abspath(clip.path)).with_suffix(".zip")
    with alone(target, refusal=InputError):
        if overwrite or not _is_there(target, clip):
            _pack(clip, target)
    return target


def _pack(clip: Clip, target: Path) -> None:
    with (
        building_file(target) as hidden,
        write_errors(target),
        zipfile.ZipFile(hidden, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for name, content in _members(clip):
            _add(archive, name, content)


def unpack(path: str | Path, out: str | Path | None = None, overwrite: bool = False) -> Path:
    """Unpack the zip at `path` into the clip directory `out` (by default its name with .clip) and return that path.

    Names that lead out of the directory, compressed members and members that overlap are refused with InvalidClip. Raises InputError
    while another process makes `out`.
    """
    path = Path(path)
    clip = open_clip(path)
    if not isinstance(clip.store, ZipStore):
        raise InputError(f"{path} is not packed")
    target = Path(out) if out else Path(os.path.abspath(path)).with_suffix("" if path.stem.endswith(".clip") else ".clip")
    with alone(target, refusal=InputError):
        if overwrite or not _is_there(target, clip):
            require_replaceable(target)
            _require_honest(path)
            _unpack(path, target, overwrite)
    return target


def _unpack(path: Path, target: Path, overwrite: bool) -> None:
    with building_directory(target, replace=overwrite) as folder, write_errors(target), zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                _extract(archive, info, folder / info.filename)


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: Path) -> None:
    """Raises InvalidClip when the member does not match the directory of the zip."""
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(info) as source, place.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except (zipfile.BadZipFile, EOFError, ValueError, RuntimeError) as error:
        raise InvalidClip(f"{archive.filename}: {info.filename} is damaged: {error}") from error


def _is_there(target: Path, clip: Clip) -> bool:
    """Whether the same clip is at `target`. Raises ParametersDiffer for anything else."""
    if not target.exists():
        return False
    with contextlib.suppress(InputError, InvalidClip):
        if _identity(open_clip(target)) == _identity(clip):
            return True
    raise ParametersDiffer(f"{target} exists and is not this clip", code="output-exists")


def _identity(clip: Clip) -> tuple[object, ...]:
    return clip.meta, {kind: clip.layer(kind).digest for kind in clip.layers()}


def _require_honest(path: Path) -> None:
    """An uncompressed zip cannot hold more than its own size; overlapping members would."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if len(members) > MAX_MEMBERS or len({info.filename for info in members}) != len(members):
        raise InvalidClip(f"{path} holds too many members, or a name twice")
    if sum(info.file_size for info in members) > path.stat().st_size:
        raise InvalidClip(f"{path} claims to hold more bytes than it has")


def _members(clip: Clip) -> Iterator[tuple[str, Path | bytes]]:
    """(name, content) of every file to pack; frames by reference become the video itself."""
    layer = clip.layer("frames") if clip.has("frames") else None
    if layer is None or layer.storage != "reference":
        yield from files_of(clip)
        return
    for name, content in files_of(clip):
        if name == "frames/layer.json":
            yield from _embedded(clip, layer)
        else:
            yield name, content


def _embedded(clip: Clip, layer: Layer) -> Iterator[tuple[str, Path | bytes]]:
    media = clip.video(layer)
    # An untrusted clip may name any file of this machine as its source.
    if file_sha256(media.path, media.start or 0, media.end) != layer.digest:
        raise InputError(f"{media.path} is not the video that {clip.path} was made of: its sha256 differs", hint="Import the video again")
    video = media.path
    name = f"source{video.suffix.lower()}"
    yield "frames/layer.json", dump({**layer.meta, "storage": "video", "file": name, "bytes": video.stat().st_size})
    yield f"frames/{name}", video


def _add(archive: zipfile.ZipFile, name: str, content: Path | bytes) -> None:
    info = zipfile.ZipInfo(name, _THEN)
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

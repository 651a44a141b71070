"""Where the files of a clip lie: in a directory, or in one uncompressed zip."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path, PurePosixPath
from typing import Protocol

from stages.clip.ffmpeg import Media
from stages.errors import BadInput, InvalidClip

MAX_FILE = 4 << 30
"""Largest file that is read into memory, in bytes."""


class Store(Protocol):
    """Files by their name relative to the clip, with / between the parts."""

    path: Path

    def names(self, folder: str = "") -> list[str]:
        """Files and folders directly in `folder`, hidden ones left out, sorted."""

    def exists(self, name: str) -> bool: ...

    def read(self, name: str) -> bytes:
        """The whole file. Raises InvalidClip when it is not there or too large."""

    def size(self, name: str) -> int: ...

    def media(self, name: str) -> Media:
        """The file as ffmpeg can open it."""


class DirectoryStore:
    """A clip directory."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def names(self, folder: str = "") -> list[str]:
        root = self.path / folder
        return sorted(entry.name for entry in root.iterdir() if not entry.name.startswith(".")) if root.is_dir() else []

    def exists(self, name: str) -> bool:
        return (self.path / name).is_file()

    def read(self, name: str) -> bytes:
        try:
            if self.size(name) > MAX_FILE:
                raise InvalidClip(f"{self.path / name} is larger than {MAX_FILE >> 30} GiB")
            return (self.path / name).read_bytes()
        except FileNotFoundError as error:
            raise InvalidClip(f"{self.path / name} is missing") from error
        except OSError as error:
            raise BadInput(f"{self.path / name} cannot be read: {error.strerror}") from error

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size

    def media(self, name: str) -> Media:
        return Media(self.path / name)


class ZipStore:
    """A packed clip. The zip is opened anew in each process: forked ones would share one position in the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open()

    def _open(self) -> None:
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
            raise InvalidClip(f"{self.path} is not a readable zip: {error}") from error
        self._process = os.getpid()
        self._members = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        for name, info in self._members.items():
            if not is_safe_name(name):
                raise InvalidClip(f"{self.path} holds the unsafe name {name!r}")
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise InvalidClip(f"{self.path}: {name} is compressed or encrypted; a packed clip is an uncompressed zip")

    def __getstate__(self) -> Path:
        return self.path

    def __setstate__(self, path: Path) -> None:
        self.path = path
        self._open()

    def names(self, folder: str = "") -> list[str]:
        prefix = f"{folder}/" if folder else ""
        found = {name[len(prefix) :].split("/")[0] for name in self._members if name.startswith(prefix)}
        return sorted(name for name in found if not name.startswith("."))

    def exists(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        if self.size(name) > MAX_FILE:
            raise InvalidClip(f"{self.path}: {name} is larger than {MAX_FILE >> 30} GiB")
        if os.getpid() != self._process:
            self._open()
        try:
            return self._zip.read(name)
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise InvalidClip(f"{self.path}: {name} is damaged: {error}") from error

    def size(self, name: str) -> int:
        if name not in self._members:
            raise InvalidClip(f"{self.path}: {name} is missing")
        return self._members[name].file_size

    def media(self, name: str) -> Media:
        size, header = self.size(name), self._members[name].header_offset
        with self.path.open("rb") as file:
            file.seek(header + 26)  # lengths of name and extra field in the local header of 30 bytes
            name_length, extra_length = struct.unpack("<HH", file.read(4))
        start = header + 30 + name_length + extra_length
        return Media(self.path, start, start + size)


def is_safe_name(name: str) -> bool:
    """No absolute path, no .., no backslash, no drive letter, no empty part."""
    parts = name.rstrip("/").split("/")
    strange = "\\" in name or ":" in name or PurePosixPath(name).is_absolute()
    return bool(name) and not strange and not {"", ".", ".."} & set(parts)


def open_store(path: Path) -> Store:
    """The store at `path`. Raises BadInput when nothing is there, InvalidClip when it is not a clip."""
    if path.is_dir():
        return DirectoryStore(path)
    if path.is_file():
        if not zipfile.is_zipfile(path):
            raise InvalidClip(f"{path} is neither a clip directory nor a packed clip")
        return ZipStore(path)
    raise BadInput(f"{path} does not exist")

"""Storage of a clip's files: a directory, or one uncompressed zip."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from stages.clip.ffmpeg import Media
from stages.errors import DAMAGED, InputError, InvalidClip

MAX_FILE = 4 << 30
"""Largest file that is read into memory, in bytes."""
T = TypeVar("T")


class Store(Protocol):
    """Files by their name relative to the clip, with / between the parts."""

    path: Path

    def names(self, folder: str = "") -> list[str]:
        """Files and folders directly in `folder`, hidden ones left out, sorted."""

    def exists(self, name: str) -> bool: ...

    def read(self, name: str) -> bytes:
        """The whole file. Raises InvalidClip when it is missing or too large."""

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
            raise InputError(f"{self.path / name} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise InvalidClip(f"{self.path} names a file that cannot exist: {name!r}") from error

    def size(self, name: str) -> int:
        return (self.path / name).stat().st_size

    def media(self, name: str) -> Media:
        return Media(self.path / name)


class _Member(NamedTuple):
    """A file in a zip: where its header begins, its size in bytes, and its checksum."""

    header: int
    size: int
    crc: int


class ZipStore:
    """A packed clip. No file stays open, so thousands of clips can be in use at once, and threads and processes share nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members: dict[str, _Member] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                length = path.stat().st_size
                for info in archive.infolist():
                    self._enter(info, length)
        except DAMAGED as error:
            raise InvalidClip(f"{path} is not a readable zip: {error}") from error

    def _enter(self, info: zipfile.ZipInfo, length: int) -> None:
        if info.is_dir():
            return
        if not is_safe_name(info.filename):
            raise InvalidClip(f"{self.path} holds the unsafe name {info.filename!r}")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise InvalidClip(f"{self.path}: {info.filename} is compressed or encrypted; a packed clip is an uncompressed zip")
        if info.header_offset + info.file_size > length:
            raise InvalidClip(f"{self.path}: {info.filename} claims to be larger than the zip")
        self._members[info.filename] = _Member(info.header_offset, info.file_size, info.CRC)

    def __reduce__(self) -> tuple[Any, ...]:  # small, however many members there are
        return ZipStore, (self.path,)

    def names(self, folder: str = "") -> list[str]:
        prefix = f"{folder}/" if folder else ""
        found = {name[len(prefix) :].split("/")[0] for name in self._members if name.startswith(prefix)}
        return sorted(name for name in found if not name.startswith("."))

    def exists(self, name: str) -> bool:
        return name in self._members

    def read(self, name: str) -> bytes:
        if self.size(name) > MAX_FILE:
            raise InvalidClip(f"{self.path}: {name} is larger than {MAX_FILE >> 30} GiB")
        return self._look(name, _content)

    def size(self, name: str) -> int:
        if name not in self._members:
            raise InvalidClip(f"{self.path}: {name} is missing")
        return self._members[name].size

    def media(self, name: str) -> Media:
        size = self.size(name)
        start = self._look(name, _place)
        return Media(self.path, start, start + size)

    def _look(self, name: str, find: Callable[[BinaryIO, _Member], T]) -> T:
        try:
            with self.path.open("rb") as file:
                return find(file, self._members[name])
        except (OSError, EOFError) as error:
            raise InvalidClip(f"{self.path}: {name} is damaged: {error}") from error


def _place(file: BinaryIO, member: _Member) -> int:
    """Where the content of a member begins: after its local header of 30 bytes, its name and an extra field."""
    file.seek(member.header + 26)
    lengths = file.read(4)
    if len(lengths) < 4:
        raise EOFError("the zip breaks off before it")
    name_length, extra_length = map(int, struct.unpack("<HH", lengths))
    return member.header + 30 + name_length + extra_length


def _content(file: BinaryIO, member: _Member) -> bytes:
    """The whole content of a member. Raises EOFError when it is damaged."""
    file.seek(_place(file, member))
    data = file.read(member.size)
    if len(data) < member.size:
        raise EOFError("the zip breaks off in it")
    if zlib.crc32(data) != member.crc:
        raise EOFError("its checksum is wrong")
    return data


def is_safe_name(name: str) -> bool:
    """No absolute path, no .., no backslash, no drive letter, no empty part."""
    parts = name.rstrip("/").split("/")
    strange = "\\" in name or ":" in name or name.startswith("/")
    return bool(name) and not strange and not {"", ".", ".."} & set(parts)


def open_store(path: Path) -> Store:
    """The store at `path`. Raises InputError when it does not exist, InvalidClip when it is not a clip."""
    try:
        if path.is_dir():
            return DirectoryStore(path)
        if path.is_file():
            if not zipfile.is_zipfile(path):
                raise InvalidClip(f"{path} is neither a clip directory nor a packed clip")
            return ZipStore(path)
    except OSError as error:  # such as a name that is too long
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    raise InputError(f"{path} does not exist")

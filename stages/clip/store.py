"""Storage of a clip's files: a directory, or one uncompressed zip."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol, TypeVar

from stages.clip.ffmpeg import Media
from stages.errors import READ_ERRORS, InputError, InvalidClip

MAX_FILE = 4 << 30
"""Largest file that is read into memory, in bytes."""
Result = TypeVar("Result")


class Store(Protocol):
    """The files of a clip by name: the path relative to the clip, with / as separator."""

    path: Path

    def names(self, folder: str = "") -> list[str]:
        """The names of the files and folders directly in `folder`, sorted, without hidden ones."""

    def exists(self, name: str) -> bool: ...

    def read(self, name: str) -> bytes:
        """The whole file. Raises InvalidClip when it is missing or too large."""

    def size(self, name: str) -> int: ...

    def media(self, name: str) -> Media:
        """The file as an input of ffmpeg."""


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
    """A file in a zip. header: the offset of its header; size: in bytes; crc: its checksum."""

    header: int
    size: int
    crc: int


class ZipStore:
    """A packed clip. No file stays open, so that thousands of clips can be in use, also in several threads and processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members: dict[str, _Member] = {}
        try:
            with zipfile.ZipFile(path) as archive:
                zip_size = path.stat().st_size
                for info in archive.infolist():
                    self._add_member(info, zip_size)
        except READ_ERRORS as error:
            raise InvalidClip(f"{path} is not a readable zip: {error}") from error

    def _add_member(self, info: zipfile.ZipInfo, zip_size: int) -> None:
        if info.is_dir():
            return
        if not is_safe_name(info.filename):
            raise InvalidClip(f"{self.path} holds the unsafe name {info.filename!r}")
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise InvalidClip(f"{self.path}: {info.filename} is compressed or encrypted; a packed clip is an uncompressed zip")
        if info.header_offset + info.file_size > zip_size:
            raise InvalidClip(f"{self.path}: {info.filename} claims to be larger than the zip")
        self._members[info.filename] = _Member(info.header_offset, info.file_size, info.CRC)

    def __reduce__(self) -> tuple[Any, ...]:  # pickles only the path, since there may be many members
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
        return self._with_file(name, _read_content)

    def size(self, name: str) -> int:
        if name not in self._members:
            raise InvalidClip(f"{self.path}: {name} is missing")
        return self._members[name].size

    def media(self, name: str) -> Media:
        size = self.size(name)
        start = self._with_file(name, _content_offset)
        return Media(self.path, start, start + size)

    def _with_file(self, name: str, read: Callable[[BinaryIO, _Member], Result]) -> Result:
        try:
            with self.path.open("rb") as file:
                return read(file, self._members[name])
        except (OSError, EOFError) as error:
            raise InvalidClip(f"{self.path}: {name} is damaged: {error}") from error


def _content_offset(file: BinaryIO, member: _Member) -> int:
    """The offset of the content of a member. It follows a local header of 30 bytes, the name and an extra field."""
    file.seek(member.header + 26)
    lengths = file.read(4)
    if len(lengths) < 4:
        raise EOFError("the zip ends before it")
    name_length, extra_length = map(int, struct.unpack("<HH", lengths))
    return member.header + 30 + name_length + extra_length


def _read_content(file: BinaryIO, member: _Member) -> bytes:
    """The whole content of a member. Raises EOFError when it is damaged."""
    file.seek(_content_offset(file, member))
    data = file.read(member.size)
    if len(data) < member.size:
        raise EOFError("the zip ends within it")
    if zlib.crc32(data) != member.crc:
        raise EOFError("its checksum is wrong")
    return data


def is_safe_name(name: str) -> bool:
    """Whether a name has no leading slash, no part that is empty, "." or "..", no backslash and no colon."""
    parts = name.rstrip("/").split("/")
    is_unsafe = "\\" in name or ":" in name or name.startswith("/")
    return bool(name) and not is_unsafe and not {"", ".", ".."} & set(parts)


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

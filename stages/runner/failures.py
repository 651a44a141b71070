"""The list of failed inputs, in the form in which they are read again: `fsv2v extract-poses - --failures again.txt < again.txt`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import BinaryIO

from stages.errors import UsageError
from stages.io.files import building_file

try:
    import fcntl
except ImportError:  # not a POSIX system: two runs that write one list are not detected
    fcntl = None  # type: ignore[assignment]


class FailureList:
    """During a run the file at `path` holds its earlier content and the failures of this run so far; at the end only the latter.

    So a killed run loses nothing, and a run may read its inputs from the same file: the file that it writes is another inode from the
    start. One path per line; `separator` is NUL for paths with line breaks. A path that is not a regular file, such as a pipe, is only
    written to. Raises UsageError when the file cannot be written or another run writes it.
    """

    def __init__(self, path: str | Path, separator: bytes = b"\n") -> None:
        self._path, self._separator = Path(path), separator
        try:
            self._regular = self._path.is_file() or not self._path.exists()
            if self._regular:
                self._start()
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from error
        self._lock(self._file.fileno())
        self._before = self._path.stat().st_size

    def add(self, source: str) -> None:
        """Append a failed input at once, so that a killed process loses nothing."""
        try:
            self._file.write(os.fsencode(source) + self._separator)
        except OSError as error:
            raise self._unwritable(error) from error

    def complete(self) -> None:
        """All inputs have been tried: forget the earlier failures."""
        if self._regular and self._before:
            with building_file(self._path) as own, own.open("wb") as target, self._path.open("rb") as source:
                source.seek(self._before)
                shutil.copyfileobj(source, target)

    def close(self) -> None:
        self._file.close()

    def _start(self) -> None:
        """Replace the file by a copy of itself that ends with a separator. A link stays a link."""
        self._path = self._path.resolve()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+b") as earlier:
            self._lock(earlier.fileno())
            earlier.seek(0)
            with building_file(self._path) as copy, copy.open("wb") as target:
                shutil.copyfileobj(earlier, target)
                target.write(self._separator if _unfinished(earlier, self._separator) else b"")

    def _lock(self, descriptor: int) -> None:
        if fcntl is None or not self._regular:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"Another run writes its failures to {self._path}", hint="Name a file of its own for each run") from error
        except OSError:  # a file system without locks
            return

    def _unwritable(self, error: OSError) -> UsageError:
        return UsageError(f"The list of failures {self._path} cannot be written: {error.strerror}", hint="Name another file")


def _unfinished(file: BinaryIO, separator: bytes) -> bool:
    """Whether the last path of a list lacks its separator. Leaves the position at the end."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != separator

"""The list of failed inputs, which can be read as inputs again: `fsv2v extract-poses - --failures again.txt < again.txt`."""

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
    """The file at `path`: during a run the earlier failures and those of this run so far, at the end only those of this run.

    So nothing is lost if a run is killed. A run may read its inputs from the same path, since it writes to a new file (another inode).
    Each path ends with `separator`: a newline, or NUL for paths with newlines. If `path` is not a regular file but, for example, a pipe,
    the failures of this run are written to it. Raises UsageError when the file cannot be written or another run writes it.
    """

    def __init__(self, path: str | Path, separator: bytes = b"\n") -> None:
        self._path, self._separator = Path(path), separator
        try:
            self._regular = self._path.is_file() or not self._path.exists()
            if self._regular:
                self._copy_earlier()
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable_error(error) from error
        self._lock(self._file.fileno())
        self._earlier_bytes = self._path.stat().st_size

    def add(self, source: str) -> None:
        """Append a failed input, without buffering."""
        try:
            self._file.write(os.fsencode(source) + self._separator)
        except OSError as error:
            raise self._unwritable_error(error) from error

    def complete(self) -> None:
        """Remove the earlier failures, after all inputs have been processed."""
        if self._regular and self._earlier_bytes:
            with building_file(self._path) as new_list, new_list.open("wb") as target, self._path.open("rb") as source:
                source.seek(self._earlier_bytes)
                shutil.copyfileobj(source, target)

    def close(self) -> None:
        self._file.close()

    def _copy_earlier(self) -> None:
        """Replace the file by a copy that ends with a separator. A link is kept, and its target is replaced."""
        self._path = self._path.resolve()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a+b") as earlier:
            self._lock(earlier.fileno())
            earlier.seek(0)
            with building_file(self._path) as copy, copy.open("wb") as target:
                shutil.copyfileobj(earlier, target)
                target.write(self._separator if _lacks_separator(earlier, self._separator) else b"")

    def _lock(self, descriptor: int) -> None:
        if fcntl is None or not self._regular:
            return
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"Another run writes its failures to {self._path}", hint="Name a file of its own for each run") from error
        except OSError:  # a file system without locks
            return

    def _unwritable_error(self, error: OSError) -> UsageError:
        return UsageError(f"The list of failures {self._path} cannot be written: {error.strerror}", hint="Name another file")


def _lacks_separator(file: BinaryIO, separator: bytes) -> bool:
    """Whether the last path in a file lacks its separator. Afterwards the position is at the end of the file."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != separator

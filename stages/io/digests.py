"""Digests of files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from stages.errors import InputError


def file_sha256(path: Path, start: int = 0, end: int | None = None) -> str:
    """sha256 of the bytes [start, end) of a file. The file may be larger than the memory.

    Raises InputError when the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            file.seek(start)
            stop = path.stat().st_size if end is None else end
            while piece := file.read(min(1 << 20, stop - file.tell())):
                digest.update(piece)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return digest.hexdigest()

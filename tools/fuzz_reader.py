"""A reader of fsv2v that the fuzzer tests, with the valid files that are changed for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.errors import Fsv2vError

Files = dict[str, bytes]
"""Path in the folder of a read -> content."""


@dataclass(frozen=True)
class Reader:
    """valid_files: called with a folder that does not exist, in which it may make files; returns valid files. read: reads the folder that
    contains them. only: endings of the names of files that are changed. refusals: the errors that a read may raise."""

    valid_files: Callable[[Path], Files]
    read: Callable[[Path], object]
    only: tuple[str, ...] = ("",)
    refusals: tuple[type[Exception], ...] = (Fsv2vError,)


def read_files(folder: Path) -> Files:
    """All files below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

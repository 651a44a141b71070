"""What the fuzzer reads: a reader of fsv2v, and the sound files that are changed for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stages.errors import Fsv2vError

Files = dict[str, bytes]
"""Name in the folder of a read -> content."""


@dataclass(frozen=True)
class Reader:
    """sound: the files that changes start from; read: reads the folder that holds them; only: name endings of what is changed; refusals:
    the errors that a read may end with."""

    sound: Callable[[Path], Files]
    read: Callable[[Path], object]
    only: tuple[str, ...] = ("",)
    refusals: tuple[type[Exception], ...] = (Fsv2vError,)


def all_of(folder: Path) -> Files:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}

"""What can go wrong, as sentences: what happened, to which file, what to do next.

Every error that a user can cause derives from `Fsv2vError`; its `exit_code` is the contract with shell scripts
(0 done, 1 unexpected, 2 usage, 3 some clips failed, 4 missing requirement, 5 invalid clip, 130 interrupted).
"""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

DAMAGED = (
    OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RuntimeError, EOFError, MemoryError, SyntaxError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError,
)  # fmt: skip
"""What the readers of Python, numpy and Pillow raise for content that is not what it should be. RuntimeError: nested or encrypted."""


class Fsv2vError(Exception):
    """Base of all errors that are reported without a traceback."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        message = super().__str__()
        return f"{message}. {self.hint}" if self.hint else message

    def __reduce__(self) -> tuple[Any, ...]:  # keeps `hint` when an error crosses a process border
        return (_rebuild, (type(self), self.args[0], self.hint))


def was_interrupted(error: Exception) -> bool:
    """Whether Ctrl-C came while a module written in C was being loaded: it makes an ImportError of that."""
    return isinstance(error, ImportError) and isinstance(error.__cause__, KeyboardInterrupt)


def _rebuild(kind: type[Fsv2vError], message: str, hint: str) -> Fsv2vError:
    return kind(message, hint=hint)


class UsageError(Fsv2vError):
    """The request itself makes no sense: contradictory options, nothing to do."""

    exit_code = 2


class InputError(Fsv2vError):
    """One input cannot be used; other inputs go on."""

    exit_code = 3


class NoDetection(InputError):
    """No face, person or object was found where one is needed."""


class ParametersDiffer(InputError):
    """A finished output exists that other inputs or parameters made."""


class InProgress(InputError):
    """Another process makes the output `target` now, or has finished one (then it is None) since it was looked for."""

    target: Path | None = None


class MissingRequirement(Fsv2vError):
    """A package, a weight file or ffmpeg is missing."""

    exit_code = 4


class InvalidClip(Fsv2vError):
    """A clip is damaged, inconsistent or of a newer format."""

    exit_code = 5

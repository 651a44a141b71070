"""What can go wrong, as sentences: what happened, to which file, what to do next.

No sentence of the library names an option or a command: the command line adds its own hints, by an error's `code`
(fsv2v_cli/hints.py).

Every error that a user can cause derives from `Fsv2vError`; its `exit_code` is the contract with shell scripts
(0 done, 1 unexpected, 2 usage, 3 some clips failed, 4 missing requirement, 5 invalid clip, 130 interrupted).
"""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DAMAGED = (
    OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RuntimeError, EOFError, MemoryError, SyntaxError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError,
)  # fmt: skip
"""What the readers of Python, numpy and Pillow raise for content that is not what it should be. RuntimeError: nested or encrypted."""


class Sentence(str):
    """What a user is told, and what is known about it: `message`, then `hint`, if there is one.

    `code` is a stable identifier of what it is about, and `facts` are the values that the sentence mentions. A program with terms of its
    own, such as the command line, can replace the hint: it finds its own by the code and words it from the facts.
    """

    message: str
    hint: str
    code: str
    facts: Mapping[str, Any]

    def __new__(cls, message: str, *, hint: str = "", code: str = "", facts: Mapping[str, Any] | None = None) -> Sentence:
        made = super().__new__(cls, f"{message}. {hint}" if hint else message)
        made.message, made.hint, made.code, made.facts = message, hint, code, dict(facts or {})
        return made


def prefixed(prefix: str, text: str) -> str:
    """`prefix` and `text` as one sentence, which keeps the code, the facts and the hint of `text`."""
    if not isinstance(text, Sentence):
        return prefix + text
    return Sentence(prefix + text.message, hint=text.hint, code=text.code, facts=text.facts)


class Fsv2vError(Exception):
    """Base of all errors that are reported without a traceback.

    message: one sentence without its full stop, in terms of the library. hint: what to do next, if a caller in Python can do it.
    code: a stable identifier in lower case with hyphens, by which programs tell errors apart; by default the code of the class. facts:
    values that the message is about: numbers, strings and lists of strings.
    """

    exit_code = 1
    code = "error"

    def __init__(self, message: str, *, hint: str = "", code: str = "", facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code or type(self).code
        self.facts: Mapping[str, Any] = dict(facts or {})

    @classmethod
    def of(cls, text: str) -> Fsv2vError:
        """The error that says `text`, with its code, facts and hint if it is a Sentence."""
        return cls(text.message, hint=text.hint, code=text.code, facts=text.facts) if isinstance(text, Sentence) else cls(text)

    @property
    def message(self) -> str:
        """The sentence without its hint."""
        return str(self.args[0])

    @property
    def sentence(self) -> Sentence:
        """All that it says; `str` of the error is the same."""
        return Sentence(self.message, hint=self.hint, code=self.code, facts=self.facts)

    def __str__(self) -> Sentence:
        return self.sentence

    def __reduce__(self) -> tuple[Any, ...]:  # keeps all of it when an error crosses a process border
        return (_rebuild, (type(self), self.message, self.hint, self.code, self.facts))


def was_interrupted(error: Exception) -> bool:
    """Whether Ctrl-C came while a module written in C was being loaded: it makes an ImportError of that."""
    return isinstance(error, ImportError) and isinstance(error.__cause__, KeyboardInterrupt)


def _rebuild(kind: type[Fsv2vError], message: str, hint: str, code: str, facts: Mapping[str, Any]) -> Fsv2vError:
    return kind(message, hint=hint, code=code, facts=facts)


class UsageError(Fsv2vError):
    """The request itself makes no sense: contradictory options, nothing to do."""

    exit_code = 2
    code = "usage"


class InputError(Fsv2vError):
    """One input cannot be used; other inputs go on."""

    exit_code = 3
    code = "input"


class NoDetection(InputError):
    """No face, person or object was found where one is needed."""

    code = "no-detection"


class ParametersDiffer(InputError):
    """A finished output exists that other inputs or parameters made."""

    code = "parameters-differ"


class InProgress(InputError):
    """Another process makes the output `target` now, or has finished one (then it is None) since it was looked for."""

    code = "in-progress"
    target: Path | None = None


class MissingRequirement(Fsv2vError):
    """A package, a weight file or ffmpeg is missing."""

    exit_code = 4
    code = "missing-requirement"


class InvalidClip(Fsv2vError):
    """A clip is damaged, inconsistent or of a newer format."""

    exit_code = 5
    code = "invalid-clip"

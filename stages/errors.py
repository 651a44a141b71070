"""Errors, whose messages say what happened, to which file, and what to do next.

The library's messages name no option and no command. The command line adds its own hints, which it finds by an error's `code`
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

READ_ERRORS = (
    OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RuntimeError, EOFError, MemoryError, SyntaxError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError,
)  # fmt: skip
"""What Python, numpy and Pillow raise for damaged files. RuntimeError: a zip is encrypted, or JSON is nested too deeply."""


class Sentence(str):
    """A message for users as text: `message`, then `hint`, if there is one.

    `code` is a stable identifier of the situation, and `facts` are the values that the message mentions. A caller, such as the command
    line, can replace the hint with one of its own: it chooses it by the code and fills in the facts.
    """

    message: str
    hint: str
    code: str
    facts: Mapping[str, Any]

    def __new__(cls, message: str, *, hint: str = "", code: str = "", facts: Mapping[str, Any] | None = None) -> Sentence:
        sentence = super().__new__(cls, f"{message}. {hint}" if hint else message)
        sentence.message, sentence.hint, sentence.code, sentence.facts = message, hint, code, dict(facts or {})
        return sentence


def add_prefix(prefix: str, text: str) -> str:
    """`prefix` followed by `text`, with the code, the facts and the hint of `text`."""
    if not isinstance(text, Sentence):
        return prefix + text
    return Sentence(prefix + text.message, hint=text.hint, code=text.code, facts=text.facts)


class Fsv2vError(Exception):
    """Base of all errors that are reported without a traceback.

    message: one sentence without its full stop, in terms of the library. hint: what to do next, if a caller in Python can do it.
    code: a stable identifier in lower case with hyphens, by which programs distinguish errors; by default the code of the class.
    facts: the values in the message, which are numbers, strings and lists of strings.
    """

    exit_code = 1
    code = "error"

    def __init__(self, message: str, *, hint: str = "", code: str = "", facts: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.hint = hint
        self.code = code or type(self).code
        self.facts: Mapping[str, Any] = dict(facts or {})

    @classmethod
    def from_text(cls, text: str) -> Fsv2vError:
        """An error with the message `text`, and with its code, facts and hint if it is a Sentence."""
        return cls(text.message, hint=text.hint, code=text.code, facts=text.facts) if isinstance(text, Sentence) else cls(text)

    @property
    def message(self) -> str:
        """The sentence without its hint."""
        return str(self.args[0])

    @property
    def sentence(self) -> Sentence:
        """The message with the hint, the code and the facts; `str` of the error is the same."""
        return Sentence(self.message, hint=self.hint, code=self.code, facts=self.facts)

    def __str__(self) -> Sentence:
        return self.sentence

    def __reduce__(self) -> tuple[Any, ...]:  # so that an error from another process keeps all fields
        return (_rebuild, (type(self), self.message, self.hint, self.code, self.facts))


def was_interrupted(error: Exception) -> bool:
    """Whether the error stems from Ctrl-C: if it arrives while a C extension is imported, Python raises ImportError instead."""
    return isinstance(error, ImportError) and isinstance(error.__cause__, KeyboardInterrupt)


def _rebuild(kind: type[Fsv2vError], message: str, hint: str, code: str, facts: Mapping[str, Any]) -> Fsv2vError:
    return kind(message, hint=hint, code=code, facts=facts)


class UsageError(Fsv2vError):
    """The request makes no sense: contradictory options, or nothing to do."""

    exit_code = 2
    code = "usage"


class SharedInputError(UsageError):
    """An input that all results of a run share cannot be used, so that none of them can be made."""

    exit_code = 3
    code = "shared-input"


class InputError(Fsv2vError):
    """One input cannot be used; the run continues with the others."""

    exit_code = 3
    code = "input"


class NoDetection(InputError):
    """No face, person or object was found, and one is needed."""

    code = "no-detection"


class ParametersDiffer(InputError):
    """A finished output exists that was made from other inputs or with other parameters."""

    code = "parameters-differ"


class InProgress(InputError):
    """Another process is making the output `target`. `target` is None if the other process has already finished it."""

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

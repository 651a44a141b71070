"""Read the file that the page of a study writes for one worker. It is untrusted input and is checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.errors import InputError
from stages.evaluate.study.key import Key, Question
from stages.io.reading import parse_json

SCHEMA = "fsv2v.answers/1"
MAX_NAME = 100
"""Characters of a worker's name, or of a completion code."""
_HINT = "Leave the file out, or ask the worker for the file that the page offers for download"


@dataclass(frozen=True)
class Choice:
    """The answer to a question.

    first: the first of the question's `videos` was chosen: that of the first method or, in a catch question, the intact one.
    left: the chosen video was video 1 on the page.
    seconds: from the start of the videos to the choice.
    """

    question: Question
    first: bool
    left: bool
    seconds: float


@dataclass(frozen=True)
class Answers:
    """The choices of one worker for all questions of a block; code: the completion code that the page showed."""

    file: str
    worker: str
    code: str
    choices: tuple[Choice, ...]

    def of(self, kind: str) -> list[Choice]:
        """The choices in questions of this kind, "pair" or "catch"."""
        return [choice for choice in self.choices if choice.question.kind == kind]


def study_of(path: Path) -> str:
    """The id of the study that a file answers."""
    return str(_read(path)["study"])


def read_all(paths: Sequence[Path], key: Key) -> tuple[list[Answers], list[str]]:
    """(the answers of each worker, the files that repeat one of them). Raises InputError when a worker's files contradict each other."""
    found: dict[str, Answers] = {}
    repeated = []
    for path in paths:
        answers = read_answers(path, key)
        earlier = found.setdefault(answers.worker, answers)
        if (earlier.code, earlier.choices) != (answers.code, answers.choices):
            raise InputError(f"{earlier.file} and {path} are different answers of worker {answers.worker}", hint="Leave one of them out")
        if earlier is not answers:
            repeated.append(str(path))
    return list(found.values()), repeated


def read_answers(path: Path, key: Key) -> Answers:
    """Read a file. Raises InputError if it is not a valid file of this study."""
    stored = _read(path)
    if stored["study"] != key.study:
        raise InputError(f"{path} answers another study ({stored['study']}, not {key.study})", hint="Score each study by itself")
    questions = {question.id: question for question in key.questions}
    try:
        choices = sorted((_parse_choice(row, questions) for row in stored["answers"]), key=lambda choice: choice.question.id)
        worker, code = _printable(stored["worker"]), _printable(stored["code"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f"{path} is damaged: {error}", hint=_HINT) from error
    answered = tuple(choice.question.id for choice in choices)
    if len(set(answered)) < len(answered):
        raise InputError(f"{path} answers a question twice", hint=_HINT)
    if answered not in key.blocks:
        shortest, longest = min(map(len, key.blocks)), max(map(len, key.blocks))
        expected = str(shortest) if shortest == longest else f"{shortest} to {longest}"
        raise InputError(
            f"{path} does not answer one block of questions: it has {len(answered)} answers, a block has {expected}", hint=_HINT
        )
    return Answers(str(path), worker, code, tuple(choices))


def _read(path: Path) -> dict[str, Any]:
    try:
        stored = parse_json(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON", hint=_HINT) from error
    if not isinstance(stored, dict) or "study" not in stored:
        raise InputError(f"{path} holds no answers of a study", hint=_HINT)
    if stored.get("schema") != SCHEMA:
        raise InputError(f"{path} has the format {stored.get('schema')}, this version reads {SCHEMA}")
    return stored


def _parse_choice(row: Mapping[str, Any], questions: Mapping[str, Question]) -> Choice:
    """Raises ValueError, KeyError, TypeError or OverflowError for an invalid row, such as one that chooses neither video."""
    if row["question"] not in questions:
        raise ValueError(f"there is no question {row['question']!r}")
    question = questions[row["question"]]
    videos, chosen, seconds = row["shown"], row["chosen"], row["seconds"]
    if sorted(videos) != sorted(question.videos):
        raise ValueError(f"question {question.id} has other videos")
    if chosen not in videos:
        raise ValueError(f"question {question.id} is answered by {chosen!r}, which is neither of its two videos")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 <= seconds < math.inf:
        raise ValueError(f"question {question.id} took {seconds!r} seconds")
    return Choice(question, chosen == question.videos[0], chosen == videos[0], float(seconds))


def _printable(value: Any) -> str:
    """A name or a code, with characters that cannot be printed escaped."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_NAME:
        raise ValueError(f"{value!r:.100} is not a name")
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in value)

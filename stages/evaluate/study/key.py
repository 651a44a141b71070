"""The key of a study: which method made which of the anonymous videos. It is not part of the site. Answers cannot be scored without it."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from stages.errors import InputError
from stages.io.files import write_atomically
from stages.io.reading import parse_object

SCHEMA = "fsv2v.study/1"


@dataclass(frozen=True)
class Question:
    """Two videos to choose from, by their names in the site.

    videos: those of the first and of the second method; in a catch question that of method number `of`, 0 or 1, and its broken
    copy.
    reference: the name of the reference, or "".
    """

    id: str
    clip: str
    kind: Literal["pair", "catch"]
    videos: tuple[str, str]
    reference: str = ""
    of: int = 0


@dataclass(frozen=True)
class Key:
    """The key of a study. study: its id, which is also in the answers; methods: the names of the two methods; blocks: the ids of the
    questions for each worker; request: the videos and options of the study."""

    study: str
    methods: tuple[str, str]
    questions: tuple[Question, ...]
    blocks: tuple[tuple[str, ...], ...]
    request: Mapping[str, Any]

    def write(self, path: Path) -> None:
        text = json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1)
        write_atomically(path, text.encode() + b"\n")


def draw_key(
    methods: tuple[str, str], clips: Sequence[str], catch: int, per_worker: int, with_reference: bool, request: Mapping[str, Any]
) -> Key:
    """Make a key with new random names.

    There is one question for each clip, and `catch` more that show a video of one method beside its broken copy. A worker gets a block of
    about `per_worker` clips (0: all clips) and all catch questions.
    """

    def reference_name() -> str:
        return _random_name() if with_reference else ""

    rng = random.SystemRandom()
    pairs = [Question(_random_name(), clip, "pair", (_random_name(), _random_name()), reference_name()) for clip in clips]
    videos = rng.sample([(clip, method) for clip in clips for method in (0, 1)], 2 * len(clips))
    chosen = [videos[index % len(videos)] for index in range(catch)]
    catches = [
        Question(_random_name(), clip, "catch", (_random_name(), _random_name()), reference_name(), method) for clip, method in chosen
    ]
    shuffled = rng.sample(pairs, len(pairs))
    count = -(-len(pairs) // per_worker) if per_worker else 1
    blocks = tuple(tuple(sorted(question.id for question in [*shuffled[index::count], *catches])) for index in range(count))
    return Key(_random_name(), methods, tuple([*pairs, *catches]), blocks, request)


def _random_name() -> str:
    return secrets.token_hex(8)


def read_key(path: Path) -> Key:
    """Read a key. Raises InputError when the file does not exist or is not a key."""
    try:
        stored = parse_object(path.read_text(encoding="utf-8-sig"))
        if stored["schema"] != SCHEMA:
            raise InputError(f"{path} has the format {stored['schema']}, this version reads {SCHEMA}")
        questions = tuple(Question(**{**question, "videos": tuple(question["videos"])}) for question in stored["questions"])
        blocks = tuple(map(tuple, stored["blocks"]))
        key = Key(stored["study"], tuple(stored["methods"]), questions, blocks, stored["request"])
        _require_valid(key)
        return key
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not the key of a study", code="no-study-key") from error


def _require_valid(key: Key) -> None:
    """Raises ValueError, KeyError or TypeError for a key that `draw_key` cannot have made."""
    texts = [key.study, *key.methods]
    for question in key.questions:
        texts += [question.id, question.clip, question.reference, *question.videos]
        if len(question.videos) != 2 or question.kind not in ("pair", "catch") or question.of not in (0, 1):
            raise ValueError(f"the question {question.id} is invalid")
    if not all(isinstance(text, str) for text in texts) or len(key.methods) != 2 or not isinstance(key.request, dict):
        raise ValueError("a name is not a string")
    kinds = {question.id: question.kind for question in key.questions}
    if len(kinds) < len(key.questions) or not key.blocks or not all("pair" in [kinds[name] for name in block] for block in key.blocks):
        raise ValueError("its blocks do not fit its questions")


def find_key(study: str, folders: Sequence[Path]) -> Key:
    """Look for the key of this study in the files *.key.json of the folders. Raises InputError when it is in none of them."""
    for path in (path for folder in folders for path in sorted(folder.glob("*.key.json"))):
        try:
            key = read_key(path)
        except InputError:
            continue
        if key.study == study:
            return key
    searched = ", ".join(dict.fromkeys(str(folder) for folder in folders))
    raise InputError(f"The key of study {study} is in none of {searched}", code="study-key-missing")

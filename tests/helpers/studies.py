"""Small studies, and the answers of workers whose preferences are known."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.evaluate.study.key import Key, Question, draw_key

Preference = Callable[[Question], bool]
"""Whether a worker prefers the first video of a question: that of the first method, or in a catch question the intact one."""


def small_key(clips: int = 4, catch: int = 2, per_worker: int = 0) -> Key:
    """The key of a study that compares the methods "ours" and "theirs"; there is no page."""
    return draw_key(("ours", "theirs"), [f"clip{index}" for index in range(clips)], catch, per_worker, False, {})


def likes_ours(question: Question) -> bool:
    return True


def likes_theirs(question: Question) -> bool:
    """Prefers "theirs" in pairs, and passes every catch question."""
    return question.kind == "catch"


def is_fooled(question: Question) -> bool:
    """Prefers "ours" in pairs, and the broken copy in catch questions."""
    return question.kind == "pair"


def answers_of(key: Key, worker: str, preference: Preference, block: int = 0) -> dict[str, Any]:
    """The answers that the page would write for a worker who needs two seconds per question."""
    rng = random.Random(worker)
    questions = {question.id: question for question in key.questions}
    rows = []
    for name in rng.sample(key.blocks[block], len(key.blocks[block])):
        question = questions[name]
        shown = rng.sample(question.videos, 2)
        rows.append({"question": name, "shown": shown, "chosen": question.videos[0 if preference(question) else 1], "seconds": 2.0})
    header = {"schema": "fsv2v.answers/1", "study": key.study, "worker": worker, "code": f"code of {worker}"}
    return {**header, "started": "2030-01-01T10:00:00Z", "finished": "2030-01-01T10:05:00Z", "answers": rows}


def write_answers(folder: Path, answers: dict[str, Any], name: str = "") -> Path:
    path = folder / f"{name or answers['worker']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(answers), encoding="utf-8")
    return path

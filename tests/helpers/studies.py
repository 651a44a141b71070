"""Small studies, and the answers that workers of known taste give."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stages.evaluate.study.key import Key, Question, draw_key

Taste = Callable[[Question], bool]
"""Whether a worker prefers the first of a question's videos: that of the first method, or the good one."""


def small_key(clips: int = 4, catch: int = 2, per_worker: int = 0) -> Key:
    """The key of a study of "ours" against "theirs" that has no page."""
    return draw_key(("ours", "theirs"), [f"clip{index}" for index in range(clips)], catch, per_worker, False, {})


def likes_ours(question: Question) -> bool:
    return True


def likes_theirs(question: Question) -> bool:
    """But passes every catch question."""
    return question.kind == "catch"


def is_fooled(question: Question) -> bool:
    """Takes the broken copy for the good one."""
    return question.kind == "pair"


def answers_of(key: Key, worker: str, taste: Taste, block: int = 0) -> dict[str, Any]:
    """What the page would write for a worker, who needs two seconds for everything."""
    chance = random.Random(worker)
    questions = {question.id: question for question in key.questions}
    rows = []
    for name in chance.sample(key.blocks[block], len(key.blocks[block])):
        question = questions[name]
        shown = chance.sample(question.videos, 2)
        rows.append({"question": name, "shown": shown, "chosen": question.videos[0 if taste(question) else 1], "seconds": 2.0})
    about = {"schema": "fsv2v.answers/1", "study": key.study, "worker": worker, "code": f"code of {worker}"}
    return {**about, "started": "2030-01-01T10:00:00Z", "finished": "2030-01-01T10:05:00Z", "answers": rows}


def write_answers(folder: Path, answers: dict[str, Any], name: str = "") -> Path:
    path = folder / f"{name or answers['worker']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(answers), encoding="utf-8")
    return path

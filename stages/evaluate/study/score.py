"""The preferences of the workers, and how reliable each worker is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from stages.errors import InputError
from stages.evaluate.intervals import bootstrap_workers, wilson
from stages.evaluate.study.answers import Answers, Choice
from stages.evaluate.study.key import Key


@dataclass(frozen=True)
class Preference:
    """How often `method` was preferred to `other` in the answers of all workers who are not left out.

    clip: one clip, or "" for all clips.
    rate: `preferred` / `answers`.
    low, high: Wilson's 95 % interval, which treats answers as independent.
    low_workers, high_workers: bootstrap over workers, because the answers of one worker depend on each other. None for a single worker, and
    for a single clip, to which each worker gave one answer.
    """

    method: str
    other: str
    clip: str
    rate: float
    low: float
    high: float
    low_workers: float | None
    high_workers: float | None
    preferred: int
    answers: int
    workers: int


@dataclass(frozen=True)
class Worker:
    """Figures about the answers of one worker.

    catch, failed: number of catch questions, and of those in which the broken copy was chosen.
    left_out: too many catch questions failed.
    agreement: share of answers that agree with the majority of the other workers who are not left out, over the `compared` clips that have
    a majority; None without such clips.
    left: share of answers for video 1 of the page.
    seconds: median time of a choice.
    code: the completion code.
    """

    worker: str
    left_out: bool
    answers: int
    catch: int
    failed: int
    agreement: float | None
    compared: int
    left: float
    seconds: float
    code: str
    file: str


@dataclass(frozen=True)
class Scores:
    """preferences: that of the first method, then that of the second; clips: that of the first method, for each clip."""

    preferences: tuple[Preference, ...]
    clips: tuple[Preference, ...]
    workers: tuple[Worker, ...]

    def json(self) -> list[dict[str, Any]]:
        """A row for each preference, clip and worker; its field `row` tells which it is."""
        return [
            *({"row": "preference", **asdict(preference)} for preference in self.preferences),
            *({"row": "clip", **asdict(preference)} for preference in self.clips),
            *({"row": "worker", **asdict(worker)} for worker in self.workers),
        ]


def score(answers: Sequence[Answers], key: Key, max_failed: float) -> Scores:
    """The preferences and the figures of the workers. Workers who fail more than the share `max_failed` of their catch questions are left
    out of the preferences.

    Raises InputError when none is left.
    """
    left_out = {worker.worker for worker in answers if failed_share(worker) > max_failed}
    counted = [worker for worker in answers if worker.worker not in left_out]
    if not counted:
        raise InputError(
            f"None of the {len(answers)} workers is left: each failed more than {max_failed:.0%} of the catch questions",
            code="no-workers-left",
        )
    votes = {worker.worker: {choice.question.clip: choice.first for choice in worker.of("pair")} for worker in counted}
    clips = sorted({clip for chosen in votes.values() for clip in chosen})
    by_clip = [_preference(key.methods, clip, [{clip: chosen[clip]} for chosen in votes.values() if clip in chosen]) for clip in clips]
    first = _preference(key.methods, "", list(votes.values()))
    second = _preference(key.methods[::-1], "", [{clip: not chose for clip, chose in chosen.items()} for chosen in votes.values()])
    return Scores((first, second), tuple(by_clip), tuple(_worker(worker, worker.worker in left_out, votes) for worker in answers))


def failed_share(worker: Answers) -> float:
    """Share of the catch questions that a worker failed; 0 without any."""
    catches = worker.of("catch")
    return sum(not choice.first for choice in catches) / len(catches) if catches else 0.0


def _preference(methods: tuple[str, str], clip: str, votes: Sequence[Mapping[str, bool]]) -> Preference:
    """votes: for each worker, clip -> whether the first of `methods` was preferred."""
    chosen, answers = [sum(vote.values()) for vote in votes], [len(vote) for vote in votes]
    preferred, total = sum(chosen), sum(answers)
    low, high = wilson(preferred, total)
    low_workers, high_workers = (None if clip else bootstrap_workers(chosen, answers)) or (None, None)
    return Preference(*methods, clip, preferred / total, low, high, low_workers, high_workers, preferred, total, len(votes))


def _worker(worker: Answers, left_out: bool, votes: Mapping[str, Mapping[str, bool]]) -> Worker:
    pairs, catches = worker.of("pair"), worker.of("catch")
    others = Counter[str]()  # clip -> votes of the others for the first method minus those for the second
    for other, chosen in votes.items():
        if other != worker.worker:
            others.update({clip: 1 if first else -1 for clip, first in chosen.items()})
    decided = [choice for choice in pairs if others[choice.question.clip]]
    agreeing = sum(choice.first == (others[choice.question.clip] > 0) for choice in decided)
    return Worker(
        worker=worker.worker,
        left_out=left_out,
        answers=len(pairs),
        catch=len(catches),
        failed=sum(not choice.first for choice in catches),
        agreement=agreeing / len(decided) if decided else None,
        compared=len(decided),
        left=_share_left(worker.choices),
        seconds=median(choice.seconds for choice in worker.choices),
        code=worker.code,
        file=worker.file,
    )


def _share_left(choices: Sequence[Choice]) -> float:
    return sum(choice.left for choice in choices) / len(choices)

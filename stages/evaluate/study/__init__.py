"""Human preference: a web page that asks which of two videos is better, and the scores of its answers (vid2vid, section 4)."""

from collections.abc import Sequence
from pathlib import Path

from stages.errors import InputError
from stages.evaluate.study.answers import read_all, study_of
from stages.evaluate.study.key import find_key, read_key
from stages.evaluate.study.score import Preference, Scores, Worker, score
from stages.evaluate.study.site import Outcome, StudyOptions, make_study

__all__ = ["Outcome", "Preference", "Scores", "StudyOptions", "Worker", "make_study", "score_answers"]


def score_answers(files: Sequence[Path], key: Path | None, max_failed: float) -> tuple[Scores, list[str]]:
    """(the scores, the files that were left out because they repeat the answers of another file).

    key: its file; None to look for *.key.json in the working folder, in the folder of the first file and in that folder's parent.
    Raises InputError.
    """
    if not files:
        raise InputError("There are no answers to score")
    folder = files[0].resolve().parent
    answer_key = read_key(key) if key else find_key(study_of(files[0]), [Path.cwd(), folder, folder.parent])
    answers, repeated = read_all(files, answer_key)
    return score(answers, answer_key, max_failed), repeated

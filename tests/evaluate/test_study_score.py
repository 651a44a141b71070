"""`evaluate score`: the figures against closed forms, and answers that nobody should believe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from studies import answers_of, is_fooled, likes_ours, likes_theirs, small_key, write_answers

from fsv2v_cli.main import run
from stages.evaluate.intervals import bootstrap_workers, wilson

# Intervals


@pytest.mark.parametrize("answers", [1, 2, 10, 61, 6000])
def test_wilsons_interval_is_scipys(answers: int):
    for chosen in {0, 1, answers // 3, answers // 2, answers - 1, answers}:
        expected = stats.binomtest(chosen, answers).proportion_ci(0.95, method="wilson")
        assert wilson(chosen, answers) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilsons_interval_by_hand():
    """1.96^2 is 3.8416: of 10 answers, all for one, the lower end is 10 / (10 + 3.8416)."""
    low, high = wilson(10, 10)
    assert low == pytest.approx(10 / (10 + 3.8414588), abs=1e-7) and high == 1.0


def test_without_answers_nothing_is_known():
    assert wilson(0, 0) == (0.0, 1.0)


def test_with_one_answer_each_drawing_workers_is_drawing_from_a_binomial_distribution():
    chosen = [1] * 60 + [0] * 40
    expected = stats.binom(100, 0.6).ppf([0.025, 0.975]) / 100
    assert bootstrap_workers(chosen, [1] * 100) == pytest.approx(tuple(expected), abs=0.011)  # one answer, the step of both distributions


def test_workers_of_one_mind_make_the_interval_as_wide_as_if_each_had_one_answer():
    of_one_mind = bootstrap_workers([30] * 12 + [0] * 8, [30] * 20)
    assert of_one_mind == bootstrap_workers([1] * 12 + [0] * 8, [1] * 20)
    low, high = wilson(360, 600)
    assert of_one_mind is not None and of_one_mind[1] - of_one_mind[0] > 4 * (high - low)


def test_workers_who_answer_differently_often_weigh_by_their_answers():
    assert bootstrap_workers([90, 0], [90, 10]) == (0.0, 1.0) and bootstrap_workers([90, 9], [90, 10]) == (0.9, 1.0)


@pytest.mark.slow
def test_thousands_of_workers_are_no_matter():
    expected = stats.norm(0.5, (0.25 / 6000) ** 0.5).ppf([0.025, 0.975])  # by the central limit theorem
    assert bootstrap_workers([0, 1] * 3000, [1] * 6000) == pytest.approx(tuple(expected), abs=1e-3)


def test_drawing_from_one_worker_says_nothing():
    assert bootstrap_workers([3], [4]) is None


# Scores


@pytest.fixture
def score(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    """score(key, answers...) -> (exit code, rows of --json, stderr)."""

    def score(key, *answers: dict[str, Any], options: tuple[str, ...] = ()) -> tuple[int, list[dict[str, Any]], str]:
        key.write(tmp_path / "site.key.json")
        files = [str(write_answers(tmp_path / "answers", each, f"{index}")) for index, each in enumerate(answers)]
        capfd.readouterr()
        code = run(["evaluate", "score", *files, "--json", *options])
        said = capfd.readouterr()
        return code, [json.loads(line) for line in said.out.splitlines()], said.err

    return score


def test_rates_are_those_of_the_workers_tastes(score):
    key = small_key(clips=4)
    tastes = {"a": likes_ours, "b": likes_ours, "c": likes_theirs}
    code, rows, said = score(key, *(answers_of(key, worker, taste) for worker, taste in tastes.items()))
    ours, theirs = (row for row in rows if row["row"] == "preference")
    assert (code, said) == (0, "")
    assert (ours["method"], ours["other"], ours["preferred"], ours["answers"], ours["workers"]) == ("ours", "theirs", 8, 12, 3)
    assert ours["rate"] == pytest.approx(2 / 3) and (ours["low"], ours["high"]) == pytest.approx(wilson(8, 12))
    assert (ours["low_workers"], ours["high_workers"]) == bootstrap_workers([4, 4, 0], [4, 4, 4])
    assert [theirs[name] for name in ("rate", "low", "high", "low_workers", "high_workers")] == pytest.approx(
        [1 - ours[name] for name in ("rate", "high", "low", "high_workers", "low_workers")]
    )
    clips = [row for row in rows if row["row"] == "clip"]
    assert [(row["clip"], row["preferred"], row["answers"]) for row in clips] == [(f"clip{index}", 2, 3) for index in range(4)]


def test_agreement_is_with_the_majority_of_the_others_where_there_is_one(score):
    """a, b, c like ours; d likes theirs but on clip0. Without d, the others agree everywhere; without a, they are 2 : 1 or 3 : 0."""
    key = small_key(clips=4)
    answers = [answers_of(key, worker, likes_ours) for worker in "abc"]
    answers.append(answers_of(key, "d", lambda question: question.kind == "catch" or question.clip == "clip0"))
    workers = {row["worker"]: row for row in score(key, *answers)[1] if row["row"] == "worker"}
    assert [workers[worker]["agreement"] for worker in "abcd"] == [1, 1, 1, 0.25]
    assert {row["compared"] for row in workers.values()} == {4}


def test_a_tie_of_the_others_is_no_majority(score):
    key = small_key(clips=4)
    answers = [answers_of(key, worker, taste) for worker, taste in (("a", likes_ours), ("b", likes_ours), ("c", likes_theirs))]
    workers = {row["worker"]: row for row in score(key, *answers)[1] if row["row"] == "worker"}
    assert (workers["a"]["agreement"], workers["a"]["compared"]) == (None, 0)
    assert (workers["c"]["agreement"], workers["c"]["compared"]) == (0, 4)


def test_who_fails_catch_questions_is_named_and_left_out(score):
    key = small_key(clips=3, catch=4)
    fails_one = lambda question: question.kind == "pair" or question is not key.questions[-1]  # noqa: E731
    answers = [answers_of(key, "fooled", is_fooled), answers_of(key, "careful", likes_theirs), answers_of(key, "slipped", fails_one)]
    code, rows, said = score(key, *answers)
    workers = {row["worker"]: row for row in rows if row["row"] == "worker"}
    assert code == 0 and "worker fooled is left out: 4 of 4 catch questions failed" in said and "slipped" not in said
    assert {worker: (row["failed"], row["left_out"]) for worker, row in workers.items()} == {
        "fooled": (4, True), "careful": (0, False), "slipped": (1, False)
    }  # fmt: skip
    assert rows[0]["answers"] == 6 and rows[0]["rate"] == 0.5
    assert workers["careful"]["agreement"] == 0, "who is left out is no part of the majority"

    strict = score(key, *answers, options=("--max-failed", "0.2"))[1]
    assert [row["worker"] for row in strict if row["row"] == "worker" and row["left_out"]] == ["fooled", "slipped"]
    assert score(key, *answers, options=("--max-failed", "1"))[1][0]["answers"] == 9


def test_nobody_left_is_an_error(score):
    key = small_key()
    code, rows, said = score(key, answers_of(key, "fooled", is_fooled))
    assert (code, rows) == (3, []) and "--max-failed" in said


def test_the_share_of_video_1_and_the_median_time_tell_who_only_clicks(score):
    key = small_key()
    answers = answers_of(key, "a", likes_ours)
    for index, row in enumerate(answers["answers"]):
        row["shown"] = sorted(row["shown"], key=lambda name: name != row["chosen"])
        row["seconds"] = 0.25 + index
    (worker,) = (row for row in score(key, answers)[1] if row["row"] == "worker")
    assert worker["left"] == 1 and worker["seconds"] == np.median([row["seconds"] for row in answers["answers"]])
    assert worker["code"] == "code of a"


def test_parts_of_a_dealt_study_add_up(score):
    key = small_key(clips=5, per_worker=2)
    assert sorted(map(len, key.blocks)) == [2 + 1, 2 + 2, 2 + 2]
    answers = [answers_of(key, f"worker{block}", likes_ours, block) for block in range(3)]
    rows = score(key, *answers)[1]
    assert (rows[0]["answers"], rows[0]["rate"]) == (5, 1)
    assert [row["answers"] for row in rows if row["row"] == "clip"] == [1] * 5


def test_without_json_two_aligned_tables_are_the_data(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    key = small_key()
    key.write(tmp_path / "site.key.json")
    files = [str(write_answers(tmp_path, answers_of(key, worker, likes_ours))) for worker in ("ann", "benedict")]
    assert run(["evaluate", "score", *files]) == 0
    first, second = (table.splitlines() for table in capfd.readouterr().out.split("\n\n"))
    assert first[1].split()[:4] == ["ours", "theirs", "all", "1.000"] and "0.676 to 1.000" in first[1]
    assert second[2].startswith("benedict") and second[2].index("yes") == second[0].index("counts")


# Answers from strangers


def test_the_same_answers_twice_count_once(score):
    key = small_key()
    answers = answers_of(key, "a", likes_ours)
    code, rows, said = score(key, answers, answers, answers_of(key, "b", likes_ours))
    assert code == 0 and rows[0]["workers"] == 2 and "1.json repeats" in said


def test_different_answers_of_one_worker_are_refused(score):
    key = small_key()
    code, rows, said = score(key, answers_of(key, "a", likes_ours), answers_of(key, "a", likes_theirs))
    assert (code, rows) == (3, []) and "0.json and" in said and "different answers of worker a" in said


@pytest.mark.parametrize(("name", "shown"), [("Anna\u00a0Smith", r"Anna\xa0Smith"), ("\x1b[31m", r"\x1b[31m")])
def test_names_of_strangers_are_made_safe_to_print(score, name: str, shown: str):
    key = small_key()
    code, rows, _ = score(key, answers_of(key, name, likes_ours))
    assert code == 0 and [row["worker"] for row in rows if "worker" in row] == [shown]


def _first(answers: dict[str, Any]) -> dict[str, Any]:
    return dict(answers["answers"][0])


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda answers: answers.update(schema="fsv2v.answers/2"), "format fsv2v.answers/2"),
        (lambda answers: answers.update(study="another"), "is in none of"),
        (lambda answers: answers.update(worker="x" * 101), "is not a name"),
        (lambda answers: answers.update(worker=""), "is not a name"),
        (lambda answers: answers.update(answers=7), "damaged"),
        (lambda answers: answers.pop("answers"), "damaged"),
        (lambda answers: answers["answers"].pop(), "5 answers, a block has 6"),
        (lambda answers: answers["answers"].append(_first(answers)), "twice"),
        (lambda answers: answers["answers"][0].update(question="unheard-of"), "no question 'unheard-of'"),
        (lambda answers: answers["answers"][0].update(chosen=None), "answered by None"),
        (lambda answers: answers["answers"][0].update(chosen="tie"), "answered by 'tie'"),
        (lambda answers: answers["answers"][0].update(shown=["x", "y"], chosen="x"), "other videos"),
        (lambda answers: answers["answers"][0].update(shown=3), "damaged"),
        (lambda answers: answers["answers"][0].update(seconds=-1), "-1 seconds"),
        (lambda answers: answers["answers"][0].update(seconds=float("nan")), "nan seconds"),
        (lambda answers: answers["answers"][0].update(seconds=10**400), "damaged"),
        (lambda answers: answers["answers"][0].pop("seconds"), "damaged"),
    ],
)
def test_what_the_page_cannot_have_written_is_refused_with_a_sentence(score, spoil, sentence: str):
    key = small_key()
    answers = answers_of(key, "a", likes_ours)
    spoil(answers)
    code, rows, said = score(key, answers)
    assert (code, rows) == (3, [])
    assert said.startswith("fsv2v: error: ") and ("0.json" in said or "another" in said)
    assert sentence in said and "Traceback" not in said


def test_answers_of_two_studies_are_not_mixed(score):
    key, other = small_key(), small_key()
    code, rows, said = score(key, answers_of(key, "a", likes_ours), answers_of(other, "b", likes_ours))
    assert (code, rows) == (3, []) and f"1.json answers another study ({other.study}, not {key.study})" in said


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}'],
    ids=["nothing", "cut off", "a list", "no text", "a tower", "something else"],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes):
    small_key().write(tmp_path / "site.key.json")
    (tmp_path / "a.json").write_bytes(content)
    assert run(["evaluate", "score", str(tmp_path / "a.json")]) == 3
    said = capfd.readouterr()
    assert said.out == "" and "a.json" in said.err and "Traceback" not in said.err


def test_files_are_listed_on_stdin_and_none_at_all_is_a_sentence(fsv2v, tmp_path: Path):
    key = small_key()
    key.write(tmp_path / "site.key.json")
    listed = "".join(f"{write_answers(tmp_path, answers_of(key, worker, likes_ours))}\n" for worker in "ab")
    assert json.loads(fsv2v("evaluate", "score", "-", "--json", stdin=listed).lines[0])["workers"] == 2
    nothing = fsv2v("evaluate", "score", "-")
    assert (nothing.exit_code, nothing.stdout, nothing.stderr) == (3, "", "fsv2v: error: There are no answers to score\n")


def test_the_key_is_found_beside_the_site_or_named(tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    key = small_key()
    file = str(write_answers(tmp_path / "deep" / "answers", answers_of(key, "a", likes_ours)))
    elsewhere = tmp_path / "elsewhere" / "site.key.json"
    elsewhere.parent.mkdir()
    key.write(elsewhere)
    small_key().write(tmp_path / "deep" / "other.key.json")
    assert run(["evaluate", "score", file]) == 3
    assert key.study in capfd.readouterr().err
    assert run(["evaluate", "score", file, "--key", str(elsewhere)]) == 0
    monkeypatch.chdir(elsewhere.parent)
    assert run(["evaluate", "score", file]) == 0


@pytest.mark.parametrize("content", ["{}", "no", '{"schema": "fsv2v.study/2"}'])
def test_a_key_that_is_none_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str], content: str):
    (tmp_path / "k.json").write_text(content)
    file = write_answers(tmp_path, answers_of(small_key(), "a", likes_ours))
    assert run(["evaluate", "score", str(file), "--key", str(tmp_path / "k.json")]) == 3
    assert "k.json" in capfd.readouterr().err

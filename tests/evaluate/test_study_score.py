"""`evaluate score`: rates and intervals against closed forms, and answers that are not valid."""

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
from stages.evaluate.study.key import Question

# Intervals


@pytest.mark.parametrize("answers", [1, 2, 10, 61, 6000])
def test_the_wilson_interval_is_that_of_scipy(answers: int):
    for chosen in {0, 1, answers // 3, answers // 2, answers - 1, answers}:
        expected = stats.binomtest(chosen, answers).proportion_ci(0.95, method="wilson")
        assert wilson(chosen, answers) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_wilson_interval_of_ten_equal_answers():
    """If all of n answers are for one method, the lower end is n / (n + z^2) with z = 1.959964, the 97.5 % quantile."""
    low, high = wilson(10, 10)
    assert low == pytest.approx(10 / (10 + 1.959964**2), abs=1e-7) and high == 1.0


def test_the_interval_without_answers_is_0_to_1():
    assert wilson(0, 0) == (0.0, 1.0)


def test_resampling_workers_with_one_answer_each_gives_a_binomial_distribution():
    chosen = [1] * 60 + [0] * 40
    expected = stats.binom(100, 0.6).ppf([0.025, 0.975]) / 100
    one_answer = 0.01
    assert bootstrap_workers(chosen, [1] * 100) == pytest.approx(tuple(expected), abs=1.1 * one_answer)


def test_workers_whose_answers_are_all_equal_count_like_one_answer_each():
    interval = bootstrap_workers([30] * 12 + [0] * 8, [30] * 20)
    assert interval == bootstrap_workers([1] * 12 + [0] * 8, [1] * 20)
    low, high = wilson(360, 600)
    assert interval is not None and interval[1] - interval[0] > 4 * (high - low)


def test_workers_are_weighted_by_their_numbers_of_answers():
    assert bootstrap_workers([90, 0], [90, 10]) == (0.0, 1.0) and bootstrap_workers([90, 9], [90, 10]) == (0.9, 1.0)


@pytest.mark.slow
def test_the_interval_of_thousands_of_workers_is_normal():
    expected = stats.norm(0.5, (0.25 / 6000) ** 0.5).ppf([0.025, 0.975])  # by the central limit theorem
    assert bootstrap_workers([0, 1] * 3000, [1] * 6000) == pytest.approx(tuple(expected), abs=1e-3)


def test_a_single_worker_has_no_bootstrap_interval():
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
        output = capfd.readouterr()
        return code, [json.loads(line) for line in output.out.splitlines()], output.err

    return score


def test_rates_and_intervals_follow_from_the_answers_of_the_workers(score):
    key = small_key(clips=4)
    preferences = {"a": likes_ours, "b": likes_ours, "c": likes_theirs}
    code, rows, stderr = score(key, *(answers_of(key, worker, preference) for worker, preference in preferences.items()))
    ours, theirs = (row for row in rows if row["row"] == "preference")
    assert (code, stderr) == (0, "")
    assert (ours["method"], ours["other"], ours["preferred"], ours["answers"], ours["workers"]) == ("ours", "theirs", 8, 12, 3)
    assert ours["rate"] == pytest.approx(2 / 3) and (ours["low"], ours["high"]) == pytest.approx(wilson(8, 12))
    assert (ours["low_workers"], ours["high_workers"]) == bootstrap_workers([4, 4, 0], [4, 4, 4])
    assert [theirs[name] for name in ("rate", "low", "high", "low_workers", "high_workers")] == pytest.approx(
        [1 - ours[name] for name in ("rate", "high", "low", "high_workers", "low_workers")]
    )
    clips = [row for row in rows if row["row"] == "clip"]
    assert [(row["clip"], row["preferred"], row["answers"]) for row in clips] == [(f"clip{index}", 2, 3) for index in range(4)]


def test_agreement_is_measured_with_the_majority_of_the_other_workers(score):
    """a, b and c prefer ours; d prefers theirs, except in clip0. Any three of them have a majority for ours, so d agrees in clip0 only."""
    key = small_key(clips=4)
    answers = [answers_of(key, worker, likes_ours) for worker in "abc"]
    answers.append(answers_of(key, "d", lambda question: question.kind == "catch" or question.clip == "clip0"))
    workers = {row["worker"]: row for row in score(key, *answers)[1] if row["row"] == "worker"}
    assert [workers[worker]["agreement"] for worker in "abcd"] == [1, 1, 1, 0.25]
    assert {row["compared"] for row in workers.values()} == {4}


def test_a_tie_of_the_other_workers_is_not_a_majority(score):
    key = small_key(clips=4)
    answers = [answers_of(key, worker, preference) for worker, preference in (("a", likes_ours), ("b", likes_ours), ("c", likes_theirs))]
    workers = {row["worker"]: row for row in score(key, *answers)[1] if row["row"] == "worker"}
    assert (workers["a"]["agreement"], workers["a"]["compared"]) == (None, 0)
    assert (workers["c"]["agreement"], workers["c"]["compared"]) == (0, 4)


def test_workers_who_fail_catch_questions_are_named_and_left_out(score):
    key = small_key(clips=3, catch=4)

    def fails_the_last(question: Question) -> bool:
        """Prefers "ours" in pairs, and the broken copy in the last catch question."""
        return question is not key.questions[-1]

    answers = [answers_of(key, "fooled", is_fooled), answers_of(key, "careful", likes_theirs), answers_of(key, "slipped", fails_the_last)]
    code, rows, stderr = score(key, *answers)
    workers = {row["worker"]: row for row in rows if row["row"] == "worker"}
    assert code == 0 and "worker fooled is left out: 4 of 4 catch questions failed" in stderr and "slipped" not in stderr
    assert {worker: (row["failed"], row["left_out"]) for worker, row in workers.items()} == {
        "fooled": (4, True), "careful": (0, False), "slipped": (1, False)
    }  # fmt: skip
    assert rows[0]["answers"] == 6 and rows[0]["rate"] == 0.5
    assert workers["careful"]["agreement"] == 0, "workers who are left out do not count for the majority"

    strict = score(key, *answers, options=("--max-failed", "0.2"))[1]
    assert [row["worker"] for row in strict if row["row"] == "worker" and row["left_out"]] == ["fooled", "slipped"]
    assert score(key, *answers, options=("--max-failed", "1"))[1][0]["answers"] == 9


def test_leaving_out_all_workers_is_an_error(score):
    key = small_key()
    code, rows, stderr = score(key, answers_of(key, "fooled", is_fooled))
    assert (code, rows) == (3, []) and "--max-failed" in stderr


def test_the_share_of_video_1_and_the_median_time_are_reported_per_worker(score):
    key = small_key()
    answers = answers_of(key, "a", likes_ours)
    for index, row in enumerate(answers["answers"]):
        row["shown"] = sorted(row["shown"], key=lambda name: name != row["chosen"])  # the chosen video is video 1
        row["seconds"] = 0.25 + index
    (worker,) = (row for row in score(key, answers)[1] if row["row"] == "worker")
    assert worker["left"] == 1 and worker["seconds"] == np.median([row["seconds"] for row in answers["answers"]])
    assert worker["code"] == "code of a"


def test_the_answers_to_all_blocks_of_a_study_are_counted_together(score):
    key = small_key(clips=5, per_worker=2)
    assert sorted(map(len, key.blocks)) == [1 + 2, 2 + 2, 2 + 2], "pairs and catch questions of each block"
    answers = [answers_of(key, f"worker{block}", likes_ours, block) for block in range(3)]
    rows = score(key, *answers)[1]
    assert (rows[0]["answers"], rows[0]["rate"]) == (5, 1)
    assert [row["answers"] for row in rows if row["row"] == "clip"] == [1] * 5


def test_without_json_the_scores_are_two_aligned_tables(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    key = small_key()
    key.write(tmp_path / "site.key.json")
    files = [str(write_answers(tmp_path, answers_of(key, worker, likes_ours))) for worker in ("ann", "benedict")]
    assert run(["evaluate", "score", *files]) == 0
    first, second = (table.splitlines() for table in capfd.readouterr().out.split("\n\n"))
    assert first[1].split()[:4] == ["ours", "theirs", "all", "1.000"] and "0.676 to 1.000" in first[1]
    assert second[2].startswith("benedict") and second[2].index("yes") == second[0].index("counts")


# Untrusted answers


def test_repeated_answers_count_once(score):
    key = small_key()
    answers = answers_of(key, "a", likes_ours)
    code, rows, stderr = score(key, answers, answers, answers_of(key, "b", likes_ours))
    assert code == 0 and rows[0]["workers"] == 2 and "1.json repeats" in stderr


def test_different_answers_of_one_worker_are_refused(score):
    key = small_key()
    code, rows, stderr = score(key, answers_of(key, "a", likes_ours), answers_of(key, "a", likes_theirs))
    assert (code, rows) == (3, []) and "0.json and" in stderr and "different answers of worker a" in stderr


@pytest.mark.parametrize(("name", "printed"), [("Anna\u00a0Smith", r"Anna\xa0Smith"), ("\x1b[31m", r"\x1b[31m")])
def test_worker_names_are_escaped_in_output(score, name: str, printed: str):
    key = small_key()
    code, rows, _ = score(key, answers_of(key, name, likes_ours))
    assert code == 0 and [row["worker"] for row in rows if "worker" in row] == [printed]


def _first(answers: dict[str, Any]) -> dict[str, Any]:
    return dict(answers["answers"][0])


@pytest.mark.parametrize(
    ("damage", "sentence"),
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
def test_answers_that_the_page_cannot_write_are_refused_with_a_sentence(score, damage, sentence: str):
    key = small_key()
    answers = answers_of(key, "a", likes_ours)
    damage(answers)
    code, rows, stderr = score(key, answers)
    assert (code, rows) == (3, [])
    assert stderr.startswith("fsv2v: error: ") and ("0.json" in stderr or "another" in stderr)
    assert sentence in stderr and "Traceback" not in stderr


def test_answers_of_two_studies_are_not_mixed(score):
    key, other = small_key(), small_key()
    code, rows, stderr = score(key, answers_of(key, "a", likes_ours), answers_of(other, "b", likes_ours))
    assert (code, rows) == (3, []) and f"1.json answers another study ({other.study}, not {key.study})" in stderr


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"a": 1}'],
    ids=["empty", "truncated", "a list", "not text", "nested lists", "another object"],
)
def test_a_file_that_does_not_contain_answers_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str], content: bytes):
    small_key().write(tmp_path / "site.key.json")
    (tmp_path / "a.json").write_bytes(content)
    assert run(["evaluate", "score", str(tmp_path / "a.json")]) == 3
    output = capfd.readouterr()
    assert output.out == "" and "a.json" in output.err and "Traceback" not in output.err


def test_files_can_be_listed_on_stdin_and_an_empty_list_is_an_error(fsv2v, tmp_path: Path):
    key = small_key()
    key.write(tmp_path / "site.key.json")
    listed = "".join(f"{write_answers(tmp_path, answers_of(key, worker, likes_ours))}\n" for worker in "ab")
    assert json.loads(fsv2v("evaluate", "score", "-", "--json", stdin=listed).lines[0])["workers"] == 2
    empty = fsv2v("evaluate", "score", "-")
    assert (empty.exit_code, empty.stdout, empty.stderr) == (3, "", "fsv2v: error: There are no answers to score\n")


def test_a_key_in_another_folder_is_found_from_that_folder_or_with_the_option(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
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
def test_a_file_that_is_not_a_key_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str], content: str):
    (tmp_path / "k.json").write_text(content)
    file = write_answers(tmp_path, answers_of(small_key(), "a", likes_ours))
    assert run(["evaluate", "score", str(file), "--key", str(tmp_path / "k.json")]) == 3
    assert "k.json" in capfd.readouterr().err

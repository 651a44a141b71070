"""Evaluation in several processes gives the scores of one process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typed_metrics import not_none, set_metric

from stages.errors import InputError, MissingRequirement, ParametersDiffer, UsageError
from stages.evaluate import EvaluateOptions, Score, evaluate, merge_parts
from stages.evaluate.parallel import _Work, evaluate_parallel, measure_shard

NAMES = ("anna", "ben", "cleo")
OPTIONS = EvaluateOptions(("psnr", "flicker"), device="cpu")


def darken(levels: int):
    return lambda frame, index: np.clip(frame.astype(int) - levels, 0, 255).astype(np.uint8)


@pytest.fixture
def results(make) -> list[str]:
    """Results of two methods for each of three references in `truth`."""
    for index, name in enumerate(NAMES):
        make(f"truth/{name}", frames=4 + index)
    methods = (("ours", 3), ("theirs", 30))
    return [make(f"{method}/{name}", darken(levels), frames=4 + i).path for method, levels in methods for i, name in enumerate(NAMES)]


@pytest.fixture
def truth(make, results) -> str:
    return str(make.folder / "truth")


def sorted_scores(scores: list[Score]) -> list[Score]:
    """Scores in a fixed order, with tolerances: processes finish in any order, and sums may differ in the last bit."""
    fields = ("value", "baseline", "warped", "low", "high")

    def tolerances(score: Score) -> dict[str, Any]:
        return {field: pytest.approx(value, rel=1e-6) for field in fields if (value := getattr(score, field)) is not None}

    return sorted(
        (replace(score, **tolerances(score)) for score in scores), key=lambda score: (score.result, score.reference, score.metric)
    )


def test_the_scores_are_those_of_one_process_and_means_are_last(results, truth):
    events: list[Mapping[str, Any]] = []
    parallel, single = list(evaluate_parallel(results, [truth], OPTIONS, events.append, jobs=2)), list(evaluate(results, [truth], OPTIONS))
    assert sorted_scores(parallel) == sorted_scores(single)
    folders = [str(Path(truth).parent / method) for method in ("ours", "theirs")]
    assert [score.result for score in parallel[-4:]] == [folders[0], folders[0], folders[1], folders[1]]
    assert not_none(parallel[-4].value) > not_none(parallel[-2].value), "each method has its own mean"
    assert [event["done"] for event in events] == [1, 2, 3, 4, 5, 6] and {event["total"] for event in events} == {6}


def test_the_scores_of_sets_are_those_of_one_process(make):
    if reason := set_metric("fid-squeezenet").missing():
        pytest.skip(reason)
    for name, levels in (("truth", 0), ("ours", 3), ("theirs", 30)):
        for part in "ab":
            make(f"{name}/{part}", lambda frame, index, levels=levels: darken(levels)(frame[::4, ::4], index), frames=40)
    results = [str(make.folder / method / part) for method in ("ours", "theirs") for part in "ab"]
    options = replace(OPTIONS, metrics=("fid-squeezenet", "kid-squeezenet"), cache=str(make.folder / "statistics"))
    single = list(evaluate(results, [str(make.folder / "truth")], options))
    parallel = list(evaluate_parallel(results, [str(make.folder / "truth")], options, jobs=2))
    assert [(score.result, score.metric, score.frames) for score in parallel] == [(score.result, score.metric, 78) for score in single]
    assert sorted_scores(parallel) == sorted_scores(single) and all(score.value is not None for score in parallel)


@pytest.mark.parametrize("count", [2, 8])
def test_a_shard_can_be_evaluated_in_several_processes_even_if_it_is_empty(count: int, results, truth, tmp_path: Path):
    parts = [tmp_path / f"{index}.npz" for index in range(count)]
    for index, part in enumerate(parts):
        list(evaluate_parallel(results, [truth], OPTIONS, shard=(index, count), out=part, jobs=2))
    assert sorted_scores(list(merge_parts([str(part) for part in parts]))) == sorted_scores(list(evaluate(results, [truth], OPTIONS)))


def test_a_partial_result_of_another_evaluation_is_not_replaced(results, truth, tmp_path: Path):
    part = tmp_path / "part.npz"
    for _ in range(2):
        list(evaluate_parallel(results, [truth], OPTIONS, shard=(0, 2), out=part, jobs=2))
    kept = part.read_bytes()
    for others, shard in ((results, (1, 2)), (results[::-1], (0, 2))):
        for measure in (evaluate, evaluate_parallel):
            with pytest.raises(ParametersDiffer, match="belongs to a different evaluation"):
                list(measure(others, [truth], OPTIONS, shard=shard, out=part))
    assert part.read_bytes() == kept


def test_a_result_that_is_named_twice_counts_once(results, truth):
    again = str(Path(results[0]).parent / ".." / "ours" / Path(results[0]).name)
    twice = list(evaluate_parallel([*results, results[0], again], [truth], OPTIONS, jobs=2))
    assert sorted_scores(twice) == sorted_scores(list(evaluate(results, [truth], OPTIONS)))


def test_pairs_that_cannot_be_compared_are_refused_before_the_evaluation(results, truth, make):
    longer = make("others/ben", frames=9).path
    events: list[Mapping[str, Any]] = []
    with pytest.raises(InputError, match="has 9 frames, its reference"):
        list(evaluate_parallel([*results, longer], [truth], OPTIONS, events.append, jobs=2))
    assert events == []


def test_an_unavailable_metric_ends_the_evaluation(results, truth, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FSV2V_WEIGHTS", str(tmp_path / "empty"))
    monkeypatch.delenv("FSV2V_WEIGHTS_MIRROR", raising=False)
    with pytest.raises(MissingRequirement, match="squeezenet"):
        list(evaluate_parallel(results, [truth], replace(OPTIONS, metrics=("perceptual",)), jobs=2))


def test_a_node_that_does_not_see_the_folder_reports_an_error(results, truth, tmp_path: Path):
    work = _Work(tuple(results), (truth,), OPTIONS, tmp_path / "of another node", sets_grow=False)
    with pytest.raises(UsageError, match="does not see .*of another node") as caught:
        measure_shard("0/2", work, None)
    assert caught.value.code == "parts-not-shared"
    assert not work.folder.exists()


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_the_command_prints_the_same_rows(engine: str, results, truth, fsv2v):
    if engine == "ray":
        pytest.importorskip("ray")

    def rows(*options: str) -> list[dict[str, float]]:
        done = fsv2v("evaluate", *results, "-r", truth, "--metric", "psnr", "--json", *options, timeout=120)
        assert done.exit_code == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    parallel, single = rows("--engine", engine, "--jobs", "2"), rows()
    values = [{row["result"]: row["value"] for row in each} for each in (parallel, single)]
    means = {str(Path(truth).parent / method) for method in ("ours", "theirs")}
    assert values[0].keys() == {*results, *means} and values[0] == pytest.approx(values[1])


def test_options_for_clusters_and_processes_are_refused_where_they_have_no_effect(results, truth, fsv2v):
    result = fsv2v("evaluate", *results, "-r", truth, "--address", "nowhere:1")
    assert result.exit_code == 2 and "Add --engine ray" in result.stderr
    result = fsv2v("evaluate", "--merge", "part.npz", "--jobs", 2)
    assert result.exit_code == 2 and "can be used with it" in result.stderr


def test_a_warning_of_a_shard_is_reported(results, truth, tmp_path: Path):
    if reason := set_metric("fid-squeezenet").missing():
        pytest.skip(reason)
    warnings: list[str] = []
    options = replace(OPTIONS, metrics=("fid-squeezenet",), cache=str(tmp_path / "statistics"))
    list(evaluate_parallel(results, [truth], options, jobs=2))
    for entry in (tmp_path / "statistics").iterdir():
        entry.write_bytes(b"broken")
    list(evaluate_parallel(results, [truth], options, lambda event: warnings.append(event.get("warning", "")), jobs=2))
    assert any("are broken and are computed again" in text for text in warnings)

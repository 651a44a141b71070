"""Several processes say together what one says alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stages.errors import Fsv2vError, MissingRequirement
from stages.evaluate import EvaluateOptions, Score, evaluate, find_metric, merge_parts
from stages.evaluate.spread import evaluate_spread

NAMES = ("anna", "ben", "cleo")
OPTIONS = EvaluateOptions(("psnr", "flicker"), device="cpu")


def darker(levels: int):
    return lambda frame, index: np.clip(frame.astype(int) - levels, 0, 255).astype(np.uint8)


@pytest.fixture
def results(make) -> Iterator[list[str]]:
    """Results of three references in `truth`."""
    for index, name in enumerate(NAMES):
        make(f"truth/{name}", frames=4 + index)
    yield [make(f"ours/{name}", darker(3 + index), frames=4 + index).path for index, name in enumerate(NAMES)]


@pytest.fixture
def truth(make, results) -> str:
    return str(make.folder / "truth")


def about(scores: list[Score]) -> list[Score]:
    return [replace(score, value=pytest.approx(score.value), baseline=pytest.approx(score.baseline)) for score in scores]


def test_the_scores_are_those_of_one_process_in_its_order(results, truth):
    told = []
    spread = list(evaluate_spread(results, [truth], OPTIONS, told.append, jobs=2))
    assert spread == about(list(evaluate(results, [truth], OPTIONS)))
    assert [event["done"] for event in told] == [1, 2, 3] and {event["total"] for event in told} == {3}


def test_a_shard_is_spread_and_merged_like_any_other(results, truth, tmp_path: Path):
    parts = [tmp_path / "0.npz", tmp_path / "1.npz"]
    for index, part in enumerate(parts):
        list(evaluate_spread(results, [truth], OPTIONS, shard=(index, 2), out=part, jobs=2))
    merged = sorted(merge_parts([str(part) for part in parts]), key=lambda score: (score.result, score.metric))
    assert merged == about(sorted(evaluate(results, [truth], OPTIONS), key=lambda score: (score.result, score.metric)))


def test_what_cannot_be_compared_ends_all_and_nothing_half_made_is_left(results, truth, make, own_cache: Path):
    longer = make("theirs/ben", frames=9).path
    with pytest.raises(Fsv2vError, match="has 9 frames, its reference") as caught:
        list(evaluate_spread([*results, longer], [truth], OPTIONS, jobs=2))
    assert caught.value.exit_code == 3 and list(own_cache.glob(".*")) == []


def test_a_metric_that_cannot_run_is_said_once(results, truth, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("FSV2V_WEIGHTS", str(tmp_path / "empty"))
    monkeypatch.delenv("FSV2V_WEIGHTS_MIRROR", raising=False)
    with pytest.raises(MissingRequirement, match="squeezenet"):
        list(evaluate_spread(results, [truth], replace(OPTIONS, metrics=("perceptual",)), jobs=2))


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_the_command_prints_the_same_rows(engine: str, results, truth, fsv2v):
    if engine == "ray":
        pytest.importorskip("ray")

    def rows(*options: str) -> list[dict[str, float]]:
        done = fsv2v("evaluate", *results, "-r", truth, "--metric", "psnr", "--json", *options, timeout=120)
        assert done.exit_code == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    spread = rows("--engine", engine, "--jobs", "2")
    assert [row["result"] for row in spread] == [*results, "mean"]
    assert [row["value"] for row in spread] == pytest.approx([row["value"] for row in rows()])


def test_a_warning_of_a_shard_is_told(results, truth, tmp_path: Path):
    if reason := find_metric("fid-squeezenet").missing():
        pytest.skip(reason)
    told: list[str] = []
    options = replace(OPTIONS, metrics=("fid-squeezenet",), cache=str(tmp_path / "statistics"))
    list(evaluate_spread(results, [truth], options, jobs=2))
    for entry in (tmp_path / "statistics").iterdir():
        entry.write_bytes(b"broken")
    list(evaluate_spread(results, [truth], options, lambda event: told.append(event.get("message", "")), jobs=2))
    assert any("are broken and made anew" in text for text in told)

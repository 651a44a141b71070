"""The papers' benchmark: confidence intervals and verdicts, a network that labels results, and runs that resume."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stages.errors import InputError
from stages.evaluate.metric import missing_weights
from stages.networks.common.frame import Frame
from stages.networks.features.squeezenet import WEIGHTS
from stages.networks.fewshot.generator import FewShotGenerator
from stages.train.config import Phase
from stages.train.trainer import Trainer

PAPERS = Path(__file__).resolve().parents[2] / "benchmarks" / "papers"
FAST = {"perceptual": "none"}


@pytest.fixture(scope="module", autouse=True)
def import_benchmark() -> Any:
    """import_benchmark(name): a module of benchmarks/papers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PAPERS))
        yield import_module


@pytest.fixture(scope="module")
def intervals(import_benchmark) -> ModuleType:
    return import_benchmark("intervals")


@pytest.fixture(scope="module")
def report(import_benchmark) -> ModuleType:
    return import_benchmark("report")


# intervals and verdicts


def test_the_interval_of_three_seeds_is_that_of_students_t(intervals: ModuleType):
    """For 1, 2, 3 the mean is 2 and the deviation 1; t of two degrees of freedom solves t^2 = 2 (2 p - 1)^2 / (1 - (2 p - 1)^2)."""
    t = np.sqrt(2 * 0.95**2 / (1 - 0.95**2))
    assert intervals.mean_and_half_width([1.0, 2.0, 3.0]) == pytest.approx((2, t / np.sqrt(3)))


def test_the_interval_contains_the_truth_in_95_of_100_experiments(intervals: ModuleType):
    draws = np.random.default_rng(0).normal(7, 2, (4000, 3))
    results = [intervals.mean_and_half_width(list(row)) for row in draws]
    assert np.mean([abs(mean - 7) <= half for mean, half in results]) == pytest.approx(0.95, abs=0.01)


def test_a_single_run_has_no_interval(intervals: ModuleType):
    assert intervals.mean_and_half_width([4.0]) == (4.0, None)
    assert intervals.format_interval(4.0, None) == "4"


def test_figures_are_rounded_to_the_precision_of_their_interval(intervals: ModuleType):
    assert intervals.format_interval(12.345, 0.42) == "12.35 ± 0.42" and intervals.format_interval(180.3, 25.0) == "180 ± 25"


@pytest.mark.parametrize(
    ("ours", "theirs", "better", "verdict"),
    [
        ((1.0, 1.1, 0.9), (2.0, 2.1, 1.9), "lower", "holds"),
        ((1.0, 1.1, 0.9), (2.0, 2.1, 1.9), "higher", "does not hold"),
        ((1.0, 2.0, 3.0), (1.1, 1.9, 3.05), "lower", "undecided"),
        ((1.0, 2.0, 3.0), (1.2, 2.2, 3.2), "lower", "holds"),  # the same seeds: only their difference counts
        ((1.0,), (2.0,), "lower", "undecided"),
    ],
)  # fmt: skip
def test_the_verdict_depends_on_the_interval_of_the_difference(intervals, ours, theirs, better, verdict):
    assert intervals.paired_verdict(ours, theirs, better) == verdict


def test_the_report_says_whether_each_claim_holds(report: ModuleType):
    table = {
        "ours": {"psnr": {0: 20.0, 1: 20.1, 2: 20.2}},
        "a": {"psnr": {0: 18.0, 1: 18.2, 2: 18.1}},
        "b": {"psnr": {0: 21.0, 1: 21.2, 2: 21.1}, "fid-squeezenet": {0: 3.0}},
    }
    claims = (("psnr", ("a",), 1.2), ("psnr", ("a", "b"), None), ("fid-squeezenet", ("b",), None))
    better, worse, none = report.check_claims(table, [report.Claim(metric, "ours", others, ratio) for metric, others, ratio in claims])
    assert "**holds**; ratio 1.11 (in the paper 1.20)" in better
    assert "b: **does not hold**; ratio 0.95" in worse and "not compared" in none


def test_missing_metrics_are_reported_for_the_methods_that_lack_them(import_benchmark, report: ModuleType):
    first = import_benchmark("scoring").Figures(missing={"fid": "no file", "pose-error": "nobody was found"}, variant="a")
    second = replace(first, values={"pose-error": 3.0}, missing={"fid": "no file"}, variant="b")
    text = report.missing_metrics([first, second, first], ["pose-error"])
    assert text.splitlines() == ["- fid is left out: no file", "- pose-error of a is left out: nobody was found"]


def test_a_method_that_scores_zero_has_no_ratio(report: ModuleType):
    table = {"ours": {"pose-found": {0: 0.7, 1: 0.8}}, "a": {"pose-found": {0: 0.0, 1: 0.0}}}
    assert "ratio undefined" in report.check_claims(table, [report.Claim("pose-found", "ours", ("a",))])[0]


def test_the_table_shows_means_intervals_gaps_and_the_best(report: ModuleType):
    table = {"ours": {"psnr": {0: 20.0, 1: 20.2}}, "a": {"ssim": {0: 0.5}}, "repeat the example": {"psnr": {0: 30.0}}}
    lines = report.markdown(table, ["psnr", "ssim", "nothing"]).splitlines()
    assert lines[0] == "|  | psnr (dB) ↑ | ssim ↑ |"
    assert lines[2:] == ["| ours | **20.1 ± 1.3** | n/a |", "| a | n/a | **0.5** |", "| repeat the example | 30 | n/a |"]


# labels


def test_accuracy_and_iou_of_a_small_confusion_matrix(import_benchmark):
    labeller = import_benchmark("labeller")
    truth, predicted = np.array([[0, 0, 0, 1], [1, 1, 255, 1]]), np.array([[0, 0, 1, 1], [1, 0, 0, 1]])
    confusion = labeller.confusion_of(truth, predicted, 3)
    assert confusion.tolist() == [[2, 1, 0], [1, 3, 0], [0, 0, 0]]
    assert labeller.accuracy_and_iou(confusion) == pytest.approx({"label-accuracy": 5 / 7, "label-miou": (2 / 4 + 3 / 5) / 2})


def test_pixels_without_a_label_are_void(import_benchmark):
    one_hot = torch.zeros(1, 3, 1, 3)
    one_hot[0, 2, 0, 0] = one_hot[0, 0, 0, 1] = 1
    assert import_benchmark("labeller").label_ids(one_hot).tolist() == [[[2, 0, 255]]]


def test_a_label_that_is_nine_times_as_rare_weighs_three_times_as_much(import_benchmark):
    weights = import_benchmark("labeller").label_weights(torch.tensor([[[0] * 36 + [1] * 4 + [255] * 60]]), 2)
    assert weights[1] == pytest.approx(3 * weights[0])


# attention


def test_attention_averages_the_pixels_of_the_examples(import_benchmark):
    attention_images = import_benchmark("attention_images")
    attention = torch.zeros(2, 2, 2, 2, 2)
    attention[0, 0, 1, 1, 0] = attention[0, 1, 0, 0, 0] = attention[1, 0, 0, 1, 1] = 1
    attention[1, 1, :, 0, 1] = 0.5
    images = torch.arange(8.0).reshape(2, 1, 2, 2)
    assert attention_images.apply_attention(attention, images).tolist() == [[[6, 0], [3, 3]]]


def test_the_attention_images_show_the_attention_that_the_network_uses(import_benchmark):
    torch.manual_seed(0)
    config = import_module("stages.networks.fewshot.config").PRESETS["tiny"]
    network, rng = FewShotGenerator(config).eval(), torch.Generator().manual_seed(1)
    images, semantics = torch.rand(1, 3, 3, 64, 64, generator=rng), torch.rand(1, 3, config.semantic_channels, 64, 64, generator=rng)
    with torch.no_grad():
        examples = Frame(semantics, torch.zeros(1, 3, 0, 3), images)
        code, driving = network.encode_examples(examples), examples.map(lambda x: x[:, 1])
        attention = import_benchmark("attention_images").attention_weights(network, code, driving.semantic)
        used = network.synthesize(code, driving).attention
        assert used is not None and torch.allclose(attention.sum((3, 4)).movedim(-1, 0), used[0], atol=1e-4)


# runs


@pytest.fixture(scope="module")
def actors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("actors")
    options = ["--subjects", 5, "--frames", 8, "--size", "64x32", "--no-flow", "-o", out]
    subprocess.run([sys.executable, *map(str, [PAPERS / "actors.py", *options])], check=True, stdout=subprocess.DEVNULL)
    return out


@pytest.fixture
def bench(import_benchmark, actors: Path, tmp_path: Path) -> Any:
    """An experiment: training of four steps on four people, evaluated on the fifth."""
    scales = import_benchmark("scales")
    scale = replace(
        scales.SCALES["quick"], phases=(Phase(2, batch=1, adversarial=False), Phase(2, batch=1, adversarial=False)), seeds=1,
        subjects=None, held_out=None,
    )  # fmt: skip
    rows = tuple(import_benchmark("sources").read_rows(actors))
    return import_benchmark("experiment").Experiment(tmp_path / "out", rows, "poses", scale, ("psnr", "no-such-metric"), device="cpu")


def test_every_fifth_actor_is_held_out_for_any_number_of_subjects(import_benchmark, actors: Path):
    sources = import_benchmark("sources")
    rows = sources.read_rows(actors)
    assert [row["split"] for row in rows] == ["train"] * 4 + ["val"]
    assert [row["subject"] for row in sources.select_subjects(rows, 2, None)] == ["actor-0000", "actor-0001", "actor-0004"]
    assert sources.select_subjects(rows, 9, None) == rows
    with pytest.raises(InputError, match="neither"):
        sources.read_rows(actors / "actor-0000-00.clip")


def test_an_interrupted_run_resumes_and_ends_with_the_same_weights(import_benchmark, bench: Any, monkeypatch: pytest.MonkeyPatch):
    experiment, other = import_benchmark("experiment"), replace(bench, out=bench.out.parent / "undisturbed")
    variant = experiment.Variant("MonkeyNet", {}, FAST, joints=True, family="monkeynet")
    undisturbed = experiment.train_variant(other, variant, 0)

    steps: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", interrupt_at(3, steps))
        with pytest.raises(KeyboardInterrupt):
            experiment.train_variant(bench, variant, 0)
        resumed = experiment.train_variant(bench, variant, 0)
    assert steps == [0, 1, 2, 3, 2, 3]  # from the state between the phases
    actual, expected = load_file(resumed), load_file(undisturbed)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def interrupt_at(step: int, steps: list[int]) -> Any:
    """A replacement of Trainer.train_step that records the steps in `steps`, and is interrupted when it first reaches `step`."""
    original = Trainer.train_step

    def train_step(trainer: Trainer, *arguments: Any) -> Any:
        steps.append(trainer.step)
        if trainer.step == step and steps.count(step) == 1:
            raise KeyboardInterrupt
        return original(trainer, *arguments)

    return train_step


def test_finished_results_are_kept_and_missing_metrics_are_named(import_benchmark, bench: Any, monkeypatch: pytest.MonkeyPatch):
    experiment = import_benchmark("experiment")
    ours = experiment.Variant("ours", training=FAST)
    variants = [ours, replace(ours, name="the same model, another output", model="ours", synthesis={"show": "raw"})]
    first = experiment.run(bench, variants)
    assert [figures.variant for figures in first] == [variant.name for variant in variants]
    assert first[0].values.keys() == {"psnr"} and "no-such-metric" in first[0].missing["no-such-metric"]
    assert first[0].values != first[1].values and first[0].repeat == first[1].repeat
    assert sorted(path.name for path in (bench.out / "models").iterdir()) == ["ours"]

    before = times(bench.out)
    monkeypatch.setattr(experiment, "train", None)
    assert experiment.run(bench, variants) == first
    changed = {path.name for path, time in times(bench.out).items() if before.get(path) != time}
    assert changed == {"figures.json"}  # only the missing metric is computed again


def test_results_are_labelled_by_a_network_trained_on_other_clips(import_benchmark, bench: Any):
    if reason := missing_weights(WEIGHTS):
        pytest.skip(reason)
    experiment = import_benchmark("experiment")
    scale = replace(bench.scale, labeller_steps=3)
    bench = replace(bench, kind="segment", metrics=("label-accuracy", "label-miou"), scale=scale)
    ours = [experiment.Variant("ours", training=FAST)]
    (first,) = experiment.run(bench, ours)
    snapshots = times(bench.out / "models")
    (again,) = experiment.run(replace(bench, labeller_rows=bench.rows[:1]), ours)
    assert first.values.keys() == first.real.keys() == {"label-accuracy", "label-miou"}
    assert first.real != again.real  # labelled by another network
    assert times(bench.out / "models") == snapshots


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_table_a_figure_a_sheet_and_json_are_written(import_benchmark, report: ModuleType, bench: Any):
    experiment = import_benchmark("experiment")
    variants: Sequence[Any] = [experiment.Variant("ours", training=FAST)]
    figures = experiment.run(bench, variants)
    text = report.write_report(bench, "trial", "A trial", figures, [report.Claim("psnr", "ours", ("nobody",))])
    report.write_frame_sheet(bench, variants, bench.out / "trial-frames.png")
    assert "| ours | **" in text and "no-such-metric is left out" in text and "not compared" in text
    assert {path.name for path in bench.out.iterdir() if path.stem.startswith("trial")} == {
        "trial.md", "trial.json", "trial.png", "trial-frames.png",
    }  # fmt: skip

"""Metrics of distributions: which results are one set, what is looked at only once, how shards add up, and what is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from figures import not_none, set_metric

from fsv2v_cli.main import run
from stages.errors import InputError, UsageError
from stages.evaluate import Distribution, Score, evaluate, find_metric, merge_parts, metric_names
from stages.evaluate import EvaluateOptions as Options
from stages.evaluate.cache import Cache
from stages.evaluate.extractor import Extractor, FrameEncoder, Networks, extract, still_statistics
from stages.evaluate.extractors.squeezenet import appearance_and_change
from stages.evaluate.frame_source import open_frame_source
from stages.evaluate.metrics import distributions
from stages.evaluate.set_statistics import StatisticsCollector, set_names
from stages.evaluate.statistics import Statistics, frechet_distance, kernel_distance, sample_keys

NAMES = ("fid-squeezenet", "kid-squeezenet", "fvd-squeezenet")
ALL = Options(NAMES, device="cpu")


class Eye:
    """Stands in for SqueezeNet: the mean colours of the quarters of a frame. It counts the frames that it has seen."""

    def __init__(self) -> None:
        self.seen = self.opened = 0

    def open(self, device: str) -> Callable[[np.ndarray], np.ndarray]:
        self.opened += 1
        return self.look

    def look(self, frames: np.ndarray) -> np.ndarray:
        self.seen += len(frames)
        count, height, width, _ = frames.shape
        quarters = frames.reshape(count, 2, height // 2, 2, width // 2, 3).mean((2, 4)) / 64
        return quarters.reshape(count, -1).astype(np.float32)


@pytest.fixture
def eye(monkeypatch: pytest.MonkeyPatch) -> Eye:
    """The three metrics with a network of 12 features, and figures from 4 samples on."""
    eye = Eye()
    look = FrameEncoder("eye", eye.open)
    frames = Extractor("eye-frames", "squeezenet1_0_imagenet.safetensors", 12, look)
    windows = replace(frames, name="eye-windows", dimensions=24, window=3, open=lambda device: appearance_and_change)
    extractors = {"fid-squeezenet": frames, "kid-squeezenet": frames, "fvd-squeezenet": windows}
    with_eye = (
        replace(metric, extractor=extractors[metric.name], min_samples=4) if metric.name in extractors else metric
        for metric in distributions.METRICS
    )
    monkeypatch.setattr(distributions, "METRICS", tuple(with_eye))
    return eye


def darker(levels: int):
    return lambda frame, index: np.clip(frame.astype(int) - levels, 0, 255).astype(np.uint8)


@pytest.fixture
def study(make) -> tuple[list[str], str]:
    """Results of two methods in `ours` and `theirs` for three references in `truth`."""
    truth = [make(f"truth/{name}", darker(5 * index)).path for index, name in enumerate("abc")]
    ours = [make(f"ours/{name}", darker(5 * index + 3)).path for index, name in enumerate("abc")]
    theirs = [make(f"theirs/{name}", darker(60 + index)).path for index, name in enumerate("abc")]
    return [*ours, *theirs], str(Path(truth[0]).parent)


def near(score: Score, *fields: str) -> Score:
    """The score, where these fields may differ a little."""
    loose: dict[str, Any] = {field: pytest.approx(getattr(score, field)) for field in fields}
    return replace(score, **loose)


def test_results_of_a_folder_are_one_set_and_stand_against_all_their_references(eye: Eye, study):
    results, truth = study
    scores = list(evaluate(results, [truth], ALL))
    assert [(Path(score.result).name, score.metric) for score in scores] == [(of, name) for of in ("ours", "theirs") for name in NAMES]
    assert {score.clips for score in scores} == {3} and {score.frames for score in scores} == {15, 9}
    ours, theirs = (dict((score.metric, score) for score in scores[i : i + 3]) for i in (0, 3))
    for name in NAMES:
        assert not_none(ours[name].value) < not_none(theirs[name].value)
        assert ours[name].baseline == pytest.approx(theirs[name].baseline), "the baseline is that of the references"


def test_the_figures_are_those_of_all_features_at_once(eye: Eye, study):
    results, truth = study
    fid, kid, fvd = list(evaluate(results[:3], [truth], ALL))
    frames = {path: np.stack(list(open_frame_source(path).frames()))[1:] for path in [*results[:3], *(f"{truth}/{name}" for name in "abc")]}
    features = {path: Eye().look(frames[path]) for path in frames}
    x, y = (np.concatenate([features[path] for path in paths]).astype(float) for paths in (list(features)[3:], list(features)[:3]))
    root = np.linalg.eigvals(np.cov(x.T) @ np.cov(y.T)).astype(complex) ** 0.5
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(np.cov(x.T) + np.cov(y.T)) - 2 * root.sum().real
    assert fid.value == pytest.approx(expected, rel=1e-4)

    def gram(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / 12 + 1) ** 3

    off = ~np.eye(15, dtype=bool)
    assert kid.value == pytest.approx(gram(x, x)[off].mean() + gram(y, y)[off].mean() - 2 * gram(x, y).mean(), rel=1e-4, abs=1e-6)

    def windows(all_features: np.ndarray) -> np.ndarray:
        return np.stack([
            np.concatenate([clip[i : i + 3].mean(0), 4 * np.abs(clip[i : i + 2] - clip[i + 1 : i + 3]).mean(0)])
            for clip in all_features.reshape(3, 5, 12) for i in range(3)
        ])  # fmt: skip

    sides = [Statistics.of(windows(v).astype(np.float32), sample_keys("", 0, 9)) for v in (x, y)]
    assert fvd.value == pytest.approx(frechet_distance(*sides), rel=1e-4)


def test_results_of_one_reference_compete(eye: Eye, make):
    truth, good, bad = make("truth").path, make("good", darker(2)).path, make("bad", darker(50)).path
    scores = list(evaluate([good, bad], [truth], Options(("fid-squeezenet",), device="cpu")))
    assert [score.result for score in scores] == [good, bad] and not_none(scores[0].value) < not_none(scores[1].value)


def test_pools_are_folders_unless_a_reference_occurs_twice():
    assert set_names([("x/a", "t/1"), ("x/b", "t/2"), ("y/a", "t/1")]) == ["x", "x", "y/a"]
    assert set_names([("x/a", "t/1"), ("x/b", "t/1"), ("x/a", "t/1")]) == ["x/a", "x/b", "x/a"]


def test_metrics_share_one_look_and_a_second_run_looks_at_nothing(eye: Eye, study, own_cache: Path):
    results, truth = study
    first = list(evaluate(results, [truth], ALL))
    looks = 6 * 5 + 3 * 5 + 3 * 5 + 3 * (1 + 3)  # results, references, warped examples; each example
    assert eye.seen == looks, "a look at each frame; each example alone and as a window"
    assert eye.opened == 1, "the network is loaded once"
    assert list(evaluate(results, [truth], ALL)) == [near(score, "value") for score in first]
    assert (eye.seen, eye.opened) == (looks, 1)
    assert all(path.suffix == ".npz" for path in own_cache.iterdir())


def test_other_pixels_another_size_or_another_network_are_looked_at_again(eye: Eye, make, monkeypatch: pytest.MonkeyPatch):
    truth = make("truth").path
    options = Options(("fid-squeezenet",), device="cpu")

    def seen(result: str) -> int:
        before = eye.seen
        list(evaluate([result], [truth], options))
        return eye.seen - before

    result = make("result", darker(2))
    assert seen(result.path) == 16, "result, reference and the warped example, and the example itself"
    assert seen(make("copy", darker(2)).path) == 0, "the content counts, not the name"
    assert seen(make("other", darker(3)).path) == 5
    assert seen(make("half", lambda frame, index: frame[::2, ::2]).path) == 16
    monkeypatch.setattr("weights.registry.sha256", lambda name: "of another network")
    assert seen(result.path) == 16


def test_a_broken_cache_entry_is_made_anew_with_a_warning(eye: Eye, make, own_cache: Path):
    truth, result = make("truth").path, make("result", darker(2)).path
    told: list[Mapping[str, Any]] = []
    (first,) = evaluate([result], [truth], Options(("fid-squeezenet",), device="cpu"))
    entries = sorted(own_cache.iterdir())
    for index, entry in enumerate(entries):
        data = entry.read_bytes()
        entry.write_bytes([b"", b"no archive", data[: len(data) // 2]][index % 3])
    (again,) = evaluate([result], [truth], Options(("fid-squeezenet",), device="cpu"), told.append)
    assert again == first
    warned = [event["warning"] for event in told if "warning" in event]
    assert len(warned) == len(entries) == 4 and all("broken and are computed again" in text for text in warned)
    eye.seen = 0
    list(evaluate([result], [truth], Options(("fid-squeezenet",), device="cpu")))
    assert eye.seen == 0


def test_a_flipped_bit_and_an_entry_of_something_else_are_found_out(tmp_path: Path):
    told: list[str] = []
    cache = Cache(str(tmp_path), told.append)
    statistics = Statistics.of(np.ones((5, 3), np.float32), sample_keys("x", 0, 5))
    path = cache.path(frames="x")
    cache.write(path, statistics)
    data = bytearray(path.read_bytes())
    data[data.index(np.float32(1).tobytes() * 3)] ^= 1
    path.write_bytes(bytes(data))
    assert cache.read(path) is None
    np.savez(path, count=np.array(5), sample=np.ones((4, 3), np.float32), keys=np.zeros(5, np.uint64))
    assert cache.read(path) is None and len(told) == 2
    with path.open("wb") as plain:
        np.save(plain, np.ones(3))
    assert cache.read(path) is None and len(told) == 3
    for place, value in ((4, 99), (6, 1)):  # of the first entry's header: a version of zip that nobody knows, and "encrypted"
        cache.write(path, statistics)
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\x01\x02") + place + 2] = value
        path.write_bytes(bytes(data))
        assert cache.read(path) is None
    assert len(told) == 5 and all("computed again" in text for text in told)


def test_two_writers_of_one_entry_do_not_harm_each_other(tmp_path: Path):
    told: list[str] = []
    cache = Cache(str(tmp_path), told.append)
    statistics = Statistics.of(np.random.default_rng(0).normal(size=(400, 64)).astype(np.float32), sample_keys("x", 0, 400))
    path = cache.path(frames="x")
    readings: list[Statistics | None] = []

    def work() -> None:
        for _ in range(10):
            cache.write(path, statistics)
            readings.append(cache.read(path))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [] and len(readings) == 40
    assert all(reading is not None and np.array_equal(reading.sample, statistics.sample) for reading in readings)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_cache_that_cannot_be_written_costs_no_result_and_is_told_of_once(eye: Eye, make, tmp_path: Path):
    (tmp_path / "file").write_text("")
    truth = make("truth").path
    told: list[Mapping[str, Any]] = []
    options = Options(("fid-squeezenet",), device="cpu", cache=str(tmp_path / "file" / "below"))
    (score,) = evaluate([truth], [truth], options, told.append)
    assert score.value == pytest.approx(0, abs=1e-6)
    (message,) = (event["warning"] for event in told if "not cached" in event.get("warning", ""))
    assert message.code == "cache-unwritable"


def test_shards_add_up_to_the_whole(eye: Eye, study, tmp_path: Path):
    results, truth = study
    options = Options(("psnr", *NAMES), device="cpu")
    whole = list(evaluate(results, [truth], options))
    parts = [str(tmp_path / f"{index}.npz") for index in range(4)]
    for index, part in enumerate(parts):
        of_shard = list(evaluate(results, [truth], options, shard=(index, 4), out=Path(part)))
        assert {score.metric for score in of_shard} == {"psnr"} and len(of_shard) == len(results[index::4])
    merged = list(merge_parts(parts[::-1]))

    def key(score: Score) -> tuple[str, str]:
        return score.result, score.metric

    assert sorted(merged, key=key) == [near(score, "value", "baseline", "warped") for score in sorted(whole, key=key)]


def test_evaluations_of_different_results_can_be_merged_even_if_each_is_too_small(eye: Eye, make, tmp_path: Path):
    options = Options(("fid-squeezenet",), device="cpu")
    truth = str(Path([make(f"truth/{name}", frames=2).path for name in "abcd"][0]).parent)
    for names in ("ab", "cd"):
        results = [make(f"ours/{name}", darker(2), frames=2).path for name in names]
        (alone,) = evaluate(results, [truth], options, out=tmp_path / names)
        assert alone.unavailable == "needs 4 frames, there are 2"
    (merged,) = merge_parts([str(tmp_path / "ab"), str(tmp_path / "cd")])
    assert merged.value is not None and merged.frames == merged.clips == 4


def test_parts_that_do_not_fit_are_refused(eye: Eye, study, tmp_path: Path):
    results, truth = study

    def part(name: str, metrics: tuple[str, ...], shard: tuple[int, int]) -> str:
        list(evaluate(results, [truth], Options(metrics, device="cpu"), shard=shard, out=tmp_path / name))
        return str(tmp_path / name)

    half, other, third = part("half", ("psnr",), (0, 2)), part("other", ("ssim",), (1, 2)), part("third", ("psnr",), (1, 3))
    whole = part("whole", ("psnr",), (0, 1))
    with pytest.raises(UsageError, match="All 2 shards are needed, each once, but the files hold 0/2"):
        list(merge_parts([half]))
    with pytest.raises(UsageError, match="the files hold 0/2, 0/2"):
        list(merge_parts([half, half]))
    with pytest.raises(UsageError, match="different metrics"):
        list(merge_parts([half, other]))
    with pytest.raises(UsageError, match="different numbers of shards"):
        list(merge_parts([half, third]))
    with pytest.raises(UsageError, match="more than one of the files"):
        list(merge_parts([whole, whole]))
    list(evaluate(results[::-1], [truth], Options(("psnr",), device="cpu"), shard=(1, 2), out=tmp_path / "reversed"))
    with pytest.raises(UsageError, match="shards of different evaluations"):
        list(merge_parts([half, str(tmp_path / "reversed")]))
    of_sets = str(tmp_path / "of_sets")
    list(evaluate(results, [truth], Options(("fid-squeezenet",), device="cpu"), out=Path(of_sets)))
    with pytest.raises(UsageError, match="more than one of the files"):
        list(merge_parts([of_sets, of_sets]))
    with pytest.raises(InputError, match="does not exist"):
        list(merge_parts(["nowhere.npz"]))
    (tmp_path / "broken").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(InputError, match="not a partial result of an evaluation"):
        list(merge_parts([str(tmp_path / "broken")]))


def test_equal_videos_are_no_distance_apart_and_black_ones_are_far(eye: Eye, make):
    truth, black = make("a/truth", frames=8).path, make("b/black", lambda frame, index: 0 * frame, frames=8).path
    same = {score.metric: score.value for score in evaluate([truth], [truth], ALL)}
    assert same["fid-squeezenet"] == pytest.approx(0, abs=1e-6) and same["fvd-squeezenet"] == pytest.approx(0, abs=1e-6)
    assert not_none(same["kid-squeezenet"]) <= 0, "the unbiased estimate of like sets is around 0, not above it"
    far = {score.metric: not_none(score.value) for score in evaluate([black], [truth], ALL)}
    assert all(np.isfinite(far[name]) and far[name] > 1 for name in NAMES)


def test_too_few_frames_are_told_with_their_number_and_never_looked_at(eye: Eye, make):
    image = make("one", frames=1).path
    fid, kid, fvd = evaluate([image], [image], ALL)
    assert fid.unavailable == kid.unavailable == "needs 4 frames, there are 1"
    assert fvd.unavailable == "needs 4 windows of 3 frames, there are 0"
    assert eye.seen == 0 and fid.value is None


def test_results_of_different_sizes_and_lengths_are_one_set(eye: Eye, make):
    results = [make("ours/a").path, make("ours/b", lambda frame, index: frame[::2, ::2], frames=3).path]
    make("truth/a"), make("truth/b", frames=3)
    (score,) = evaluate(results, [str(Path(results[0]).parents[1] / "truth")], Options(("fid-squeezenet",), device="cpu"))
    assert score.frames == 5 + 2 and score.clips == 2


def test_a_given_example_is_the_baseline_and_then_all_frames_count(eye: Eye, make, tmp_path: Path):
    import cv2

    cv2.imwrite(str(tmp_path / "grey.png"), np.full((make.side, make.side, 3), 128, np.uint8))
    truth = make("truth").path
    (given,) = evaluate([truth], [truth], Options(("fid-squeezenet",), example=str(tmp_path / "grey.png"), device="cpu"))
    (default,) = evaluate([truth], [truth], Options(("fid-squeezenet",), device="cpu"))
    assert given.frames == make.frames and default.frames == make.frames - 1 and not_none(given.baseline) > not_none(default.baseline)
    assert default.value == 0 < not_none(default.warped) < not_none(default.baseline), "moving the picture's pixels is near the truth"


def test_windows_lie_as_far_apart_as_the_extractor_says_and_a_batch_does_not_matter():
    def look(frames: np.ndarray) -> np.ndarray:
        return frames[:, 0, 0, :1].astype(np.float32)

    frames = [np.full((2, 2, 3), index, np.uint8) for index in range(40)]
    extractor = Extractor(
        "x", "", 2, FrameEncoder("x", lambda device: look), 5, 3, open=lambda device: lambda w: np.array([w[0, 0], w[-1, 0]])
    )
    found = extract(frames, "x", [extractor], Networks("cpu"), lambda count: None)["x"]
    assert found.count == extractor.samples(40) == 12
    assert sorted(map(tuple, found.sample.tolist())) == [(3.0 * i, 3.0 * i + 4) for i in range(12)]
    still = still_statistics(frames[7], "y", extractor, Networks("cpu"), 12)
    assert still.count == 12 and still.sample.tolist() == [[7, 7]] * 12
    assert [extractor.samples(count) for count in (0, 4, 5, 7, 8)] == [0, 0, 1, 1, 2]


def test_squeezenet_tells_darkness_and_flicker_from_the_truth(make):
    """The real network: what is worse to look at is farther away, and flicker counts for windows much more than for frames."""
    if reason := set_metric("fid-squeezenet").missing():
        pytest.skip(reason)
    frames, few = set_metric("fid-squeezenet").extractor, 12
    windows = set_metric("fvd-squeezenet").extractor
    gatherer = StatisticsCollector("cpu", Cache("", lambda text: pytest.fail(text)), lambda event: None)
    truth = make("truth", frames=few)

    def apart(name: str, fault) -> tuple[float, float]:
        sides = gatherer.collect(make(name, fault, frames=few), truth, None, [frames, windows])
        by_frames, by_windows = (frechet_distance(sides[one.name].references, sides[one.name].results) for one in (frames, windows))
        return by_frames, by_windows

    little, much = apart("little", darker(10)), apart("much", darker(120))
    flicker = apart("flicker", lambda frame, index: darker(40 * (index % 2))(frame, index))
    assert little[0] < much[0] and little[1] < much[1]
    assert flicker[1] / flicker[0] > 2 * little[1] / little[0]


def test_real_and_substitute_metrics_never_share_a_network():
    metrics = [metric for name in metric_names() if isinstance(metric := find_metric(name), Distribution)]
    for metric in metrics:
        assert ("squeezenet" in metric.name) == ("squeezenet" in metric.extractor.weights)
    assert {metric.distance for metric in metrics} <= {frechet_distance, kernel_distance}


# The command


def test_the_command_shards_merges_and_says_what_a_set_is(eye: Eye, study, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    results, truth = study
    command = ["evaluate", *results, "-r", truth, "--metric", "fid-squeezenet", "--cache", str(tmp_path / "kept")]
    assert run([*command, "--json"]) == 0
    whole = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(Path(row["result"]).name, row["clips"]) for row in whole] == [("ours", 3), ("theirs", 3)]
    assert (tmp_path / "kept").is_dir()
    for index in range(2):
        assert run([*command, "--shard", f"{index}/2", "-o", str(tmp_path / f"{index}.npz")]) == 0
    capfd.readouterr()
    assert run(["evaluate", "--merge", str(tmp_path / "0.npz"), str(tmp_path / "1.npz"), "--json"]) == 0
    merged = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [row["value"] for row in merged] == pytest.approx([row["value"] for row in whole])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["{result}"], "--reference"),
        (["{result}", "-r", "{result}", "--merge"], "can be used with it"),
        (["{result}", "--merge", "-o", "all.npz"], "can be used with it"),
        (["{result}", "--merge", "--metric", "psnr"], "can be used with it"),
        (["{result}", "--merge", "--shard", "0/3"], "can be used with it"),
        (["{result}", "-r", "{result}", "--shard", "0/2"], "-o PART.npz"),
    ],
)
def test_options_that_make_no_sense_together_are_refused(make, capfd: pytest.CaptureFixture[str], arguments: list[str], sentence: str):
    result = make("result").path
    assert run(["evaluate", *(argument.format(result=result) for argument in arguments)]) == 2
    assert sentence in capfd.readouterr().err


def test_two_runs_at_once_fill_one_cache_and_agree(make, fsv2v, tmp_path: Path):
    if reason := set_metric("fid-squeezenet").missing():
        pytest.skip(reason)
    truth, result = (make(name, lambda frame, index, k=k: frame[k::4, ::4], frames=66).path for name, k in (("truth", 0), ("result", 1)))
    command = ("evaluate", result, "-r", truth, "--metric", "fid-squeezenet", "--device", "cpu", "--cache", tmp_path / "kept", "--json")
    processes = [fsv2v.start(*command) for _ in range(2)]
    ended = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert ended[0] == ended[1] and ended[0][1] == b"", "no warning, and one figure"
    assert json.loads(ended[0][0])["value"] > 0
    assert fsv2v(*command).stdout.encode() == ended[0][0]
    assert sorted(path.suffix for path in (tmp_path / "kept").iterdir()) == [".npz"] * 4

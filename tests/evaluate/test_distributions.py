"""Metrics of distributions: sets of results, features that are computed once and cached, merged shards, and refused input."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typed_metrics import not_none, set_metric

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


class StubNetwork:
    """In place of SqueezeNet: the features of a frame are the mean colours of its quarters. It counts the frames that it encodes."""

    def __init__(self) -> None:
        self.encoded = self.opened = 0

    def open(self, device: str) -> Callable[[np.ndarray], np.ndarray]:
        self.opened += 1
        return self.encode

    def encode(self, frames: np.ndarray) -> np.ndarray:
        self.encoded += len(frames)
        count, height, width, _ = frames.shape
        quarters = frames.reshape(count, 2, height // 2, 2, width // 2, 3).mean((2, 4)) / 64
        return quarters.reshape(count, -1).astype(np.float32)


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> StubNetwork:
    """The network of the three metrics, with 12 features. The metrics need at least 4 samples."""
    network = StubNetwork()
    encoder = FrameEncoder("stub", network.open)
    frames = Extractor("stub-frames", "squeezenet1_0_imagenet.safetensors", 12, encoder)
    windows = replace(frames, name="stub-windows", dimensions=24, window=3, open=lambda device: appearance_and_change)
    extractors = {"fid-squeezenet": frames, "kid-squeezenet": frames, "fvd-squeezenet": windows}
    with_stub = (
        replace(metric, extractor=extractors[metric.name], min_samples=4) if metric.name in extractors else metric
        for metric in distributions.METRICS
    )
    monkeypatch.setattr(distributions, "METRICS", tuple(with_stub))
    return network


def darken(levels: int):
    return lambda frame, index: np.clip(frame.astype(int) - levels, 0, 255).astype(np.uint8)


@pytest.fixture
def two_methods(make) -> tuple[list[str], str]:
    """(results of two methods in `ours` and `theirs`, the folder `truth` with their three references)."""
    truth = [make(f"truth/{name}", darken(5 * index)).path for index, name in enumerate("abc")]
    ours = [make(f"ours/{name}", darken(5 * index + 3)).path for index, name in enumerate("abc")]
    theirs = [make(f"theirs/{name}", darken(60 + index)).path for index, name in enumerate("abc")]
    return [*ours, *theirs], str(Path(truth[0]).parent)


def approximately(score: Score, *fields: str) -> Score:
    """The score with tolerances for these fields."""
    approximate: dict[str, Any] = {field: pytest.approx(getattr(score, field)) for field in fields}
    return replace(score, **approximate)


def test_results_in_a_folder_are_one_set_and_compared_with_all_their_references(network: StubNetwork, two_methods):
    results, truth = two_methods
    scores = list(evaluate(results, [truth], ALL))
    assert [(Path(score.result).name, score.metric) for score in scores] == [
        (method, name) for method in ("ours", "theirs") for name in NAMES
    ]
    assert {score.clips for score in scores} == {3}
    assert {score.frames for score in scores} == {3 * 5, 3 * 3}, "five frames of each clip, or three windows"
    ours, theirs = (dict((score.metric, score) for score in scores[i : i + 3]) for i in (0, 3))
    for name in NAMES:
        assert not_none(ours[name].value) < not_none(theirs[name].value)
        assert ours[name].baseline == pytest.approx(theirs[name].baseline), "the baseline depends only on the references"


def test_the_scores_are_those_of_all_features_together(network: StubNetwork, two_methods):
    results, truth = two_methods
    fid, kid, fvd = list(evaluate(results[:3], [truth], ALL))

    def features(paths: list[str]) -> np.ndarray:
        """Of all frames but the first, which is the example."""
        frames = np.concatenate([np.stack(list(open_frame_source(path).frames()))[1:] for path in paths])
        return StubNetwork().encode(frames).astype(float)

    x, y = features([f"{truth}/{name}" for name in "abc"]), features(results[:3])
    root = np.linalg.eigvals(np.cov(x.T) @ np.cov(y.T)).astype(complex) ** 0.5
    expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(np.cov(x.T) + np.cov(y.T)) - 2 * root.sum().real
    assert fid.value == pytest.approx(expected, rel=1e-4)

    def gram(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / 12 + 1) ** 3

    off_diagonal = ~np.eye(15, dtype=bool)
    assert kid.value == pytest.approx(
        gram(x, x)[off_diagonal].mean() + gram(y, y)[off_diagonal].mean() - 2 * gram(x, y).mean(), rel=1e-4, abs=1e-6
    )

    def windows(all_features: np.ndarray) -> np.ndarray:
        return np.stack([
            np.concatenate([clip[i : i + 3].mean(0), 4 * np.abs(clip[i : i + 2] - clip[i + 1 : i + 3]).mean(0)])
            for clip in all_features.reshape(3, 5, 12) for i in range(3)
        ])  # fmt: skip

    sides = [Statistics.of(windows(v).astype(np.float32), sample_keys("", 0, 9)) for v in (x, y)]
    assert fvd.value == pytest.approx(frechet_distance(*sides), rel=1e-4)


def test_results_with_the_same_reference_are_separate_sets(network: StubNetwork, make):
    truth, good, bad = make("truth").path, make("good", darken(2)).path, make("bad", darken(50)).path
    scores = list(evaluate([good, bad], [truth], Options(("fid-squeezenet",), device="cpu")))
    assert [score.result for score in scores] == [good, bad] and not_none(scores[0].value) < not_none(scores[1].value)


def test_sets_are_folders_unless_a_reference_occurs_twice():
    assert set_names([("x/a", "t/1"), ("x/b", "t/2"), ("y/a", "t/1")]) == ["x", "x", "y/a"]
    assert set_names([("x/a", "t/1"), ("x/b", "t/1"), ("x/a", "t/1")]) == ["x/a", "x/b", "x/a"]


def test_metrics_share_features_and_a_second_run_encodes_no_frames(network: StubNetwork, two_methods, own_cache: Path):
    results, truth = two_methods
    first = list(evaluate(results, [truth], ALL))
    expected = 6 * 5 + 3 * 5 + 3 * 5 + 3 * (1 + 3)  # results, references, warped examples; examples as a frame and as a window of three
    assert network.encoded == expected, "no frame is encoded for each metric"
    assert network.opened == 1, "the network is loaded once"
    assert list(evaluate(results, [truth], ALL)) == [approximately(score, "value") for score in first]
    assert (network.encoded, network.opened) == (expected, 1)
    assert all(path.suffix == ".npz" for path in own_cache.iterdir())


def test_frames_are_encoded_again_if_pixels_size_or_network_differ(network: StubNetwork, make, monkeypatch: pytest.MonkeyPatch):
    truth = make("truth").path
    options = Options(("fid-squeezenet",), device="cpu")

    def count_encoded(result: str) -> int:
        before = network.encoded
        list(evaluate([result], [truth], options))
        return network.encoded - before

    result = make("result", darken(2))
    assert count_encoded(result.path) == 16, "five frames each of result, reference and warped example; one of the example"
    assert count_encoded(make("copy", darken(2)).path) == 0, "the content counts, not the name"
    assert count_encoded(make("other", darken(3)).path) == 5
    assert count_encoded(make("half", lambda frame, index: frame[::2, ::2]).path) == 16
    monkeypatch.setattr("weights.registry.sha256", lambda name: "of another network")
    assert count_encoded(result.path) == 16


def test_a_broken_cache_entry_is_replaced_with_a_warning(network: StubNetwork, make, own_cache: Path):
    truth, result = make("truth").path, make("result", darken(2)).path
    events: list[Mapping[str, Any]] = []
    (first,) = evaluate([result], [truth], Options(("fid-squeezenet",), device="cpu"))
    entries = sorted(own_cache.iterdir())
    for index, entry in enumerate(entries):
        data = entry.read_bytes()
        entry.write_bytes([b"", b"no archive", data[: len(data) // 2]][index % 3])
    (again,) = evaluate([result], [truth], Options(("fid-squeezenet",), device="cpu"), events.append)
    assert again == first
    warnings = [event["warning"] for event in events if "warning" in event]
    assert len(warnings) == len(entries) == 4 and all("broken and are computed again" in text for text in warnings)
    network.encoded = 0
    list(evaluate([result], [truth], Options(("fid-squeezenet",), device="cpu")))
    assert network.encoded == 0


def test_a_flipped_bit_and_foreign_entries_of_the_cache_are_detected(tmp_path: Path):
    warnings: list[str] = []
    cache = Cache(str(tmp_path), warnings.append)
    statistics = Statistics.of(np.ones((5, 3), np.float32), sample_keys("x", 0, 5))
    path = cache.path(frames="x")
    cache.write(path, statistics)
    data = bytearray(path.read_bytes())
    data[data.index(np.float32(1).tobytes() * 3)] ^= 1
    path.write_bytes(bytes(data))
    assert cache.read(path) is None
    np.savez(path, count=np.array(5), sample=np.ones((4, 3), np.float32), keys=np.zeros(5, np.uint64))
    assert cache.read(path) is None and len(warnings) == 2
    with path.open("wb") as plain:
        np.save(plain, np.ones(3))
    assert cache.read(path) is None and len(warnings) == 3
    for offset, value in ((6, 99), (8, 1)):  # in the central directory: an unknown version of zip, and the flag for encryption
        cache.write(path, statistics)
        data = bytearray(path.read_bytes())
        data[data.index(b"PK\x01\x02") + offset] = value
        path.write_bytes(bytes(data))
        assert cache.read(path) is None
    assert len(warnings) == 5 and all("computed again" in text for text in warnings)


def test_two_threads_can_write_one_entry_at_once(tmp_path: Path):
    warnings: list[str] = []
    cache = Cache(str(tmp_path), warnings.append)
    statistics = Statistics.of(np.random.default_rng(0).normal(size=(400, 64)).astype(np.float32), sample_keys("x", 0, 400))
    path = cache.path(frames="x")
    results: list[Statistics | None] = []

    def work() -> None:
        for _ in range(10):
            cache.write(path, statistics)
            results.append(cache.read(path))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings == [] and len(results) == 40
    assert all(result is not None and np.array_equal(result.sample, statistics.sample) for result in results)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_cache_that_cannot_be_written_causes_one_warning_and_no_failure(network: StubNetwork, make, tmp_path: Path):
    (tmp_path / "file").write_text("")
    truth = make("truth").path
    events: list[Mapping[str, Any]] = []
    options = Options(("fid-squeezenet",), device="cpu", cache=str(tmp_path / "file" / "below"))
    (score,) = evaluate([truth], [truth], options, events.append)
    assert score.value == pytest.approx(0, abs=1e-6)
    (message,) = (event["warning"] for event in events if "not cached" in event.get("warning", ""))
    assert message.code == "cache-unwritable"


def test_merged_shards_give_the_scores_of_the_whole_evaluation(network: StubNetwork, two_methods, tmp_path: Path):
    results, truth = two_methods
    options = Options(("psnr", *NAMES), device="cpu")
    unsharded = list(evaluate(results, [truth], options))
    parts = [str(tmp_path / f"{index}.npz") for index in range(4)]
    for index, part in enumerate(parts):
        of_shard = list(evaluate(results, [truth], options, shard=(index, 4), out=Path(part)))
        assert {score.metric for score in of_shard} == {"psnr"} and len(of_shard) == len(results[index::4])
    merged = list(merge_parts(parts[::-1]))

    def key(score: Score) -> tuple[str, str]:
        return score.result, score.metric

    assert sorted(merged, key=key) == [approximately(score, "value", "baseline", "warped") for score in sorted(unsharded, key=key)]


def test_evaluations_of_different_results_can_be_merged_even_if_each_is_too_small(network: StubNetwork, make, tmp_path: Path):
    options = Options(("fid-squeezenet",), device="cpu")
    truth = str(Path([make(f"truth/{name}", frames=2).path for name in "abcd"][0]).parent)
    for names in ("ab", "cd"):
        results = [make(f"ours/{name}", darken(2), frames=2).path for name in names]
        (alone,) = evaluate(results, [truth], options, out=tmp_path / names)
        assert alone.unavailable == "needs 4 frames, there are 2"
    (merged,) = merge_parts([str(tmp_path / "ab"), str(tmp_path / "cd")])
    assert merged.value is not None and merged.frames == merged.clips == 4


def test_partial_results_that_do_not_fit_together_are_refused(network: StubNetwork, two_methods, tmp_path: Path):
    results, truth = two_methods

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


def test_the_distance_of_equal_videos_is_zero_and_that_of_black_ones_is_large(network: StubNetwork, make):
    truth, black = make("a/truth", frames=8).path, make("b/black", lambda frame, index: 0 * frame, frames=8).path
    same = {score.metric: score.value for score in evaluate([truth], [truth], ALL)}
    assert same["fid-squeezenet"] == pytest.approx(0, abs=1e-6) and same["fvd-squeezenet"] == pytest.approx(0, abs=1e-6)
    assert not_none(same["kid-squeezenet"]) <= 0, "the unbiased estimate for equal sets can be negative"
    far = {score.metric: not_none(score.value) for score in evaluate([black], [truth], ALL)}
    assert all(np.isfinite(far[name]) and far[name] > 1 for name in NAMES)


def test_too_few_frames_are_reported_with_their_number_and_not_encoded(network: StubNetwork, make):
    image = make("one", frames=1).path
    fid, kid, fvd = evaluate([image], [image], ALL)
    assert fid.unavailable == kid.unavailable == "needs 4 frames, there are 1"
    assert fvd.unavailable == "needs 4 windows of 3 frames, there are 0"
    assert network.encoded == 0 and fid.value is None


def test_results_of_different_sizes_and_lengths_are_one_set(network: StubNetwork, make):
    results = [make("ours/a").path, make("ours/b", lambda frame, index: frame[::2, ::2], frames=3).path]
    make("truth/a"), make("truth/b", frames=3)
    (score,) = evaluate(results, [str(Path(results[0]).parents[1] / "truth")], Options(("fid-squeezenet",), device="cpu"))
    assert score.frames == 5 + 2 and score.clips == 2


def test_with_an_example_all_frames_count_and_the_example_is_the_baseline(network: StubNetwork, make, tmp_path: Path):
    import cv2

    cv2.imwrite(str(tmp_path / "grey.png"), np.full((make.side, make.side, 3), 128, np.uint8))
    truth = make("truth").path
    (with_example,) = evaluate([truth], [truth], Options(("fid-squeezenet",), example=str(tmp_path / "grey.png"), device="cpu"))
    (default,) = evaluate([truth], [truth], Options(("fid-squeezenet",), device="cpu"))
    assert (with_example.frames, default.frames) == (make.frames, make.frames - 1), "by default the first frame is the example"
    assert not_none(with_example.baseline) > not_none(default.baseline)
    assert default.value == 0 < not_none(default.warped) < not_none(default.baseline), "the warped example is closer to the truth"


def test_windows_have_the_stride_of_the_extractor_in_batches_of_any_size():
    def encode(frames: np.ndarray) -> np.ndarray:
        return frames[:, 0, 0, :1].astype(np.float32)

    frames = [np.full((2, 2, 3), index, np.uint8) for index in range(40)]
    encoder = FrameEncoder("x", lambda device: encode)
    extractor = Extractor(
        "x", "", 2, encoder, window=5, stride=3, open=lambda device: lambda encoded: np.array([encoded[0, 0], encoded[-1, 0]])
    )
    statistics = extract(frames, "x", [extractor], Networks("cpu"), lambda count: None)["x"]
    assert statistics.count == extractor.num_vectors(40) == 12
    assert sorted(map(tuple, statistics.sample.tolist())) == [(3.0 * i, 3.0 * i + 4) for i in range(12)]
    still = still_statistics(frames[7], "y", extractor, Networks("cpu"), 12)
    assert still.count == 12 and still.sample.tolist() == [[7, 7]] * 12
    assert [extractor.num_vectors(count) for count in (0, 4, 5, 7, 8)] == [0, 0, 1, 1, 2]


def test_squeezenet_distinguishes_darkness_and_flicker_from_the_truth(make):
    """The real network: the distance grows with the error, and flicker counts much more for windows than for frames."""
    if reason := set_metric("fid-squeezenet").missing():
        pytest.skip(reason)
    frames, num_frames = set_metric("fid-squeezenet").extractor, 12
    windows = set_metric("fvd-squeezenet").extractor
    collector = StatisticsCollector("cpu", Cache("", lambda text: pytest.fail(text)), lambda event: None)
    truth = make("truth", frames=num_frames)

    def distances(name: str, change) -> tuple[float, float]:
        sides = collector.collect(make(name, change, frames=num_frames), truth, None, [frames, windows])
        by_frames, by_windows = (
            frechet_distance(sides[extractor.name].references, sides[extractor.name].results) for extractor in (frames, windows)
        )
        return by_frames, by_windows

    weak, strong = distances("weak", darken(10)), distances("strong", darken(120))
    flicker = distances("flicker", lambda frame, index: darken(40 * (index % 2))(frame, index))
    assert weak[0] < strong[0] and weak[1] < strong[1]
    assert flicker[1] / flicker[0] > 2 * weak[1] / weak[0]


def test_published_metrics_and_those_with_squeezenet_never_share_a_network():
    metrics = [metric for name in metric_names() if isinstance(metric := find_metric(name), Distribution)]
    for metric in metrics:
        assert ("squeezenet" in metric.name) == ("squeezenet" in metric.extractor.weights)
    assert {metric.distance for metric in metrics} <= {frechet_distance, kernel_distance}


# The command


def test_the_command_evaluates_shards_and_merges_them(network: StubNetwork, two_methods, tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    results, truth = two_methods
    command = ["evaluate", *results, "-r", truth, "--metric", "fid-squeezenet", "--cache", str(tmp_path / "cache")]
    assert run([*command, "--json"]) == 0
    whole = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [(Path(row["result"]).name, row["clips"]) for row in whole] == [("ours", 3), ("theirs", 3)]
    assert (tmp_path / "cache").is_dir()
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
def test_missing_and_conflicting_options_are_refused(make, capfd: pytest.CaptureFixture[str], arguments: list[str], sentence: str):
    result = make("result").path
    assert run(["evaluate", *(argument.format(result=result) for argument in arguments)]) == 2
    assert sentence in capfd.readouterr().err


def test_two_runs_at_once_share_one_cache_and_agree(make, fsv2v, tmp_path: Path):
    if reason := set_metric("fid-squeezenet").missing():
        pytest.skip(reason)
    truth, result = (make(name, lambda frame, index, k=k: frame[k::4, ::4], frames=66).path for name, k in (("truth", 0), ("result", 1)))
    command = ("evaluate", result, "-r", truth, "--metric", "fid-squeezenet", "--device", "cpu", "--cache", tmp_path / "cache", "--json")
    processes = [fsv2v.start(*command) for _ in range(2)]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1] and outputs[0][1] == b"", "no warning, and the same score"
    assert json.loads(outputs[0][0])["value"] > 0
    assert fsv2v(*command).stdout.encode() == outputs[0][0]
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".npz"] * 4

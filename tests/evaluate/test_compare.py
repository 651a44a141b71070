"""Results are paired with references, and pairs that cannot be compared are refused."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typed_metrics import frame_metric, not_none

from fsv2v_cli.hints import with_hint
from stages.clip import Producer, VideoWriter, create_clip
from stages.clip.pack import pack
from stages.conditions.redetection import landmark_error, nearest
from stages.errors import InputError, InvalidClip, MissingRequirement, Sentence, UsageError
from stages.evaluate import Distribution, EvaluateOptions, Metric, Score, evaluate, find_metric, metric_names, pair_results
from stages.evaluate.compare import _kept_driving
from stages.evaluate.frame_source import FrameSource, open_frame_source
from stages.evaluate.measure import measure
from stages.evaluate.metric import EvaluationContext
from stages.evaluate.metrics.landmark_error import _targets, driving_landmarks
from stages.evaluate.partial_result import group_by_method, mean_scores

SIDE = 100
PSNR = EvaluateOptions(metrics=("psnr",))


def test_several_results_are_scored_side_by_side_against_one_reference(make):
    truth, good, bad = make("truth"), make("good", darken(3)), make("bad", darken(30))
    first, second = evaluate([good.path, bad.path], [truth.path], PSNR)
    assert (first.result, second.result) == (good.path, bad.path)
    assert not_none(first.value) > not_none(second.value) and first.baseline == second.baseline


def darken(levels: int):
    return lambda frame, index: np.clip(frame.astype(int) - levels, 0, 255).astype(np.uint8)


def test_all_metrics_of_the_driving_kind_are_used_if_none_is_named(make):
    truth, result = make("truth"), make("result", darken(3))
    used = [score.metric for score in evaluate([result.path], [truth.path], EvaluateOptions(device="cpu"))]
    of_frames, of_sets = ([name for name in metric_names() if isinstance(find_metric(name), kind)] for kind in (Metric, Distribution))
    only_by_name = [name for name in of_frames if frame_metric(name).layer or frame_metric(name).only_by_name]
    assert used == [name for name in of_frames if name not in only_by_name] + of_sets


def test_a_score_is_one_json_object_with_all_documented_fields(make):
    truth = make("truth")
    (score,) = evaluate([truth.path], [truth.path], PSNR)
    row = json.loads(json.dumps(score.json(), allow_nan=False))
    assert {"result", "metric", "value", "frames", "unit", "better", "baseline", "warped", "coverage"} <= row.keys()
    assert row["value"] == 100 and row["frames"] == make.frames - 1 and row["coverage"] == 1


def test_references_in_a_folder_are_found_by_name_and_the_mean_counts_each_clip_once(make):
    make("truth/anna"), make("truth/ben", frames=3)
    results = [make("out/anna", darken(3)).path, make("out/ben", darken(30), frames=3).path]
    *each, mean = evaluate(results, [str(Path(results[0]).parents[1] / "truth")], PSNR)
    assert mean.result == "mean" and mean.clips == 2
    assert mean.value == pytest.approx(sum(not_none(score.value) for score in each) / 2)


def test_equal_numbers_of_references_and_results_are_paired_in_order(make):
    a, b = make("a").path, make("b").path
    assert pair_results([a, b], [b, a]) == [(a, b), (b, a)]


def test_two_references_for_three_results_are_a_usage_error(make):
    a = make("a").path
    with pytest.raises(UsageError, match="2 references for 3 results"):
        pair_results([a, a, a], [a, a])


def test_a_result_without_a_reference_of_its_name_is_reported(make):
    result = make("out/anna")
    make("truth/ben")
    with pytest.raises(InputError, match="no reference named anna"):
        pair_results([result.path], [str(Path(result.path).parents[1] / "truth")])


def test_a_clip_is_preferred_to_a_video_of_its_name_and_two_videos_are_refused(tmp_path):
    (tmp_path / "anna.mp4").touch()
    (tmp_path / "ben.mov").touch()
    (tmp_path / "ben.mp4").touch()
    create_clip(tmp_path / "anna.clip", [np.zeros((8, 8, 3), np.uint8)])
    pack(tmp_path / "anna.clip")

    assert pair_results(["out/anna.mp4"], [str(tmp_path)]) == [("out/anna.mp4", str(tmp_path / "anna.clip"))]
    with pytest.raises(InputError, match=r"several references for out/ben\.mp4: ben\.mov and ben\.mp4"):
        pair_results(["out/ben.mp4"], [str(tmp_path)])


def test_a_dot_in_the_name_of_an_image_folder_does_not_begin_a_suffix(make):
    results, truth = [make(f"out/take.{take}").path for take in (1, 2)], [make(f"truth/take.{take}").path for take in (1, 2)]
    (make.folder / "truth" / "take.1.txt").write_text("a file beside it is not a reference")
    assert pair_results(results, [str(make.folder / "truth")]) == list(zip(results, truth, strict=True))


def test_a_folder_of_results_and_an_empty_name_are_refused(make):
    (result, truth) = (make(f"{folder}/anna").path for folder in ("out", "truth"))
    with pytest.raises(InputError, match=r"Give the results in the folder: .*/out/\*"):
        pair_results([str(Path(result).parent)], [str(Path(truth).parent)])
    with pytest.raises(UsageError, match="variable of the shell"):
        pair_results([result], [""])


def test_a_metric_that_is_named_twice_is_computed_once(make):
    truth, result = make("truth"), make("result", darken(3))
    once = list(evaluate([result.path], [truth.path], EvaluateOptions(("flicker", "perceptual"), device="cpu")))
    names = ("flicker", "perceptual", "flicker", "perceptual-squeezenet")
    assert list(evaluate([result.path], [truth.path], EvaluateOptions(names, device="cpu"))) == once


def test_videos_of_different_frame_rates_are_compared_by_frame_number(make, tmp_path: Path):
    for rate in (25, 30):
        with VideoWriter(tmp_path / f"{rate}.mp4", make.side, make.side, Fraction(rate)) as video:
            for index in range(make.frames):
                video.write(make.portrait(index))
    warnings: list[str] = []
    (score,) = evaluate([f"{tmp_path}/30.mp4"], [f"{tmp_path}/25.mp4"], PSNR, lambda event: warnings.append(event.get("warning", "")))
    assert not_none(score.value) > 38, "only the encoder changes the frames"
    assert "30.mp4 has 30 frames a second, its reference" in warnings[0] and "has 25: frames are compared by their number" in warnings[0]


def test_a_reference_of_another_length_is_refused_with_both_lengths(make):
    with pytest.raises(InputError, match=f"{make.frames} frames.* has 3"):
        list(evaluate([make("result").path], [make("truth", frames=3).path], PSNR))


def test_the_warning_about_another_frame_rate_has_both_rates(tmp_path: Path):
    image = np.zeros((64, 64, 3), np.uint8)
    events: list[Mapping[str, Any]] = []
    slow, fast, pal = (create_clip(tmp_path / f"{fps}.clip", iter([image] * 3), fps=Fraction(fps), storage="png") for fps in (24, 30, 25))
    list(evaluate([str(slow.path)], [str(fast.path)], PSNR, events.append))
    assert [event["warning"] for event in events if "warning" in event] == [
        f"{slow.path} has 24 frames a second, its reference {fast.path} has 30: frames are compared by their number, not by their time"
    ]
    events.clear()
    list(evaluate([str(pal.path)], [str(pal.path)], PSNR, events.append))
    assert not [event for event in events if "warning" in event]


def producer_with_crop(crop: str) -> Producer:
    return Producer("synthesize", "landmarks", {"crop": crop})


def test_comparing_a_crop_with_the_whole_video_causes_a_warning(tmp_path: Path):
    small, large = np.zeros((64, 64, 3), np.uint8), np.zeros((96, 96, 3), np.uint8)
    events: list[Mapping[str, Any]] = []
    whole = create_clip(tmp_path / "whole.clip", iter([large] * 2), storage="png")
    head = create_clip(tmp_path / "head.clip", iter([small] * 2), storage="png", producer=producer_with_crop("auto"))
    with VideoWriter(tmp_path / "head.mp4", 64, 64, Fraction(25), comment=producer_with_crop("auto").key()) as video:
        video.write(small)
        video.write(small)
    for result in (head.path, tmp_path / "head.mp4"):
        list(evaluate([str(result)], [str(whole.path)], PSNR, events.append))
    warnings = [event["warning"] for event in events if "warning" in event]
    assert warnings == [
        f"{result} was made with the crop 'auto', and {whole.path} may show more than that crop"
        for result in (head.path, tmp_path / "head.mp4")
    ]


@pytest.mark.parametrize("crop", ["none", "auto"])
def test_a_result_without_a_crop_or_with_the_same_crop_causes_no_warning(crop: str, tmp_path: Path):
    """A reference that synthesize made with the same crop shows the same part of the video."""
    sizes = (64, 96 if crop == "none" else 64)
    events: list[Mapping[str, Any]] = []
    images = [np.zeros((size, size, 3), np.uint8) for size in sizes]
    result, reference = (
        create_clip(tmp_path / f"{index}.clip", iter([image] * 2), storage="png", producer=producer_with_crop(crop))
        for index, image in enumerate(images)
    )
    list(evaluate([str(result.path)], [str(reference.path)], PSNR, events.append))
    assert not [event for event in events if "warning" in event]


def test_a_driving_clip_of_another_length_is_refused_with_both_lengths(make):
    truth = make("truth").path
    with pytest.raises(InputError, match=f"has 3 frames.* has {make.frames}"):
        list(evaluate([truth], [truth], replace(PSNR, driving=make("driving", frames=3).path)))


def test_a_larger_reference_is_reduced_to_the_size_of_the_result(make):
    half = make("result", lambda frame, index: cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))
    (score,) = evaluate([half.path], [make("truth").path], PSNR)
    assert score.value == 100


def test_a_reference_of_another_aspect_ratio_is_refused(make):
    with pytest.raises(InputError, match=rf"{make.side}x{make.side} pixels, its reference .* has {make.side}x{make.side // 2}"):
        list(evaluate([make("result").path], [make("truth", lambda frame, index: frame[: make.side // 2]).path], PSNR))


def test_with_an_example_image_all_frames_count_and_it_is_the_baseline(make, tmp_path: Path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((make.side, make.side, 3), 128, np.uint8))
    truth = make("truth").path
    (score,) = evaluate([truth], [truth], replace(PSNR, example=str(tmp_path / "grey.png")))
    (default,) = evaluate([truth], [truth], PSNR)
    assert score.frames == make.frames and not_none(score.baseline) < not_none(default.baseline)


def test_a_single_image_has_no_baseline_and_no_score_that_needs_two_frames(make):
    image = make("truth", frames=1).path
    scores = {score.metric: score for score in evaluate([image], [image], EvaluateOptions(device="cpu"))}
    assert scores["psnr"].value == 100 and scores["psnr"].baseline is None and scores["psnr"].warped is None
    assert scores["warping-error"].value is None and scores["warping-error"].unavailable == "needs 2 frames"


def test_frames_that_are_too_small_for_optical_flow_have_no_warped_baseline(make):
    tiny = make("tiny", lambda frame, index: frame[:12, :12]).path
    (score,) = evaluate([tiny], [tiny], PSNR)
    assert score.baseline is not None and score.warped is None and score.warped_series == ()


def test_a_metric_without_its_weights_is_reported_with_the_remedy(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    truth = make("truth").path
    monkeypatch.setenv("FSV2V_WEIGHTS", str(tmp_path / "empty"))
    monkeypatch.delenv("FSV2V_WEIGHTS_MIRROR", raising=False)
    scores = {score.metric: score for score in evaluate([truth], [truth], EvaluateOptions(device="cpu", landmarks="mediapipe"))}
    assert scores["perceptual-squeezenet"].value is None and scores["landmark-error"].value is None
    assert "FSV2V_WEIGHTS_MIRROR" in scores["perceptual-squeezenet"].unavailable
    reason = scores["landmark-error"].unavailable
    assert isinstance(reason, Sentence) and reason.facts == {"name": "face_landmarker.task"}
    assert with_hint(reason).endswith("Run `fsv2v weights fetch face_landmarker.task`")
    assert scores["psnr"].value == 100
    with pytest.raises(MissingRequirement, match="squeezenet.*FSV2V_WEIGHTS_MIRROR"):
        list(evaluate([truth], [truth], EvaluateOptions(metrics=("perceptual",), device="cpu")))


def test_an_unknown_metric_is_a_usage_error_that_lists_the_known_ones():
    with pytest.raises(UsageError, match="psnr"):
        find_metric("beauty")


def test_frames_are_decoded_once_and_released(make):
    truth, max_alive, decoded = make("truth", frames=2), [0], [0]
    frames: list[weakref.ref[np.ndarray]] = []

    def stream() -> Iterator[np.ndarray]:
        for index in range(40):
            frame = make.portrait(index % 20).copy()
            frames.append(weakref.ref(frame))
            max_alive[0], decoded[0] = max(max_alive[0], sum(reference() is not None for reference in frames)), decoded[0] + 1
            yield frame

    long = FrameSource("long", make.side, make.side, 40, stream)
    metrics = [frame_metric(name) for name in ("psnr", "warping-error")]
    scores = list(
        measure([replace(truth, num_frames=40, frames=lambda: stream())], long, metrics, EvaluationContext(make.side, make.side), None)
    )
    assert len(scores) == 2 and decoded == [80]
    assert max_alive[0] <= 8


def test_driving_landmarks_are_those_of_the_layer_scaled_to_the_result(tmp_path: Path):
    driving = clip_with_landmarks(tmp_path / "driving.clip", stage="import", points=np.full((2, 1, 68, 3), 9.5, np.float32))
    (first, _) = driving_landmarks(driving, 2 * SIDE, 2 * SIDE, no_detector)
    assert np.allclose(first[:, :2], 19.5), "pixel centres: twice the size moves 9.5 + 0.5 to 20 - 0.5"
    with pytest.raises(InputError, match="cannot be compared"):
        next(driving_landmarks(driving, SIDE, 2 * SIDE, no_detector))


def test_a_result_that_kept_only_poses_is_compared_with_landmarks_of_its_reference(tmp_path: Path):
    clip = create_clip(tmp_path / "posed.clip", width=SIDE, height=SIDE, num_frames=1)
    with clip.writing("poses", Producer(stage="synthesize"), inputs={}) as layer:
        boxes, ids = np.ones((1, 1, 4), np.float32), np.zeros((1, 1), np.int32)
        layer.arrays(keypoints=np.ones((1, 1, 25, 3), np.float32), boxes=boxes, track_id=ids)
    result = open_frame_source(str(clip.path))
    assert _kept_driving(result) is result
    assert _targets(EvaluationContext(SIDE, SIDE, driving=result, kept=True), no_detector) is None
    assert _targets(EvaluationContext(SIDE, SIDE, driving=result), no_detector) is not None, (
        "if it is named as the driving clip, faces are detected in its frames"
    )


def test_the_driving_face_that_is_in_most_frames_counts(tmp_path: Path):
    points = np.full((5, 2, 68, 3), 9.5, np.float32)
    points[:, 1, :, :2] = 40
    points[2:, 0] = 0  # the first face disappears
    driving = clip_with_landmarks(tmp_path / "two.clip", stage="import", points=points)
    assert all(np.allclose(face[:, :2], 40) for face in driving_landmarks(driving, SIDE, SIDE, no_detector))
    nobody = clip_with_landmarks(tmp_path / "nobody.clip", stage="import", points=points[:, :0])
    assert not any(face.any() for face in driving_landmarks(nobody, SIDE, SIDE, no_detector))


def test_driving_landmarks_with_nan_make_the_clip_invalid(tmp_path: Path):
    points = np.full((3, 1, 68, 3), 9.5, np.float32)
    driving = clip_with_landmarks(tmp_path / "driving.clip", stage="import", points=points)
    points[1, 0, 30, 0] = np.nan  # a clip refuses NaN, so the file is written directly
    np.savez(tmp_path / "driving.clip" / "landmarks" / "data.npz", points=points)
    with pytest.raises(InvalidClip, match="landmarks/points holds NaN"):
        next(driving_landmarks(driving, SIDE, SIDE, no_detector))


def test_landmarks_that_the_driving_face_lacks_do_not_count():
    target = np.random.default_rng(0).uniform(20, 80, (68, 3)).astype(np.float32)
    detected, far = target + np.array([3, 4, 0], np.float32), target + 50
    eyes = float(np.linalg.norm(target[36:42, :2].mean(0) - target[42:48, :2].mean(0)))
    target[:5] = 0
    assert landmark_error(detected, target) == pytest.approx(500 / eyes, rel=1e-5)
    assert nearest([far, detected], target) is detected


def no_detector():
    raise AssertionError("no detector is needed for a layer")


def clip_with_landmarks(path: Path, stage: str, points: np.ndarray) -> FrameSource:
    clip = create_clip(path, width=SIDE, height=SIDE, num_frames=len(points))
    with clip.writing("landmarks", Producer(stage=stage), inputs={}) as layer:
        layer.arrays(points=points)
    return FrameSource(str(path), SIDE, SIDE, len(points), clip.frames, clip)


def test_a_mean_leaves_out_clips_without_a_score():
    def score(value: float | None) -> Score:
        return Score("r", "t", "psnr", "dB", "higher", value=value, frames=1, coverage=float(value is not None))

    (mean,) = mean_scores("mean", [score(10.0), score(None), score(20.0)], [frame_metric("psnr")])
    assert mean.value == 15 and mean.clips == 2 and mean.coverage == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        ("a/1 b/2", {"mean": "a/1 b/2"}),
        ("a/1 a/2 b/1 b/2", {"a": "a/1 a/2", "b": "b/1 b/2"}),
        ("a/1 a/2 b/1", {"a": "a/1 a/2"}),
        ("a/1x a/1y a/2", {}),
        ("a/1", {}),
    ],
)
def test_means_are_computed_for_each_method(results: str, expected: dict[str, str]):
    """Each result is FOLDER/NAME, and the digit in the name is its reference."""
    scores = [Score(path, path[2], "psnr", "dB", "higher", value=1.0) for path in results.split()]
    assert {name: " ".join(score.result for score in own) for name, own in group_by_method(scores).items()} == expected


@pytest.mark.parametrize(("stage", "kept"), [("synthesize", True), ("extract-sketch", False)])
def test_landmarks_that_synthesize_kept_in_a_result_are_its_driving_landmarks(make, tmp_path: Path, stage: str, kept: bool):
    clip_with_landmarks(tmp_path / "result.clip", stage=stage, points=np.ones((make.frames, 1, 68, 3), np.float32))
    result = open_frame_source(str(tmp_path / "result.clip"))
    assert _kept_driving(result) == (result if kept else None)

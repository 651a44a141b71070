"""Each metric has the value of its definition for a known error, and ranks results as a viewer would."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from typed_metrics import frame_metric, not_none

from stages.backends import Backends
from stages.conditions.landmarks import eye_distance
from stages.evaluate import Metric, Score, find_metric, metric_names
from stages.evaluate.frame_source import FrameSource
from stages.evaluate.measure import Baselines, Tally, measure
from stages.evaluate.metric import EvaluationContext
from stages.evaluate.metrics.landmark_error import LandmarkError
from stages.evaluate.motion import consistent, warp


def score(name: str, result: FrameSource, reference: FrameSource, driving: FrameSource | None = None) -> Score:
    metric, context = frame_metric(name), EvaluationContext(reference.width, reference.height, device="cpu", driving=driving)
    skip_unless_available(metric, context)
    return next(measure([result], reference, [metric], context, example=None))


def skip_unless_available(metric: Metric, context: EvaluationContext) -> None:
    reason = metric.missing(context)
    if reason:
        pytest.skip(f"{metric.name}: {reason}")


def lighten(levels: int):
    return lambda frame, index: np.clip(frame.astype(int) * 0.8 + 20 + levels, 0, 255).astype(np.uint8)


def blur(sigma: float):
    return lambda frame, index: cv2.GaussianBlur(frame, (0, 0), sigma)


FRAME_METRICS = [name for name in metric_names() if isinstance(metric := find_metric(name), Metric) and not metric.only_by_name]


@pytest.mark.parametrize("name", sorted({*FRAME_METRICS} - {"warping-error"}))
def test_every_metric_of_frames_ranks_results_by_their_blur(make, name: str):
    truth, sign = make("truth"), 1 if find_metric(name).better == "higher" else -1
    values = [not_none(score(name, make(f"blur{sigma}", blur(sigma)), truth).value) for sigma in (0.01, 1.2, 3)]
    assert values == sorted(values, key=lambda value: -sign * value) and len({*values}) == 3


@pytest.mark.parametrize("name", FRAME_METRICS)
def test_the_baseline_is_the_score_of_a_frozen_result(make, name: str):
    result_score = score(name, make("frozen", lambda frame, index: make.portrait(0)), make("truth"))
    assert result_score.value == pytest.approx(result_score.baseline, rel=1e-3)
    assert result_score.frames == make.frames - 1, "the first frame is the example, which is not scored"


@pytest.mark.parametrize("name", FRAME_METRICS)
def test_the_warped_baseline_is_the_score_of_the_warped_example(make, name: str):
    baselines = Baselines(make.portrait(0))
    result_score = score(name, make("moved", lambda frame, index: baselines.warped(frame) if index else frame), make("truth"))
    assert result_score.value == pytest.approx(result_score.warped, rel=1e-3)


def test_the_warped_example_is_closer_to_a_moving_image_than_a_frozen_one(make):
    result_score = score("psnr", make("result"), make("truth"))
    frozen, warped, result = map(not_none, (result_score.baseline, result_score.warped, result_score.value))
    assert frozen + 5 < warped < result, "warping cannot show what comes into view"


def test_psnr_of_a_constant_offset_follows_its_formula(make):
    result_score = score("psnr", make("result", lighten(10)), make("truth", lighten(0)))
    assert result_score.value == pytest.approx(20 * np.log10(255 / 10), abs=0.1)


def test_psnr_of_equal_frames_is_100_and_never_infinite(make):
    assert score("psnr", make("result"), make("truth")).value == 100


def test_ssim_ranks_an_offset_before_noise_unlike_psnr(make):
    truth, offset, noisy = make("truth", lighten(0)), make("offset", lighten(12)), make("noisy", add_noise)
    psnr, ssim = ([not_none(score(name, result, truth).value) for result in (offset, noisy)] for name in ("psnr", "ssim"))
    assert psnr[0] < psnr[1] and ssim[0] > ssim[1]


def add_noise(frame: np.ndarray, index: int) -> np.ndarray:
    noise = np.random.default_rng(index).normal(0, 10, frame.shape)
    return np.clip(lighten(0)(frame, index) + noise, 0, 255).astype(np.uint8)


def test_the_warping_error_of_an_alternating_offset_is_the_offset_and_the_floor_is_near_zero(make):
    result_score = score(
        "warping-error", make("result", lambda frame, index: lighten(12 * (index % 2))(frame, index)), make("truth", lighten(0))
    )
    assert result_score.value == pytest.approx(12, rel=0.1)
    assert result_score.floor is not None and result_score.floor < 1.5


def test_the_consistency_check_accepts_a_shift_and_rejects_disoccluded_pixels():
    step = 2
    backward, forward = np.zeros((20, 30, 2), np.float32), np.zeros((20, 30, 2), np.float32)
    backward[..., 0], forward[..., 0] = step, -step
    visible = consistent(backward, forward)
    assert visible[:, : 30 - step].all() and not visible[:, 30 - step :].any()
    forward[5:10, :, 0] = 3 * step
    assert not consistent(backward, forward)[5:10].any()


def test_warp_samples_at_the_target_of_the_flow():
    image = np.arange(30, dtype=np.float32).reshape(1, 30, 1).repeat(4, 0)
    flow = np.zeros((4, 30, 2), np.float32)
    flow[..., 0] = 1.5
    assert np.allclose(warp(image, flow).squeeze()[:, :28], image[..., 0][:, :28] + 1.5)


def test_the_landmark_error_of_a_shifted_face_is_the_shift_over_the_eye_distance(make):
    result_score = score("landmark-error", make("result", lambda frame, index: make.portrait(index + 4)), make("truth"))
    backend = next(name for name in ("mediapipe", "dlib", "face-alignment") if Backends("landmarks").get(name).available)
    face = Backends("landmarks").require(backend).open("cpu")(make.portrait(0))[0]
    assert result_score.value == pytest.approx(100 * 4 * make.step / float(eye_distance(face.points)), rel=0.15)
    assert result_score.coverage == 1


def test_a_frame_without_a_face_lowers_the_coverage_and_not_the_error(make):
    def hide_one_frame(frame: np.ndarray, index: int) -> np.ndarray:
        return np.zeros_like(frame) if index == 3 else frame

    result_score = score("landmark-error", make("result", hide_one_frame), make("truth"))
    assert result_score.coverage == pytest.approx((make.frames - 2) / (make.frames - 1))
    assert result_score.value is not None and result_score.value < 5


def test_a_frame_without_a_driving_face_is_not_measured(make):
    no_face = np.zeros((68, 3), np.float32)
    metric = LandmarkError(iter([no_face]), lambda: lambda frame: [])
    assert metric(make.portrait(0), [make.portrait(0)]) is None


def test_the_face_nearest_to_the_driving_face_counts(make):
    target = np.random.default_rng(0).uniform(50, 100, (68, 3)).astype(np.float32)
    metric = LandmarkError(iter([target]), lambda: lambda frame: [target + 300, target, target - 200])
    assert metric(make.portrait(0), [make.portrait(1)]) == [0]


def test_values_that_are_not_finite_do_not_count():
    tally = Tally()
    for value in (1.0, float("nan"), None, float("inf"), 3.0):
        tally.add(value)
    assert tally.mean == 2 and tally.coverage == 2 / 5

"""Metrics of how a result follows the driver: expression over time, and gaze."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typed_metrics import frame_metric

from stages.evaluate import EvaluateOptions, Metric, evaluate
from stages.evaluate.frame_source import FrameSource
from stages.evaluate.metric import EvaluationContext, FeatureCache
from stages.evaluate.metrics import expression, iris_error
from stages.evaluate.metrics.expression import TRAITS, TraitReader, values_per_frame
from stages.evaluate.registry import find_metrics

RNG = np.random.default_rng(0)


def mean(values):
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


@pytest.mark.parametrize("strength", [1.0, 0.4, 0.0, -0.5])
def test_the_means_of_the_values_are_the_slope_and_correlation_of_scipy(strength: float):
    driver = RNG.uniform(0, 1, 60)
    result = strength * driver + 0.1 * RNG.normal(size=60) + 0.3
    expected = stats.linregress(driver, result)
    assert mean(values_per_frame(list(driver), list(result), "slope", 0.01)) == pytest.approx(expected.slope)
    assert mean(values_per_frame(list(driver), list(result), "correlation", 0.01)) == pytest.approx(expected.rvalue)


def test_a_result_that_follows_exactly_scores_1_and_a_frozen_one_0():
    driver = list(np.sin(np.arange(40) / 3))
    for figure in expression.FIGURES:
        assert mean(values_per_frame(driver, driver, figure, 0.01)) == pytest.approx(1)
        assert mean(values_per_frame(driver, [0.7] * 40, figure, 0.01)) == 0


def test_frames_without_a_face_do_not_count():
    driver, result = [0.0, None, 1.0, 2.0, 3.0], [0.0, 9.0, 2.0, None, 6.0]
    values = values_per_frame(driver, result, "slope", 0.01)
    assert values[1] is None and values[3] is None
    assert mean(values) == pytest.approx(2)


@pytest.mark.parametrize(("driver", "result"), [([0.5] * 9, list(range(9))), ([0.0, 1.0], [0.0, 1.0]), ([None] * 5, [1.0] * 5), ([], [])])
def test_a_driver_that_hardly_moves_or_is_seldom_visible_is_not_measured(driver, result):
    assert all(value is None for value in values_per_frame(driver, result, "slope", 0.01))


def test_all_traits_read_each_frame_once():
    images_read: list[np.ndarray] = []

    def read(images):
        images_read.extend(images)
        return [dict.fromkeys(TRAITS, float(image[0, 0, 0])) for image in images]

    frames = [np.full((4, 4, 3), value, np.uint8) for value in (3, 5, 8)]
    reader, cache = TraitReader(read, iter(frames)), FeatureCache()
    scorers = [expression.TraitScorer(trait, reader, cache) for trait in TRAITS]
    truth, result = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 9, np.uint8)
    for _ in frames:
        assert [scorer(truth, [result]) for scorer in scorers] == [[9.0]] * len(TRAITS)
    assert all(scorer.driver == [3.0, 5.0, 8.0] for scorer in scorers)
    assert len(images_read) == 4, "three driving frames, and a result that does not change"


def test_the_name_expression_selects_all_its_metrics_which_are_not_computed_by_default(make):
    names = [metric.name for metric in find_metrics("expression")]
    assert len(names) == len(set(names)) == 2 * len(TRAITS) and "expression-smile-slope" in names
    if reason := frame_metric("expression").missing(EvaluationContext(192, 192)):
        pytest.skip(reason)
    truth = make("truth").path
    scores = list(evaluate([truth], [truth], EvaluateOptions(("expression",), device="cpu")))
    assert [score.metric for score in scores] == names
    moving = [score for score in scores if score.value is not None]
    assert all(score.value == pytest.approx(1, abs=1e-6) for score in moving), "the truth follows the truth exactly"


@pytest.mark.slow
def test_a_real_face_follows_itself_and_a_frozen_one_does_not(shared: Path):
    """A face that blinks and smiles: slope and correlation are 1 for the video, and 0 for its repeated first frame."""
    from stages.clip import read_frames

    frames = list(read_frames(shared / "data" / "faces" / "liveportrait_d3.mp4", 0, 60))
    height, width = frames[0].shape[:2]

    def source(name: str, images: list[np.ndarray]) -> FrameSource:
        return FrameSource(name, width, height, len(images), lambda: iter(images))

    from stages.evaluate.measure import measure

    context, metrics = EvaluationContext(width, height, device="cpu"), [m for m in find_metrics("expression") if isinstance(m, Metric)]
    if reason := metrics[0].missing(context):
        pytest.skip(reason)
    still = [frames[0]] * len(frames)
    scores = list(measure([source("same", frames), source("still", still)], source("truth", frames), metrics, context, frames[0]))
    same, frozen = ([s for s in scores if s.result == name and s.value is not None] for name in ("same", "still"))
    assert len(same) >= 6, "most traits move in this clip"
    assert all(s.value == pytest.approx(1) for s in same) and all(s.value == pytest.approx(0, abs=1e-9) for s in frozen)
    assert all(s.baseline == pytest.approx(0, abs=1e-9) for s in same), "the baseline repeats the example"


def eyes(right: tuple[float, float], left: tuple[float, float], angle: float = 0.0) -> np.ndarray:
    """A face [78, 3] whose eyes are 20 pixels wide, with the irises at these fractions of the eyes, rotated by `angle` radians."""
    face = np.ones((78, 3), np.float32)
    for first, iris, x, position in ((36, 68, 10, right), (42, 73, 50, left)):
        face[first, :2], face[first + 3, :2] = (x, 30), (x + 20, 30)
        face[iris, :2] = x + 20 * position[0], 30 + 20 * position[1]
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    face[:, :2] = face[:, :2] @ rotation.T
    return face


def test_the_position_of_an_iris_in_its_eye_does_not_depend_on_a_rotation_of_the_face():
    straight = iris_error.iris_positions(eyes((0.5, 0.1), (0.6, -0.1)))
    assert straight == pytest.approx(np.array([(0.5, 0.1), (0.6, -0.1)]), abs=1e-5)
    assert iris_error.iris_positions(eyes((0.5, 0.1), (0.6, -0.1), angle=0.7)) == pytest.approx(straight, abs=1e-5)


def test_the_error_of_the_gaze_is_in_percent_of_the_width_of_the_eye():
    ahead, aside = (iris_error.iris_positions(eyes(position, position)) for position in ((0.5, 0.0), (0.7, 0.0)))
    assert aside is not None and ahead is not None
    assert iris_error.error(aside, ahead) == pytest.approx(20, abs=1e-3) and iris_error.error(ahead, ahead) == 0


def test_a_face_without_irises_is_not_measured():
    assert iris_error.iris_positions(eyes((0.5, 0), (0.5, 0))[:68]) is None and iris_error.iris_positions(None) is None
    unseen = eyes((0.5, 0), (0.5, 0))
    unseen[68:, 2] = 0
    assert iris_error.iris_positions(unseen) is None


def test_the_target_of_the_gaze_is_the_driving_video_if_one_is_named():
    """A driver without a landmarks layer: faces are detected in its frames, not in those of the reference."""
    faces = {3: eyes((0.3, 0.0), (0.3, 0.0)), 9: eyes((0.7, 0.0), (0.7, 0.0))}

    def open_detector():
        return lambda frame: [faces[int(frame[0, 0, 0])]]

    truth, driver = np.full((4, 4, 3), 3, np.uint8), np.full((4, 4, 3), 9, np.uint8)
    source = FrameSource("driver", 4, 4, 1, lambda: iter([driver]))
    targets = iris_error._targets(EvaluationContext(4, 4, driving=source), open_detector)
    assert iris_error.IrisError(targets, open_detector)(truth, [driver, truth]) == [pytest.approx(0), pytest.approx(40, abs=1e-3)]
    assert iris_error._targets(EvaluationContext(4, 4, driving=source, kept=True), open_detector) is None
    assert iris_error._targets(EvaluationContext(4, 4), open_detector) is None

"""Metrics of frames against other programs and values computed by hand, and in extreme cases: equal, black, single or small frames."""

from __future__ import annotations

import weakref
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from scipy.signal import convolve2d
from skimage.data import astronaut
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from typed_metrics import frame_metric, not_none

from stages.clip import read_frames
from stages.conditions.labels import VOID
from stages.evaluate import EvaluateOptions as Options
from stages.evaluate import Metric, Score, evaluate, find_metric, metric_names
from stages.evaluate.metric import EvaluationContext, FeatureCache
from stages.evaluate.metrics.identity import CachedScorer, Identity, cosine, five_points, open_sface
from stages.evaluate.metrics.ms_ssim import WEIGHTS, count_scales
from stages.evaluate.metrics.ms_ssim import similarity as ms_ssim_of
from stages.evaluate.metrics.pixel_accuracy import accuracy
from stages.evaluate.metrics.segment_miou import Labeller, SegmentScore, mean_iou
from stages.evaluate.metrics.ssim import similarity as ssim_of
from stages.evaluate.structure import ImageStatistics
from stages.models import identity
from stages.networks.features.alexnet import Lpips
from weights import registry

PORTRAIT = np.ascontiguousarray(astronaut()[:192, 120:312])


def add_noise(image: np.ndarray, deviation: float = 25) -> np.ndarray:
    return np.clip(image + np.random.default_rng(0).normal(0, deviation, image.shape), 0, 255).astype(np.uint8)


def score(make, name: str, result: str, reference: str) -> Score:
    (result_score,) = evaluate([result], [reference], Options((name,), device="cpu"))
    return result_score


# psnr


@pytest.mark.parametrize("other", [add_noise(PORTRAIT), 255 - PORTRAIT, 0 * PORTRAIT], ids=["noisy", "negative", "black"])
def test_psnr_is_that_of_skimage(other: np.ndarray):
    values = frame_metric("psnr").open(EvaluationContext(192, 192))(PORTRAIT, [other])
    assert values == [pytest.approx(peak_signal_noise_ratio(PORTRAIT, other), abs=1e-9)]


# ssim and ms-ssim


def ssim(ours: np.ndarray, theirs: np.ndarray) -> float:
    return ssim_of(ImageStatistics.of(ours), ImageStatistics.of(theirs))


def ms_ssim(ours: np.ndarray, theirs: np.ndarray, count: int) -> float:
    return ms_ssim_of(ImageStatistics.of(ours), ImageStatistics.of(theirs), count)


def test_the_cached_structure_of_two_images_is_released_with_either_image():
    example, frame = ImageStatistics.of(PORTRAIT), ImageStatistics.of(add_noise(PORTRAIT))
    shared = weakref.ref(example.contrast_and_structure(frame))
    assert shared() is example.contrast_and_structure(frame)
    del frame
    assert shared() is None


@pytest.mark.parametrize(
    "other", [add_noise(PORTRAIT), PORTRAIT, 255 - PORTRAIT, 0 * PORTRAIT], ids=["noisy", "equal", "negative", "black"]
)
def test_ssim_is_that_of_skimage(other: np.ndarray):
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = structural_similarity(PORTRAIT, other, channel_axis=-1, data_range=255, **window)
    assert ssim(other, PORTRAIT) == pytest.approx(expected, abs=1e-6)
    assert ms_ssim(other, PORTRAIT, 1) == pytest.approx(max(expected, 0), abs=1e-6 if expected > 0 else 0.05)


def test_ms_ssim_of_five_scales_follows_its_formula():
    other = add_noise(PORTRAIT)
    offsets = np.arange(11) - 5
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    kernel = np.outer(line, line) / line.sum() ** 2

    def of_channel(x: np.ndarray, y: np.ndarray) -> float:
        product = 1.0
        for scale, weight in enumerate(WEIGHTS):
            mx, my, xx, yy, xy = (convolve2d(value, kernel, mode="valid") for value in (x, y, x * x, y * y, x * y))
            structure = (2 * (xy - mx * my) + 58.5225) / (xx - mx**2 + yy - my**2 + 58.5225)
            luminance = (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
            product *= np.mean(structure * luminance if scale == 4 else structure) ** weight
            x, y = ((v[::2, ::2] + v[1::2, ::2] + v[::2, 1::2] + v[1::2, 1::2]) / 4 for v in (x, y))
        return product

    expected = np.mean([of_channel(PORTRAIT[..., c].astype(float), other[..., c].astype(float)) for c in range(3)])
    assert ms_ssim(other, PORTRAIT, 5) == pytest.approx(expected, abs=1e-6)


def test_the_number_of_scales_depends_on_the_size_of_the_frames():
    assert [count_scales(side, 300) for side in (11, 21, 22, 44, 88, 175, 176, 1000)] == [1, 1, 2, 3, 4, 4, 5, 5]
    assert ms_ssim(PORTRAIT[:24, :24], PORTRAIT[:24, :24], count_scales(24, 24)) == 1


def test_fewer_than_five_scales_cause_one_warning(make):
    """Frames of 100 pixels are reduced to 50, 25 and 12 pixels; then the window of 11 pixels does not fit any more."""
    truth, other = (make(name, lambda frame, index: frame[:100, :100]).path for name in ("truth", "other"))
    warnings: list[str] = []
    list(evaluate([truth, other], [truth, other], Options(("ms-ssim", "ssim")), lambda event: warnings.append(event.get("warning", ""))))
    assert [text for text in warnings if text] == [
        "ms-ssim: frames of 100x100 pixels have room for 4 of its 5 scales; compare the figures only with others of 4 scales"
    ]
    assert not frame_metric("ms-ssim").caution(EvaluationContext(176, 300))
    assert not frame_metric("ssim").caution(EvaluationContext(100, 100))
    assert (
        frame_metric("ms-ssim")
        .caution(EvaluationContext(300, 20))
        .endswith("1 of its 5 scales; compare the figures only with others of 1 scale")
    )


def test_opposite_structures_have_no_similarity():
    stripes = np.where(np.arange(192)[:, None, None] % 2, 255, 0).astype(np.uint8) + np.zeros((192, 192, 3), np.uint8)
    assert ms_ssim(255 - stripes, stripes, 5) == 0


# flicker


def test_the_flicker_of_an_alternating_offset_is_the_offset(make):
    def flicker(frame: np.ndarray, index: int) -> np.ndarray:
        return (frame // 2 + 12 * (index % 2)).astype(np.uint8)

    truth = make("truth", lambda frame, index: frame // 2)
    assert score(make, "flicker", make("flicker", flicker).path, truth.path).value == 12
    assert score(make, "flicker", make("darker", lambda frame, index: frame // 2 + 9).path, truth.path).value == 0


def test_the_baseline_of_flicker_is_the_change_of_the_reference(make):
    truth = make("truth")
    frames = [frame.astype(int) for frame in truth.frames()]
    changes = [np.abs(now - then).mean() for then, now in zip(frames, frames[1:], strict=False)]
    assert score(make, "flicker", truth.path, truth.path).baseline == pytest.approx(np.mean(changes))


# pixel-accuracy


def test_pixel_accuracy_of_a_small_label_map():
    target = np.array([[0, 0, 0, 1], [0, 0, VOID, 1]], np.uint8)
    labels = np.array([[0, 0, 1, 1], [2, 0, 0, 1]], np.uint8)
    assert accuracy(labels, target) == pytest.approx(5 / 7)
    assert mean_iou(labels, target) == pytest.approx((3 / 5 + 2 / 3) / 2)
    assert accuracy(target, target) == 1


def test_metrics_of_labels_segment_each_frame_once():
    labelled = []

    def probabilities(frame: np.ndarray) -> np.ndarray:
        labelled.append(frame)
        return np.stack([frame[..., 0] < 100, frame[..., 0] >= 100]).astype(np.float32)

    labeller, cache, target = Labeller(probabilities, ("dark", "light")), FeatureCache(), np.zeros((4, 6), np.uint8)
    one, other = np.full((4, 6, 3), 20, np.uint8), np.full((4, 6, 3), 200, np.uint8)
    for agreement in (mean_iou, accuracy):
        assert SegmentScore(iter([target]), lambda frames: cache(labeller, frames), agreement)(one, [one, other, one]) == [1, 0, 1]
    assert len(labelled) == 2
    cache.forget_all_but(one)
    cache(labeller, [one, other])
    assert len(labelled) == 3, "the other frame was forgotten"


# identity


@pytest.fixture(scope="module")
def sface(tmp_path_factory) -> Path:
    """A file with the format, input and output of the published network and random weights: means of 8 x 8 pixels, then 128 sums."""
    weight = np.random.default_rng(0).normal(size=(3 * 14 * 14, 128)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["data"], ["pooled"], kernel_shape=[8, 8], strides=[8, 8]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight"], ["fc1"]),
    ]
    inputs = helper.make_tensor_value_info("data", TensorProto.FLOAT, [1, 3, 112, 112])
    outputs = helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 128])
    graph = helper.make_graph(nodes, "sface", [inputs], [outputs], [numpy_helper.from_array(weight, "weight")])
    path = tmp_path_factory.mktemp("sface") / "sface.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7), path)
    return path


def landmarks(scale: float = 1, shift: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Landmarks [68, 3] with the five points that the network expects in a crop of 112 pixels, scaled and shifted."""
    points = np.zeros((68, 3), np.float32)
    nose_and_mouth = [(range(30, 31), (56.0252, 71.7366)), (range(48, 49), (41.5493, 92.3655)), (range(54, 55), (70.7299, 92.2041))]
    for indices, position in [(range(36, 42), (38.2946, 51.6963)), (range(42, 48), (73.5318, 51.5014)), *nose_and_mouth]:
        points[list(indices), :2] = np.array(position) * scale + shift
    points[:, 2] = 1
    return points


def test_a_face_is_recognised_at_any_position_and_size_by_the_published_format(sface: Path):
    embed = open_sface(sface)
    face = np.asarray(cv2.resize(PORTRAIT, (112, 112), interpolation=cv2.INTER_AREA), np.uint8)
    large = np.zeros((300, 320, 3), np.uint8)
    large[40:264, 60:284] = cv2.resize(face, (224, 224), interpolation=cv2.INTER_CUBIC)
    same, other = embed(large, landmarks(2, (60.5, 40.5))), embed(255 - face, landmarks())
    assert np.linalg.norm(embed(face, landmarks())) == pytest.approx(1)
    assert embed(face, landmarks()) @ same > 0.98 > embed(face, landmarks()) @ other


def test_an_embedding_is_the_output_of_the_network_for_the_aligned_face(sface: Path):
    face = np.ascontiguousarray(PORTRAIT[:112, :112])
    weight = numpy_helper.to_array(onnx.load(sface).graph.initializer[0])
    means = face.reshape(14, 8, 14, 8, 3).mean((1, 3)).transpose(2, 0, 1).ravel()
    expected = means @ weight
    assert np.allclose(open_sface(sface)(face, landmarks()), expected / np.linalg.norm(expected), atol=5e-3)


def test_five_points_are_eyes_nose_and_mouth():
    points = np.random.default_rng(0).uniform(0, 100, (68, 3)).astype(np.float32)
    assert np.allclose(five_points(points), [points[36:42, :2].mean(0), points[42:48, :2].mean(0), *points[[30, 48, 54], :2]])


def test_frames_without_a_detected_face_have_no_identity():
    face, blank = PORTRAIT, np.zeros_like(PORTRAIT)
    embed = lambda frame, points: np.array([0.6, 0.8], np.float32)  # noqa: E731
    metric = Identity(lambda: lambda frame: [landmarks()] if frame.any() else [], embed, cosine)
    assert metric(face, [face, blank]) == [pytest.approx(1), None]
    assert metric(blank, [face]) is None, "a reference without a face is not measured"


ONE, SAME, OTHER = "sadtalker_ref1", "video_retalking_3", "sadtalker_ref2"
"""Two videos of one person and one video of another, of the same size."""


@pytest.fixture(scope="module")
def describe_by_dlib(shared: Path):
    """describe_by_dlib(frame) -> (landmarks, embedding of 128 numbers), by dlib without fsv2v."""
    dlib = pytest.importorskip("dlib")
    detector, predictor = dlib.get_frontal_face_detector(), dlib.shape_predictor(registry.path("face_68_fsv2v.dat").as_posix())
    network = dlib.face_recognition_model_v1((shared / "weights" / "dlib_face_recognition_resnet_model_v1.dat").as_posix())

    def describe(frame: np.ndarray):
        (box,) = detector(frame)
        face = predictor(frame, box)
        return face, np.array(network.compute_face_descriptor(frame, face))

    return describe


@pytest.fixture(scope="module")
def heads(shared: Path) -> dict[str, np.ndarray]:
    """The first two frames of each video, [2, 256, 256, 3]."""

    def first_frames(name: str) -> np.ndarray:
        frames = read_frames(shared / "data" / "faces" / f"{name}.mp4", 0, 2)
        return np.stack([cv2.resize(frame, (256, 256), interpolation=cv2.INTER_AREA) for frame in frames])

    return {name: first_frames(name) for name in (ONE, SAME, OTHER)}


def test_embeddings_are_those_of_plain_dlib(describe_by_dlib, heads):
    describe = identity.open_if_available()
    if describe is None:
        pytest.skip("dlib's recognition network is not available")
    for frame, _ in heads.values():
        face, expected = describe_by_dlib(frame)
        points = np.array([(point.x, point.y, 1) for point in face.parts()], np.float32)
        assert np.array_equal(describe(frame, points), expected)


def test_dlib_distinguishes_two_people(describe_by_dlib, heads, tmp_path: Path):
    """The distances are those of plain dlib up to a tolerance, because fsv2v averages landmarks over several fits."""
    if reason := frame_metric("identity-dlib").missing(_context()):
        pytest.skip(reason)
    for name, frames in heads.items():
        (tmp_path / name).mkdir()
        for index, frame in enumerate(frames):
            cv2.imwrite(str(tmp_path / name / f"{index}.png"), frame[..., ::-1])
    results, truth = [str(tmp_path / name) for name in (SAME, OTHER)], str(tmp_path / ONE)
    rows = list(evaluate(results, [truth], Options(("identity-dlib",), landmarks="dlib", device="cpu")))
    row_of = {(Path(row.result).name, row.metric): row for row in rows if row.clips == 1}
    assert {metric for _, metric in row_of} == {"identity-dlib", "identity-dlib-same"}
    _, first, second = (describe_by_dlib(heads[ONE][index])[1] for index in (0, 0, 1))
    for name in (SAME, OTHER):
        distance = np.linalg.norm(describe_by_dlib(heads[name][1])[1] - second)
        row = row_of[name, "identity-dlib"]
        assert row.value == pytest.approx(distance, abs=0.06)
        assert row.baseline == pytest.approx(np.linalg.norm(first - second), abs=0.06), "the repeated example shows the same person"
        assert row_of[name, "identity-dlib-same"].value == (distance < 0.6)
        assert row_of[name, "identity-dlib-same"].baseline == 1
    assert not_none(row_of[SAME, "identity-dlib"].value) < 0.6 < not_none(row_of[OTHER, "identity-dlib"].value)


def test_two_metrics_of_one_distance_compute_it_once():
    calls = []
    distances = CachedScorer(lambda reference, candidates: calls.append(reference) or [0.5 for _ in candidates])
    one, other = PORTRAIT, PORTRAIT.copy()
    assert [distances(one, [other]), distances(one, [other])] == [[0.5], [0.5]] and len(calls) == 1
    assert distances(other, [one, one]) == [0.5, 0.5] and len(calls) == 2


# lpips


def test_lpips_reads_its_two_files_from_the_registry(make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    linear = {f"lin{i}.model.1.weight": torch.rand(1, width, 1, 1) for i, width in enumerate((64, 192, 384, 256, 256))}
    network = {name: torch.randn(value.shape) * 0.05 for name, value in Lpips().state_dict().items() if name.startswith("features")}
    files = {"alexnet-owt-7be5be79.pth": network, "lpips-v0.1-alex.pth": linear}
    for name, state in files.items():
        torch.save(state, tmp_path / name)
    monkeypatch.setattr(registry, "path", lambda name: tmp_path / name)
    monkeypatch.setattr(registry, "available", lambda name: True)
    truth = make("truth").path
    assert score(make, "lpips", truth, truth).value == 0
    slightly_noisy, noisy = (score(make, "lpips", make(f"n{d}", lambda f, i, d=d: add_noise(f, d)).path, truth).value for d in (5, 60))
    assert 0 < not_none(slightly_noisy) < not_none(noisy)


# Extreme cases


FRAME_METRICS = [
    name for name in metric_names() if isinstance(metric := find_metric(name), Metric) and not (metric.layer or metric.only_by_name)
]


@pytest.mark.parametrize("name", FRAME_METRICS)
def test_equal_videos_have_the_best_possible_score(make, name: str):
    truth = make("truth").path
    best = {"psnr": 100, "ssim": 1, "ms-ssim": 1, "identity": 1}.get(name, 0)
    if reason := frame_metric(name).missing(_context()):
        pytest.skip(reason)
    same = score(make, name, truth, truth)
    assert same.value == pytest.approx(same.floor if same.floor is not None else best, abs=1e-4)


@pytest.mark.parametrize("name", ["psnr", "ssim", "ms-ssim", "flicker", "warping-error", "perceptual-squeezenet"])
def test_scores_of_black_videos_are_finite(make, name: str):
    if reason := frame_metric(name).missing(_context()):
        pytest.skip(reason)
    black, truth = make("black", lambda frame, index: 0 * frame).path, make("truth").path
    assert np.isfinite(not_none(score(make, name, black, truth).value))
    same = score(make, name, black, black)
    assert same.value is not None and np.isfinite(same.value)


@pytest.mark.parametrize("name", ["flicker", "warping-error"])
def test_a_single_frame_has_no_score_of_changes(make, name: str):
    image = make("one", frames=1).path
    assert score(make, name, image, image).unavailable == "needs 2 frames"


def _context():
    return EvaluationContext(192, 192, device="cpu")

"""Faces: sketches, semantic images, views, crops, fitting a driver to an example, irises."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from stages.conditions import crop, landmarks
from stages.conditions.kinds.faces import LandmarkTrack
from stages.conditions.normalise import normalise
from stages.conditions.tracks import DetectorNoise
from stages.conditions.view import View


@pytest.fixture
def face() -> np.ndarray:
    """A plausible face [68, 3] of about 120 pixels in an image of 256 x 256."""
    angle = np.linspace(np.pi, 0, 17)
    points = [(128 + 60 * np.cos(a), 120 + 70 * np.sin(a)) for a in angle]
    points += [(x, 95 - 4 * (2 - abs(i - 2))) for i, x in enumerate(np.linspace(80, 115, 5))]
    points += [(x, 95 - 4 * (2 - abs(i - 2))) for i, x in enumerate(np.linspace(141, 176, 5))]
    points += [(128, y) for y in np.linspace(105, 140, 4)] + [(x, 148) for x in np.linspace(116, 140, 5)]
    for centre in (98, 158):
        points += [(centre + 12 * np.cos(a), 110 - 5 * np.sin(a)) for a in np.deg2rad([180, 120, 60, 0, -60, -120])]
    points += [(128 + 25 * np.cos(a), 168 - 9 * np.sin(a)) for a in np.linspace(np.pi, -np.pi, 13)[:-1]]
    points += [(128 + 18 * np.cos(a), 168 - 4 * np.sin(a)) for a in np.linspace(np.pi, -np.pi, 9)[:-1]]
    return np.column_stack([np.array(points), np.ones(68)]).astype(np.float32)


def test_curves_pass_through_their_landmarks(face):
    curves = landmarks.face_curves(face)
    for name, (indices, _) in landmarks.CURVES.items():
        for index in indices:
            assert np.linalg.norm(curves[name] - face[index, :2], axis=1).min() < 1e-6


def test_the_forehead_is_the_mirrored_and_flattened_contour(face):
    contour = face[:17, :2].astype(float)
    top = landmarks.forehead(contour)
    assert np.allclose(top[[0, 16]], contour[[0, 16]])
    line = contour[0, 1]
    assert np.allclose(line - top[8, 1], (contour[8, 1] - line) * 2 / 3)


def test_the_stroke_width_is_proportional_to_the_face(face):
    twice_as_large = face * np.array([2, 2, 1], np.float32)
    assert landmarks.stroke_width(twice_as_large) == 2 * landmarks.stroke_width(face)


def test_a_face_without_confidence_is_not_drawn(face):
    face[:, 2] = 0
    assert not landmarks.draw_sketch(face[None], 256, 256).any()
    assert not landmarks.semantic_image(face[None], 256, 256).any()


def test_the_semantic_image_of_a_scaled_face_is_the_scaled_image(face):
    half = View.scaled(256, 256, 128, 128).points(face)
    small = landmarks.semantic_image(half[None], 128, 128)[1:]
    large = landmarks.semantic_image(face[None], 256, 256)[1:, ::2, ::2]
    assert np.abs(small - large).mean() < 0.02


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1.6, -60.0), (0.3, 150.0), (0.5, 400.0)])
def test_distance_maps_equal_those_of_the_whole_image(face, scale, shift):
    face[:, :2] = face[:, :2] * scale + shift
    maps = landmarks.semantic_image(face[None], 256, 256)[1:]
    for distances, names in zip(maps, landmarks.GROUPS, strict=True):
        strokes = np.full((256, 256), 255, np.uint8)
        lines = [np.round(landmarks.face_curves(face)[name] * 16).astype(np.int32) for name in names]
        cv2.polylines(strokes, lines, False, 0, 1, cv2.LINE_8, 4)
        expected = np.clip(1 - cv2.distanceTransform(strokes, cv2.DIST_L2, 5) / 32, 0, 1)
        assert np.abs(distances - expected).max() < 1e-6


def test_a_mirrored_face_keeps_the_order_of_its_landmarks(face):
    flipped = landmarks.mirror(face, 256)
    assert flipped[0, 0] < flipped[16, 0] and flipped[36, 0] < flipped[45, 0]
    assert np.allclose(landmarks.mirror(flipped, 256), face)


def test_points_far_outside_the_image_can_be_drawn(face):
    face[:, :2] += 1e7
    assert landmarks.draw_sketch(face[None], 64, 64).shape == (64, 64)


def test_the_crop_stands_still_with_a_still_head_and_follows_a_moving_one_within_the_frame(face):
    still = np.repeat(face[None], 50, 0)
    boxes = crop.smooth_crops(still, 256, 256, 25)
    assert np.ptp(boxes, axis=0).max() == 0 and boxes[0, 2] <= 256

    moving = np.repeat(face[None], 100, 0)
    moving[:, :, 0] += np.linspace(0, 600, 100)[:, None]
    boxes = crop.smooth_crops(moving, 900, 256, 25)
    assert boxes[0, 0] < 100 < 500 < boxes[-1, 0]
    assert (boxes[:, 0] >= -1e-6).all() and (boxes[:, 0] + boxes[:, 2] <= 900 + 1e-6).all()


def test_frames_without_a_face_are_cropped_like_their_neighbours(face):
    clip = np.repeat(face[None], 20, 0)
    clip[5:9] = 0
    assert not np.isnan(crop.smooth_crops(clip, 256, 256, 25)).any()


def test_a_view_transforms_images_and_points_alike():
    image = np.zeros((60, 80, 3), np.uint8)
    image[30:33, 40:43] = 255
    view = View.crop(np.array([20.0, 10.0, 40.0]), 80, 80)
    y, x = np.argwhere(view.image(image)[..., 0] > 200).mean(0)
    assert np.allclose(view.points(np.array([[41.0, 31.0, 1.0]]))[0, :2], [x, y], atol=0.6)


def test_a_fitted_driver_has_the_position_size_and_proportions_of_the_example(face):
    wide = face.copy()
    wide[:, 0] = (wide[:, 0] - 128) * 1.3 + 160
    wide[:, 1] = (wide[:, 1] - 128) * 1.0 + 140
    fitted = normalise(np.repeat(face[None], 3, 0), wide)
    assert np.abs(fitted[0, :17, :2] - wide[:17, :2]).mean() < 1.0
    assert np.abs(fitted[0, :, :2] - wide[:, :2]).mean() < 2.0


def proportion_error(driving: np.ndarray, fitted: np.ndarray) -> float:
    """The mean distance of two tracks [T, 68, 3] after the best common scale and shift, in eye distances."""
    before, after = (track[..., :2].reshape(-1, 2).astype(float) for track in (driving, fitted))
    ones, zeros = np.ones(len(before)), np.zeros(len(before))
    rows = np.concatenate([np.stack([before[:, 0], ones, zeros], 1), np.stack([before[:, 1], zeros, ones], 1)])
    scale, x, y = np.linalg.lstsq(rows, after.T.ravel(), rcond=None)[0]
    distance = np.linalg.norm(before * scale + [x, y] - after, axis=1).mean()
    return float(distance / np.median(landmarks.eye_distance(fitted)))


@pytest.mark.parametrize("frame", [0, 37, 99])
def test_fitting_to_a_frame_of_the_driving_video_keeps_the_proportions(face, frame):
    """The driver talks, frowns and nods. The frame is made smaller, and its landmarks have detection noise."""
    driving, time = np.repeat(face[None], 100, 0), np.linspace(0, 8, 100)[:, None]
    driving[:, 48:, 1] += 8 * np.sin(3 * time) * (face[48:, 1] > 168)
    driving[:, 17:27, 1] -= 5 * np.cos(2 * time)
    driving[..., 1] = 128 + (driving[..., 1] - 128) * (1 - 0.15 * np.sin(time))
    example = driving[frame] * np.array([0.7, 0.7, 1]) + np.array([30, 12, 0])
    example[:, :2] += np.random.default_rng(0).normal(0, 0.3, (68, 2))
    assert proportion_error(driving, normalise(driving, example.astype(np.float32))) < 0.02


@pytest.mark.parametrize("name", ["styletalk_clip12a", "liveportrait_d11", "moore_2"])
def test_fitting_to_a_frame_of_a_real_driving_video_keeps_the_proportions(name, shared):
    """These clips had errors of 5 to 6 % when all frames similar to the example had equal weights."""
    pytest.importorskip("mediapipe")
    from stages.backends import Backends
    from stages.clip import read_frames
    from stages.extract_sketch.backends.mediapipe import MediapipeFaces
    from weights import registry

    frames = list(read_frames(next((shared / "data" / "faces").glob(f"{name}.*"))))[::2]
    detect = Backends("landmarks").get("mediapipe").open("cpu")
    driving = np.stack([max(detect(frame), key=lambda face: face.size).points[:68] for frame in frames])
    for frame in (0, len(frames) // 2):
        example = MediapipeFaces(str(registry.path("face_landmarker.task")), "image")(frames[frame])[0].points[:68]
        assert proportion_error(driving, normalise(driving, example)) < 0.02


@pytest.mark.parametrize("degrees", [-30, 12, 30])
def test_fitting_to_a_tilted_image_of_the_driver_keeps_the_proportions(face, degrees):
    driving, angle = np.repeat(face[None], 10, 0), np.radians(degrees)
    driving[:, 48:, 1] += np.linspace(0, 8, 10)[:, None] * (face[48:, 1] > 168)
    example = face.copy()
    example[:, :2] = (face[:, :2] - 128) @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * 1.3 + [120, 140]
    assert proportion_error(driving, normalise(driving, example)) < 1e-3
    assert np.abs(normalise(driving, example)[0, :, :2].mean(0) - example[:, :2].mean(0)).max() < 1


def test_a_tilted_driver_gets_the_same_proportions_as_an_upright_one(face):
    def tilt(points, degrees):
        angle, middle = np.radians(degrees), points[:, :2].mean(0)
        rotated = (points[:, :2] - middle) @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return np.column_stack([rotated + middle, points[:, 2:]]).astype(np.float32)

    example = face.copy()
    example[:17, 0] = 128 + 1.2 * (face[:17, 0] - 128)
    example[36:48, 1] += 6
    upright, *tilted = normalise(np.stack([face, *(tilt(face, degrees) for degrees in (-25, 10, 25))]), example)
    for degrees, fitted in zip((-25, 10, 25), tilted, strict=True):
        expected = tilt(upright, degrees)
        difference = (fitted - fitted.mean(0)) - (expected - expected.mean(0))
        assert np.abs(difference).max() < 0.1


def test_an_open_mouth_stays_open_when_the_examples_is_closed(face):
    talking = np.repeat(face[None], 10, 0)
    talking[5, 60:68, 1] += np.where(face[60:68, 1] > 168, 12, 0)
    fitted = normalise(talking, face)
    assert np.ptp(fitted[5, 60:68, 1]) > np.ptp(fitted[0, 60:68, 1]) + 8


def test_an_empty_frame_stays_empty(face):
    driving = np.repeat(face[None], 3, 0)
    driving[1] = 0
    assert not normalise(driving, face)[1].any()


@pytest.mark.parametrize(("count", "closed"), [(17, False), (4, False), (6, True), (12, True)])
def test_curves_are_the_cubic_splines_of_scipy(count, closed):
    from scipy.interpolate import CubicSpline

    control = np.vstack([np.eye(count), np.eye(count)[:1]]) if closed else np.eye(count)
    spline = CubicSpline(np.arange(len(control)), control, bc_type="periodic" if closed else "natural")
    curve = landmarks._spline(count, closed)
    assert np.allclose(curve, spline(np.linspace(0, len(control) - 1, len(curve))))


def test_the_crop_of_a_body_with_one_visible_point_has_a_size() -> None:
    bodies = np.zeros((2, 25, 3), np.float32)
    bodies[:, 0] = 50, 60, 1
    left, top, height = crop.smooth_body_crops(bodies, 200, 150, 25, 0.5)[0]
    assert height >= 16 and 0 <= left <= 50 <= left + height / 2 and top <= 60 <= top + height


# Irises


@pytest.fixture
def irises(face) -> np.ndarray:
    """Both irises [10, 3] of the face, five pixels wide, looking to the right of the image."""
    points = []
    for eye in (landmarks.RIGHT_EYE, landmarks.LEFT_EYE):
        x, y = face[eye, :2].mean(0) + (4, 0)
        points += [(x, y), (x + 2.5, y), (x, y - 2.5), (x - 2.5, y), (x, y + 2.5)]
    return np.column_stack([np.array(points), np.ones(10)]).astype(np.float32)


def test_irises_are_discs_that_the_eyelids_cut(face, irises):
    drawing = landmarks.draw_irises(face[None], irises[None], 256, 256)
    for iris in (irises[:5], irises[5:]):
        x, y = iris[0, :2].round().astype(int)
        assert drawing[y, x] == 255 and not drawing[y, x - 8 : x - 4].any() and not drawing[y - 6, x - 8 : x + 8].any()
    eyes_closed = face.copy()
    for eye in (landmarks.RIGHT_EYE, landmarks.LEFT_EYE):
        eyes_closed[eye, 1] = eyes_closed[eye, 1].mean()
    assert landmarks.draw_irises(eyes_closed[None], irises[None], 256, 256).sum() < 0.4 * drawing.sum(), "closed eyelids hide them"


def test_an_invisible_iris_is_not_drawn(face, irises):
    assert not landmarks.draw_irises(face[None], np.zeros((1, 10, 3), np.float32), 256, 256).any()
    left_only = irises.copy()
    left_only[:5] = 0
    drawing = landmarks.draw_irises(face[None], left_only[None], 256, 256)
    assert not drawing[:, :128].any() and drawing[:, 128:].any()


def test_in_a_mirrored_view_each_iris_stays_with_its_eye(face, irises):
    track = LandmarkTrack(face[None, None], irises[None, None], draw_irises=True)
    plain, mirrored = View.scaled(256, 256, 256, 256), View(np.array([[-1.0, 0, 255], [0, 1, 0]]), 256, 256)
    keypoints = track.keypoints(0, mirrored)
    assert keypoints.shape == (78, 3)
    assert np.allclose(keypoints[68, :2], (255 - irises[5, 0], irises[5, 1])), "the right eye of the mirrored face was the left eye"
    assert keypoints[69, 0] > keypoints[71, 0], "the right end of the iris is on the right"
    pupils = track.semantic(0, plain)[7]
    assert np.abs(track.semantic(0, mirrored)[7] - pupils[:, ::-1]).mean() < 1e-3


def test_a_track_without_irises_has_iris_keypoints_of_0_and_no_pupils(face):
    view = View.scaled(256, 256, 256, 256)
    without_irises = LandmarkTrack(face[None, None], draw_irises=True)
    assert without_irises.keypoints(0, view).shape == (78, 3) and not without_irises.keypoints(0, view)[68:].any()
    assert without_irises.semantic(0, view).shape == (8, 256, 256) and not without_irises.semantic(0, view)[7].any()
    assert np.array_equal(LandmarkTrack(face[None, None]).semantic(0, view), without_irises.semantic(0, view)[:7])


def test_detector_noise_drops_the_irises_of_some_windows(face, irises):
    track = LandmarkTrack(np.stack([face[None]] * 3), np.stack([irises[None]] * 3), draw_irises=True)
    view = View.scaled(256, 256, 256, 256)
    dropped = 0
    for seed in range(200):
        points = [track.keypoints(index, view, DetectorNoise(seed)) for index in range(3)]
        visible = [bool(p[68:, 2].any()) for p in points]
        assert len(set(visible)) == 1, "in all frames of a window or in none"
        assert track.semantic(0, view, DetectorNoise(seed))[7].any() == visible[0]
        dropped += not visible[0]
    assert 0.15 * 200 < dropped < 0.35 * 200


def test_a_fitted_iris_keeps_its_position_within_the_eye(face, irises):
    """The driver is twice as large as the example and looks to the side."""
    driver = np.concatenate([face, irises]) * np.array([2, 2, 1], np.float32)
    fitted = normalise(driver[None], face)[0]
    assert np.allclose(fitted[:, :2], np.concatenate([face, irises])[:, :2], atol=0.5)
    driver[68:] = 0
    assert not normalise(driver[None], face)[0, 68:].any()


def test_a_face_that_keeps_its_proportions_is_only_scaled_and_shifted(face):
    driving = np.stack([face, face])
    driving[1, 48:, 1] += 4  # the mouth moves
    example = face.copy()
    example[:, :2] = face[:, :2] * 1.5 + [20, -10]
    example[17:27, 1] -= 8  # the example's brows are higher
    fitted = normalise(driving, example, proportions=False)
    (scale,) = {round(float(np.ptp(fitted[i, :, 0]) / np.ptp(driving[i, :, 0])), 4) for i in range(2)}
    shift = fitted[..., :2] - driving[..., :2] * scale
    assert 1.4 < scale < 1.6 and np.ptp(shift.reshape(-1, 2), axis=0).max() < 0.05
    assert np.abs(normalise(driving, example)[0, 17:27] - fitted[0, 17:27]).max() > 2  # fitting the proportions would move the brows

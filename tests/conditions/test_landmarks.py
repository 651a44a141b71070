"""Faces as semantic images: sketches, views, crops, and a driver fitted to an example."""

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
    """A plausible face [68, 3] of about 120 pixels in a 256 x 256 picture."""
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


def test_the_forehead_is_the_contour_mirrored_at_its_ends_and_flattened(face):
    contour = face[:17, :2].astype(float)
    top = landmarks.forehead(contour)
    assert np.allclose(top[[0, 16]], contour[[0, 16]])
    line = contour[0, 1]
    assert np.allclose(line - top[8, 1], (contour[8, 1] - line) * 2 / 3)


def test_strokes_grow_with_the_face(face):
    double = face * np.array([2, 2, 1], np.float32)
    assert landmarks.stroke_width(double) == 2 * landmarks.stroke_width(face)


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
def test_distances_are_those_of_the_whole_picture_though_only_what_is_near_is_computed(face, scale, shift):
    face[:, :2] = face[:, :2] * scale + shift
    maps = landmarks.semantic_image(face[None], 256, 256)[1:]
    for drawn, names in zip(maps, landmarks.GROUPS, strict=True):
        strokes = np.full((256, 256), 255, np.uint8)
        lines = [np.round(landmarks.face_curves(face)[name] * 16).astype(np.int32) for name in names]
        cv2.polylines(strokes, lines, False, 0, 1, cv2.LINE_8, 4)
        whole = np.clip(1 - cv2.distanceTransform(strokes, cv2.DIST_L2, 5) / 32, 0, 1)
        assert np.abs(drawn - whole).max() < 1e-6


def test_a_mirrored_face_keeps_ibug_order(face):
    flipped = landmarks.mirror(face, 256)
    assert flipped[0, 0] < flipped[16, 0] and flipped[36, 0] < flipped[45, 0]
    assert np.allclose(landmarks.mirror(flipped, 256), face)


def test_far_points_do_not_break_the_drawing(face):
    face[:, :2] += 1e7
    assert landmarks.draw_sketch(face[None], 64, 64).shape == (64, 64)


def test_a_still_head_gets_one_crop_and_a_moving_one_is_followed_without_leaving_the_frame(face):
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


def test_a_view_moves_pictures_and_points_alike():
    image = np.zeros((60, 80, 3), np.uint8)
    image[30:33, 40:43] = 255
    view = View.crop(np.array([20.0, 10.0, 40.0]), 80, 80)
    y, x = np.argwhere(view.image(image)[..., 0] > 200).mean(0)
    assert np.allclose(view.points(np.array([[41.0, 31.0, 1.0]]))[0, :2], [x, y], atol=0.6)


def test_a_driver_is_given_the_examples_place_size_and_proportions(face):
    wide = face.copy()
    wide[:, 0] = (wide[:, 0] - 128) * 1.3 + 160
    wide[:, 1] = (wide[:, 1] - 128) * 1.0 + 140
    moved = normalise(np.repeat(face[None], 3, 0), wide)
    assert np.abs(moved[0, :17, :2] - wide[:17, :2]).mean() < 1.0
    assert np.abs(moved[0, :, :2] - wide[:, :2]).mean() < 2.0


def left_over(driving: np.ndarray, fitted: np.ndarray) -> float:
    """How far two tracks [T, 68, 3] are apart after one scale and shift for all, as a share of the eye distance."""
    own, other = (track[..., :2].reshape(-1, 2).astype(float) for track in (driving, fitted))
    ones, zeros = np.ones(len(own)), np.zeros(len(own))
    rows = np.concatenate([np.stack([own[:, 0], ones, zeros], 1), np.stack([own[:, 1], zeros, ones], 1)])
    scale, x, y = np.linalg.lstsq(rows, other.T.ravel(), rcond=None)[0]
    apart = np.linalg.norm(own * scale + [x, y] - other, axis=1).mean()
    return float(apart / np.median(landmarks.eye_distance(fitted)))


@pytest.mark.parametrize("frame", [0, 37, 99])
def test_a_picture_saved_from_the_driving_video_changes_no_proportions(face, frame):
    """The driver talks, frowns and nods; the picture is smaller, and its landmarks are detected again, with some error."""
    driving, time = np.repeat(face[None], 100, 0), np.linspace(0, 8, 100)[:, None]
    driving[:, 48:, 1] += 8 * np.sin(3 * time) * (face[48:, 1] > 168)
    driving[:, 17:27, 1] -= 5 * np.cos(2 * time)
    driving[..., 1] = 128 + (driving[..., 1] - 128) * (1 - 0.15 * np.sin(time))
    image = driving[frame] * np.array([0.7, 0.7, 1]) + np.array([30, 12, 0])
    image[:, :2] += np.random.default_rng(0).normal(0, 0.3, (68, 2))
    assert left_over(driving, normalise(driving, image.astype(np.float32))) < 0.02


@pytest.mark.parametrize("name", ["styletalk_clip12a", "liveportrait_d11", "moore_2"])
def test_of_real_drivers_too(name, shared):
    """Those whose fit was worst when the frames near the picture all counted alike: 5 to 6 per cent."""
    pytest.importorskip("mediapipe")
    from stages.backends import Backends
    from stages.clip import read_frames
    from stages.extract_sketch.backends.mediapipe import MediapipeFaces
    from weights import registry

    frames = list(read_frames(next((shared / "data" / "faces").glob(f"{name}.*"))))[::2]
    detect = Backends("landmarks").get("mediapipe").open("cpu")
    driving = np.stack([max(detect(frame), key=lambda face: face.size).points[:68] for frame in frames])
    for frame in (0, len(frames) // 2):
        alone = MediapipeFaces(str(registry.path("face_landmarker.task")), "image")(frames[frame])[0].points[:68]
        assert left_over(driving, normalise(driving, alone)) < 0.02


@pytest.mark.parametrize("degrees", [-30, 12, 30])
def test_a_tilted_picture_of_the_same_person_changes_no_proportions(face, degrees):
    driving, angle = np.repeat(face[None], 10, 0), np.radians(degrees)
    driving[:, 48:, 1] += np.linspace(0, 8, 10)[:, None] * (face[48:, 1] > 168)
    image = face.copy()
    image[:, :2] = (face[:, :2] - 128) @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * 1.3 + [120, 140]
    assert left_over(driving, normalise(driving, image)) < 1e-3
    assert np.abs(normalise(driving, image)[0, :, :2].mean(0) - image[:, :2].mean(0)).max() < 1


def test_a_driver_who_leans_gets_the_same_proportions_as_upright(face):
    def leaning(points, degrees):
        angle, middle = np.radians(degrees), points[:, :2].mean(0)
        turned = (points[:, :2] - middle) @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return np.column_stack([turned + middle, points[:, 2:]]).astype(np.float32)

    example = face.copy()
    example[:17, 0] = 128 + 1.2 * (face[:17, 0] - 128)
    example[36:48, 1] += 6
    upright, *leant = normalise(np.stack([face, *(leaning(face, degrees) for degrees in (-25, 10, 25))]), example)
    for degrees, fitted in zip((-25, 10, 25), leant, strict=True):
        wanted = leaning(upright, degrees)
        apart = (fitted - fitted.mean(0)) - (wanted - wanted.mean(0))
        assert np.abs(apart).max() < 0.1


def test_an_open_mouth_stays_open_when_the_examples_is_closed(face):
    talking = np.repeat(face[None], 10, 0)
    talking[5, 60:68, 1] += np.where(face[60:68, 1] > 168, 12, 0)
    moved = normalise(talking, face)
    assert np.ptp(moved[5, 60:68, 1]) > np.ptp(moved[0, 60:68, 1]) + 8


def test_an_empty_frame_stays_empty(face):
    driving = np.repeat(face[None], 3, 0)
    driving[1] = 0
    assert not normalise(driving, face)[1].any()


@pytest.mark.parametrize(("count", "closed"), [(17, False), (4, False), (6, True), (12, True)])
def test_curves_are_the_cubic_splines_of_scipy(count, closed):
    from scipy.interpolate import CubicSpline

    control = np.vstack([np.eye(count), np.eye(count)[:1]]) if closed else np.eye(count)
    spline = CubicSpline(np.arange(len(control)), control, bc_type="periodic" if closed else "natural")
    ours = landmarks._spline(count, closed)
    assert np.allclose(ours, spline(np.linspace(0, len(control) - 1, len(ours))))


def test_the_crop_of_a_body_of_one_point_has_a_size() -> None:
    bodies = np.zeros((2, 25, 3), np.float32)
    bodies[:, 0] = 50, 60, 1
    left, top, height = crop.smooth_body_crops(bodies, 200, 150, 25, 0.5)[0]
    assert height >= 16 and 0 <= left <= 50 <= left + height / 2 and top <= 60 <= top + height


# Irises


@pytest.fixture
def irises(face) -> np.ndarray:
    """Both irises [10, 3] of the face, five pixels wide, looking to the right of the picture."""
    found = []
    for eye in (landmarks.RIGHT_EYE, landmarks.LEFT_EYE):
        x, y = face[eye, :2].mean(0) + (4, 0)
        found += [(x, y), (x + 2.5, y), (x, y - 2.5), (x - 2.5, y), (x, y + 2.5)]
    return np.column_stack([np.array(found), np.ones(10)]).astype(np.float32)


def test_irises_are_discs_where_the_lids_leave_them_visible(face, irises):
    drawn = landmarks.draw_irises(face[None], irises[None], 256, 256)
    for iris in (irises[:5], irises[5:]):
        x, y = iris[0, :2].round().astype(int)
        assert drawn[y, x] == 255 and not drawn[y, x - 8 : x - 4].any() and not drawn[y - 6, x - 8 : x + 8].any()
    shut = face.copy()
    for eye in (landmarks.RIGHT_EYE, landmarks.LEFT_EYE):
        shut[eye, 1] = shut[eye, 1].mean()
    assert landmarks.draw_irises(shut[None], irises[None], 256, 256).sum() < 0.4 * drawn.sum(), "closed lids hide them"


def test_an_iris_that_is_not_seen_is_not_drawn(face, irises):
    assert not landmarks.draw_irises(face[None], np.zeros((1, 10, 3), np.float32), 256, 256).any()
    one = irises.copy()
    one[:5] = 0
    drawn = landmarks.draw_irises(face[None], one[None], 256, 256)
    assert not drawn[:, :128].any() and drawn[:, 128:].any()


def test_in_a_mirrored_view_each_iris_stays_with_its_eye(face, irises):
    track = LandmarkTrack(face[None, None], irises[None, None], draw_irises=True)
    there, back = View.scaled(256, 256, 256, 256), View(np.array([[-1.0, 0, 255], [0, 1, 0]]), 256, 256)
    seen = track.keypoints(0, back)
    assert seen.shape == (78, 3)
    assert np.allclose(seen[68, :2], (255 - irises[5, 0], irises[5, 1])), "the left eye of the mirrored picture is the other one"
    assert seen[69, 0] > seen[71, 0], "the right end is on the right again"
    pupils = track.semantic(0, there)[7]
    assert np.abs(track.semantic(0, back)[7] - pupils[:, ::-1]).mean() < 1e-3


def test_a_track_without_irises_has_keypoints_without_confidence_and_no_pupils(face):
    view = View.scaled(256, 256, 256, 256)
    bare = LandmarkTrack(face[None, None], draw_irises=True)
    assert bare.keypoints(0, view).shape == (78, 3) and not bare.keypoints(0, view)[68:].any()
    assert bare.semantic(0, view).shape == (8, 256, 256) and not bare.semantic(0, view)[7].any()
    assert np.array_equal(LandmarkTrack(face[None, None]).semantic(0, view), bare.semantic(0, view)[:7])


def test_training_leaves_the_irises_of_a_whole_window_out_now_and_then(face, irises):
    track = LandmarkTrack(np.stack([face[None]] * 3), np.stack([irises[None]] * 3), draw_irises=True)
    view = View.scaled(256, 256, 256, 256)
    dropped = 0
    for seed in range(200):
        points = [track.keypoints(index, view, DetectorNoise(seed)) for index in range(3)]
        known = [bool(p[68:, 2].any()) for p in points]
        assert len(set(known)) == 1, "all frames of a window or none"
        drawn = track.semantic(0, view, DetectorNoise(seed))[7].any()
        assert drawn == known[0]
        dropped += not known[0]
    assert 0.15 * 200 < dropped < 0.35 * 200


def test_an_iris_moves_along_when_its_eye_is_fitted_to_the_examples(face, irises):
    """A driver twice as large, looking aside: in the example's eyes the iris is where it was in the driver's."""
    driver = np.concatenate([face, irises]) * np.array([2, 2, 1], np.float32)
    fitted = normalise(driver[None], face)[0]
    assert np.allclose(fitted[:, :2], np.concatenate([face, irises])[:, :2], atol=0.5)
    driver[68:] = 0
    assert not normalise(driver[None], face)[0, 68:].any()


def test_a_face_that_keeps_its_proportions_is_only_scaled_and_shifted(face):
    driving = np.stack([face, face])
    driving[1, 48:, 1] += 4  # it speaks
    example = face.copy()
    example[:, :2] = face[:, :2] * 1.5 + [20, -10]
    example[17:27, 1] -= 8  # the example's brows are higher
    kept = normalise(driving, example, proportions=False)
    (scale,) = {round(float(np.ptp(kept[i, :, 0]) / np.ptp(driving[i, :, 0])), 4) for i in range(2)}
    shift = kept[..., :2] - driving[..., :2] * scale
    assert 1.4 < scale < 1.6 and np.ptp(shift.reshape(-1, 2), axis=0).max() < 0.05
    assert np.abs(normalise(driving, example)[0, 17:27] - kept[0, 17:27]).max() > 2  # while proportions are not

"""Points, crops, drawings and detections move with an image that is mirrored, rotated, doubled or padded, to a fraction of a pixel.

The centre of the first pixel is 0. A point (x, y) of an image of width W is therefore at (W - 1 - x, y) in the mirrored copy, at
(2 x + 0.5, 2 y + 0.5) in the doubled one, at (y, W - 1 - x) in the one rotated to the left, and at (x + left, y + top) in the padded one.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from stages.conditions import crop, labels, landmarks, poses
from stages.conditions.view import View
from stages.extract_sketch.patches import SIDE, Square, cut_patch
from stages.tracking.windows import cut_window

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
WIDTH, HEIGHT = 90, 70
POINT = (31.25, 40.5)


def blob(x: float, y: float, width: int = WIDTH, height: int = HEIGHT, spread: float = 3.0) -> np.ndarray:
    """An image of a soft white disc with the centre (x, y), uint8 [height, width]."""
    rows, columns = np.mgrid[:height, :width]
    return np.round(250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * spread**2))).astype(np.uint8)


def centre(image: np.ndarray) -> np.ndarray:
    """The centre of mass (x, y) of the brightness."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    weights = image.astype(np.float64)
    return np.array([(weights * columns).sum(), (weights * rows).sum()]) / weights.sum()


def rotated(degrees: float, height: int, width: int, mirrored: bool = False) -> View:
    return View.rotated((HEIGHT, WIDTH), height, width, scale=1, degrees=degrees, shift=np.zeros(2), mirrored=mirrored)


COPIES = {
    "mirrored": (rotated(0, HEIGHT, WIDTH, mirrored=True), lambda image: image[:, ::-1], lambda x, y: (WIDTH - 1 - x, y)),
    "90 degrees": (rotated(-90, WIDTH, HEIGHT), lambda image: np.rot90(image), lambda x, y: (y, WIDTH - 1 - x)),
    "180 degrees": (rotated(180, HEIGHT, WIDTH), lambda image: np.rot90(image, 2), lambda x, y: (WIDTH - 1 - x, HEIGHT - 1 - y)),
    "270 degrees": (rotated(90, WIDTH, HEIGHT), lambda image: np.rot90(image, 3), lambda x, y: (HEIGHT - 1 - y, x)),
    "doubled": (
        View.scaled(HEIGHT, WIDTH, 2 * HEIGHT, 2 * WIDTH),
        lambda image: image.repeat(2, axis=0).repeat(2, axis=1),
        lambda x, y: (2 * x + 0.5, 2 * y + 0.5),
    ),
    "padded": (
        View.crop(np.array([-7, -3, HEIGHT + 10]), HEIGHT + 10, WIDTH + 10),
        lambda image: np.pad(image, ((3, 7), (7, 3)), "reflect"),
        lambda x, y: (x + 7, y + 3),
    ),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_view_moves_pixels_and_points_to_the_same_position(name: str) -> None:
    view, copy, move_point = COPIES[name]
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH), np.uint8)
    assert np.array_equal(view.image(noise, cv2.INTER_NEAREST), copy(noise)), "labels are moved exactly"
    points = view.points(np.array([[*POINT, 1]], np.float32))
    assert points[0, :2] == pytest.approx(move_point(*POINT), abs=1e-4)
    assert centre(view.image(blob(*POINT))) == pytest.approx(move_point(*POINT), abs=0.03)


@pytest.mark.parametrize("size", [(35, 45), (23, 30), (140, 180), (101, 77)])
def test_a_view_scales_an_image_and_its_points_alike(size: tuple[int, int]) -> None:
    """Scaling by s moves x to s (x + 0.5) - 0.5, so that the borders of the image stay its borders."""
    view = View.scaled(HEIGHT, WIDTH, *size)
    expected = (np.array(POINT) + 0.5) * [size[1] / WIDTH, size[0] / HEIGHT] - 0.5
    assert view.points(np.array([[*POINT, 1]], np.float32))[0, :2] == pytest.approx(expected, abs=1e-4)
    assert centre(view.image(blob(*POINT))) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("scale", [0.4, 1.0, 1.6, 3.0])
def test_windows_and_patches_map_points_like_pixels(scale: float) -> None:
    image = blob(150.5, 120.25, 320, 240, spread=6)
    in_window = centre(cut_window(image, (101.3, 80.6), scale, (int(120 / scale), int(90 / scale))))
    assert in_window * scale + (101.3, 80.6) == pytest.approx((150.5, 120.25), abs=0.1)
    patch = cut_patch(image, Square(148.3, 118.7, 40 * scale))
    assert patch.grey.shape == (SIDE, SIDE)
    assert patch.to_frame(centre(patch.grey)) == pytest.approx((150.5, 120.25), abs=0.1)
    assert patch.to_patch(patch.to_frame(np.array([3.5, 7.25]))) == pytest.approx((3.5, 7.25), abs=1e-3)


def face(x: float, y: float, size: float) -> np.ndarray:
    """68 landmarks with the contour of a face, [68, 3], whose box is `size` wide and high."""
    points = np.zeros((68, 3), np.float32)
    points[:, :2] = np.random.default_rng(1).uniform(-0.4, 0.4, (68, 2))
    points[:17, 0], points[:17, 1] = np.linspace(-0.5, 0.5, 17), 0.5 - 2 * np.linspace(-0.5, 0.5, 17) ** 2
    points[19, 1] = -0.5
    return (points * [size, size, 1] + [x, y, 1]).astype(np.float32)


def body(x: float, y: float, size: float) -> np.ndarray:
    """Keypoints [25, 3] at random positions in a square."""
    positions = np.random.default_rng(2).uniform(-size / 2, size / 2, (25, 2)) + [x, y]
    return np.concatenate([positions, np.ones((25, 1))], 1).astype(np.float32)


CROPS = {
    "head": (face(201.5, 160, 60), lambda points, width, height: crop.smooth_crops(points, width, height, 25)),
    "head at the border": (face(40, 30, 60), lambda points, width, height: crop.smooth_crops(points, width, height, 25)),
    "body": (body(201.5, 160, 90), lambda points, width, height: crop.smooth_body_crops(points, width, height, 25, 0.5)),
}


@pytest.mark.parametrize("subject", CROPS)
def test_the_crop_of_a_copy_is_the_copy_of_the_crop(subject: str) -> None:
    """Left and top of a crop are positions of pixel borders, and the left and top borders of the image are at 0."""
    width, height = 400, 300
    points, crop_of = CROPS[subject]
    left, top, side = crop_of(points[None], width, height)[0]
    crop_width = side * (0.5 if subject == "body" else 1)
    mirrored = points * [-1, 1, 1] + [width - 1, 0, 0]
    assert crop_of(mirrored[None], width, height)[0] == pytest.approx((width - left - crop_width, top, side), abs=1e-3)
    doubled = points * [2, 2, 1] + [0.5, 0.5, 0]
    assert crop_of(doubled[None], 2 * width, 2 * height)[0] == pytest.approx((2 * left, 2 * top, 2 * side), abs=1e-3)
    if subject != "head at the border":
        padded = points + [20, 30, 0]
        assert crop_of(padded[None], width + 40, height + 60)[0] == pytest.approx((left + 20, top + 30, side), abs=1e-3)


def limb() -> np.ndarray:
    """A person [1, 25, 3] with only a neck and a nose, whose drawing is a slanted line."""
    keypoints = np.zeros((1, 25, 3), np.float32)
    keypoints[0, [poses.NOSE, poses.NECK]] = (22.25, 20.5, 1), (50.5, 41.75, 1)
    return keypoints


OPEN_EYE = ((-1, 0), (-0.5, -0.8), (0.5, -0.8), (1, 0), (0.5, 0.8), (-0.5, 0.8))
"""The six landmarks of an eye, relative to its centre."""


def test_drawings_are_centred_on_their_points() -> None:
    drawing = poses.draw_pose(limb(), HEIGHT, WIDTH).max(-1) > 0
    assert centre(drawing) == pytest.approx(limb()[0, [0, 1], :2].mean(0), abs=0.1)
    line = np.zeros((1, 68, 3), np.float32)
    line[0, :, :2], line[0, :, 2] = np.linspace((20.25, 20.5), (60.75, 20.5), 68), 1
    sketch = landmarks.draw_sketch(line, HEIGHT, WIDTH)
    assert centre(sketch)[1] == pytest.approx(20.5, abs=0.1)
    iris = np.array([[[*POINT, 1]] + [[POINT[0] + dx, POINT[1] + dy, 1] for dx, dy in ((3, 0), (0, -3), (-3, 0), (0, 3))]] * 2, np.float32)
    eyes = np.zeros((1, 68, 3), np.float32)
    eyes[0, landmarks.RIGHT_EYE] = eyes[0, landmarks.LEFT_EYE] = [(*(POINT + 8 * np.array(d)), 1) for d in OPEN_EYE]
    drawing = landmarks.draw_irises(eyes, iris.reshape(1, 10, 3), HEIGHT, WIDTH)
    assert centre(drawing) == pytest.approx(POINT, abs=0.1)


def test_boxes_of_instances_follow_a_doubled_or_mirrored_image() -> None:
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[20:41, 13:33] = 1
    low, high = labels.box_corners(numbers, (1,))[:2, :2]
    assert (high - low).tolist() == [20, 21], "the box has the size of the instance"
    copy = labels.box_corners(numbers.repeat(2, axis=0).repeat(2, axis=1), (1,))[:2, :2]
    assert copy.tolist() == [(2 * low + 0.5).tolist(), (2 * high + 0.5).tolist()]
    copy = labels.box_corners(numbers[:, ::-1], (1,))[:2, :2]
    assert copy.tolist() == [[WIDTH - 1 - high[0], low[1]], [WIDTH - 1 - low[0], high[1]]]


def test_label_maps_are_enlarged_and_reduced_without_a_shift(tmp_path: Path) -> None:
    from PIL import Image

    from stages.conditions.labels import CAMVID
    from stages.segment.backends.labels import read_label_map
    from stages.segment.extract import most_probable_labels

    ids = np.random.default_rng(0).integers(0, 11, (HEIGHT, WIDTH)).astype(np.uint8)
    Image.fromarray(ids).save(tmp_path / "ids.png")
    doubled = read_label_map(tmp_path / "ids.png", CAMVID, 2 * WIDTH, 2 * HEIGHT)
    assert np.array_equal(doubled, ids.repeat(2, axis=0).repeat(2, axis=1))
    Image.fromarray(ids.repeat(3, axis=0).repeat(3, axis=1)).save(tmp_path / "ids.png")
    assert np.array_equal(read_label_map(tmp_path / "ids.png", CAMVID, WIDTH, HEIGHT), ids)
    share = blob(*POINT, spread=8).astype(np.float32) / 255
    enlarged = most_probable_labels(np.stack([1 - share, share]), 4 * WIDTH, 4 * HEIGHT)
    assert centre(enlarged) == pytest.approx(4 * (np.array(POINT) + 0.5) - 0.5, abs=0.15)


def test_flow_and_grids_are_in_pixels_with_centres_at_integers() -> None:
    import torch
    from torch.nn import functional as F

    from stages.flow.warp import warp
    from stages.networks.common.discriminator_inputs import crop_region, square_boxes
    from stages.networks.fewshot.motion import pixel_grid

    image = torch.from_numpy(blob(*POINT)).float()[None, None]
    flow = torch.tensor([4.0, -3.0]).view(1, 2, 1, 1).expand(1, 2, HEIGHT, WIDTH)
    assert torch.allclose(warp(image, flow)[..., 3:, :-4], image[..., :-3, 4:], atol=1e-3)
    half = warp(image, flow / 8)[0, 0].numpy()
    assert centre(half) == pytest.approx((POINT[0] - 0.5, POINT[1] + 0.375), abs=0.03)

    coarse = pixel_grid((64, 96), 4, torch.device("cpu")).movedim(-1, 0)[None]
    fine = F.interpolate(coarse, size=(64, 96), mode="bilinear", align_corners=False)
    exact = pixel_grid((64, 96), 1, torch.device("cpu")).movedim(-1, 0)[None]
    assert torch.allclose(fine[..., 2:-2, 2:-2], exact[..., 2:-2, 2:-2], atol=1e-4), "the flow of W is enlarged like this"

    corners = torch.tensor([[[0.0, 0, 1], [63, 63, 1]]])
    boxes, _ = square_boxes(corners, (0, 1), 64, 64)
    assert boxes.tolist() == [[0, 0, 63, 63]]
    square = torch.rand(1, 3, 64, 64)
    assert torch.allclose(crop_region(square, boxes, 64), square, atol=1e-4)


@pytest.fixture(scope="module")
def correspondence() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import correspondence
    return correspondence


@pytest.fixture(scope="module")
def astronaut() -> list[np.ndarray]:
    """Four crops of a portrait of a person who faces the camera."""
    image = pytest.importorskip("skimage.data").astronaut()
    return [np.ascontiguousarray(image[top : top + 300, left : left + 300]) for left, top in itertools.product((60, 71), (0, 9))]


@pytest.mark.parametrize(
    ("backend", "copy"),
    [*itertools.product(["landmarks/dlib", "segment/person"], ["mirrored", "doubled", "padded"]),
     *itertools.product(["landmarks/mediapipe"], ["doubled", "padded"])],
)  # fmt: skip
def test_detections_move_with_the_image(backend, copy, shared, correspondence: ModuleType, astronaut) -> None:
    """MediaPipe is not tested on mirrored faces: its meshes are shifted to one side by 0.15 % of the width of the image."""
    measure = MEASURERS.setdefault(backend, correspondence.measurer(backend))
    shifts = [measure(image, correspondence.COPIES[copy]) for image in astronaut]
    assert np.abs(np.mean([shift for shift in shifts if shift is not None], axis=0)).max() < correspondence.GOAL


MEASURERS: dict = {}
"""backend -> its measurer, which is made once for all copies."""

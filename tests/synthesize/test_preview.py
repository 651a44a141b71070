"""--preview: a few frames on a sheet, made as the video would be, without making the video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fsv2v
from stages.clip import Producer, create_clip, open_clip
from stages.clip.preview import evenly_spaced, scale_to_height
from stages.conditions.kinds import open_track
from stages.conditions.view import View
from stages.errors import ParametersDiffer, UsageError
from stages.extract_sketch.backends import dlib as dlib_backend
from stages.synthesize.preview import CELL

CAPTION = 22
"""Height of the strips with captions between the images, in pixels."""


@pytest.fixture
def options(model) -> dict:
    """Arguments of fsv2v.preview and fsv2v.synthesize."""
    return {"model": model, "device": "cpu", "normalize": "off", "precision": "fp32"}


@pytest.fixture(scope="module")
def person(tmp_path_factory, make_painted_clip) -> Path:
    return make_painted_clip(tmp_path_factory.mktemp("clips") / "person.clip", 0, num_frames=2)


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip) -> Path:
    return make_painted_clip(tmp_path_factory.mktemp("clips") / "driver.clip", 1, num_frames=24)


def cell(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """The image in one cell of the sheet."""
    top = row * (CAPTION + CELL) + CAPTION
    return sheet[top : top + CELL, column * CELL : (column + 1) * CELL]


def difference(image: np.ndarray, frame: np.ndarray) -> float:
    """Mean absolute difference in grey levels between an image of the sheet and a frame, scaled to the height of a cell."""
    return float(np.abs(image.astype(float) - scale_to_height(frame, CELL)).mean())


def test_a_preview_shows_the_example_and_ten_frames_below_their_driving_frames(person, driver, options, tmp_path):
    outcome = fsv2v.preview(person, driver, tmp_path / "out.png", num_examples=1, **options)
    sheet = np.asarray(Image.open(outcome.path))
    assert sheet.shape == (4 * (CAPTION + CELL), 6 * CELL, 3) and outcome.frames == 10
    example, driving, chosen = open_clip(person), open_clip(driver), evenly_spaced(24, 10)
    for row in (1, 3):
        assert difference(cell(sheet, row, 0), example.frame(0)) == 0
    for position, index in enumerate(chosen):
        assert difference(cell(sheet, 2 * (position // 5), 1 + position % 5), driving.frame(index)) == 0


def test_the_driving_layer_of_the_example_is_above_it_and_the_first_images_have_captions(person, driver, options, tmp_path):
    sheet = np.asarray(Image.open(fsv2v.preview(person, driver, tmp_path / "out.png", num_examples=1, **options).path))
    clip = open_clip(person)
    drawing = open_track(clip, "landmarks").drawing(0, View.scaled(clip.height, clip.width, 64, 64))
    for row in (0, 2):
        assert drawing.any() and difference(cell(sheet, row, 0), drawing) == 0
    strips = [sheet[row * (CAPTION + CELL) :][:CAPTION] for row in range(4)]
    named = [[bool((strip[:, column * CELL : (column + 1) * CELL] > 128).any()) for column in range(6)] for strip in strips]
    assert named == [[True] * 6, [True, True, False, False, False, False]] * 2


def test_the_driving_layer_of_a_pasted_result_is_at_the_position_of_the_person(person, driver, options, tmp_path):
    """The result shows the whole photograph, and so does the drawing."""
    head = open_clip(person)
    image = np.random.default_rng(0).integers(0, 255, (120, 240, 3), np.uint8)
    image[30:94, 150:214] = head.frame(0)
    photograph = create_clip(tmp_path / "photograph.clip", iter([image]), storage="png")
    points = head.layer("landmarks").arrays()["points"][:1] + np.array([150, 30, 0], np.float32)
    with photograph.writing("landmarks", Producer("painted"), {"frames": photograph.frames_digest()}) as layer:
        layer.arrays(points=points)
    sheet = np.asarray(Image.open(fsv2v.preview(photograph, driver, tmp_path / "out.png", **options).path))
    assert sheet.shape == (4 * (CAPTION + CELL), 6 * 2 * CELL, 3), "each image is twice as wide as high, like the photograph"
    drawn = np.nonzero(sheet[CAPTION : CAPTION + CELL, : 2 * CELL].any(-1))[1]
    expected = (points[0, 0, :, 0] + 0.5) * CELL / 120
    assert (drawn.min(), drawn.max()) == pytest.approx((expected.min(), expected.max()), abs=6)


def test_each_frame_equals_the_first_frame_of_a_video_that_begins_there(person, driver, options, tmp_path):
    sheet = np.asarray(Image.open(fsv2v.preview(person, driver, tmp_path / "out.png", **options).path))
    last = next(iter(fsv2v.synthesize(person, driver, time=(23 / 25, None), **options)))
    other = next(iter(fsv2v.synthesize(person, driver, **options)))
    assert difference(cell(sheet, 3, 5), last) < 0.1 < difference(cell(sheet, 3, 5), other)


def test_a_preview_makes_no_video_and_a_later_synthesis_is_not_skipped(person, driver, options, tmp_path):
    fsv2v.preview(person, driver, tmp_path / "out.preview.png", **options)
    assert [path.name for path in tmp_path.iterdir()] == ["out.preview.png"]
    assert fsv2v.synthesize(person, driver, tmp_path / "out.mp4", **options).status == "done"


def test_an_older_preview_is_replaced_but_no_other_image(person, driver, options, tmp_path):
    for _ in range(2):
        fsv2v.preview(person, driver, tmp_path / "out.png", **options)
    own = tmp_path / "own.png"
    Image.new("RGB", (9, 9)).save(own)
    before = own.read_bytes()
    with pytest.raises(ParametersDiffer, match="not a preview"):
        fsv2v.preview(person, driver, own, **options)
    assert own.read_bytes() == before
    with pytest.raises(UsageError, match="cannot be a preview"):
        fsv2v.preview(person, driver, tmp_path / "out.mp4", **options)


def test_a_preview_is_marked_as_synthetic_unless_note_is_false(person, driver, options, tmp_path):
    fsv2v.preview(person, driver, tmp_path / "out.png", **options)
    assert b"digitalsourcetype" in (tmp_path / "out.png").read_bytes()
    fsv2v.preview(person, driver, tmp_path / "out.png", note=False, **options)
    assert b"digitalsourcetype" not in (tmp_path / "out.png").read_bytes()


def test_the_command_prints_the_path_of_the_preview(fsv2v, person, driver, model, tmp_path):
    drivers = ("--driving", driver, "--driving", person)
    arguments = ("--examples", person, "--model", model.path, "--device", "cpu", "--preview", "--normalize", "off")
    one = fsv2v("synthesize", *arguments, "--driving", driver, "-o", "out.mp4", cwd=tmp_path)
    assert (one.exit_code, one.lines) == (0, ["out.preview.png"]) and "made without the one before it" in one.stderr
    several = fsv2v("synthesize", *arguments, *drivers, "-o", "outs", cwd=tmp_path)
    assert (several.exit_code, several.lines) == (0, ["outs/driver.preview.png", "outs/person.preview.png"])
    refused = fsv2v("synthesize", *arguments, "--driving", driver, "-o", "out.mp4", "--report", "out.html", cwd=tmp_path)
    assert refused.exit_code == 2 and "Leave out --report" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.preview.png", "outs"]


def test_faces_are_detected_in_few_frames_of_a_long_video(shared, options, person, tmp_path, monkeypatch):
    video = shared / "data" / "faces" / "1zlab_face.mp4"
    if not video.exists():
        pytest.skip("the video 1zlab_face.mp4 is missing")
    detected = []
    find = dlib_backend.DlibFaces.__call__
    monkeypatch.setattr(dlib_backend.DlibFaces, "__call__", lambda self, frame: detected.append(1) or find(self, frame))
    fsv2v.preview(person, video, tmp_path / "out.png", backend="dlib", **options)
    assert 0 < len(detected) <= 2 * 50  # of 383 frames

"""--size and --paste: the example is warped at its own resolution, and the rest of its photograph does not move."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut

import fsv2v
from fsv2v.inputs import prepare
from fsv2v.reporting import RecordingReporter, Reporter
from fsv2v.sources import temporary_clips
from stages.clip import Clip, Producer, create_clip, open_clip, probe
from stages.conditions.kinds import find_kind
from stages.conditions.landmarks import MIRROR
from stages.conditions.view import View
from stages.errors import InputError, NoDetection, ParametersDiffer, UsageError
from stages.models import load_model, save_model
from stages.networks.common.frame import Warped
from stages.networks.common.generator import Synthesis
from stages.networks.common.inference import Renderer
from stages.networks.pix2pixhd.config import Pix2PixHDConfig
from stages.networks.pix2pixhd.generator import Pix2PixHD
from stages.synthesize import Outcome, ReportRequest, SynthesizeOptions, placement, rendering, synthesize
from stages.synthesize.canvas import Canvas, FullSizeExample
from stages.synthesize.placement import soft_mask

OPTIONS = SynthesizeOptions(device="cpu", crop="subject", precision="fp32")
CROP = replace(OPTIONS, size="model")
LOW, HIGH = 64, 256
"""Sides of the frames of the simulated network, and of its example, in pixels."""


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip) -> Clip:
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "driver.clip", 1, num_frames=5))


@pytest.fixture(scope="module")
def make_photograph(tmp_path_factory, make_painted_clip):
    """make_photograph(width, height, side): noise with a painted head of `side` pixels at (40, 30), as a clip with landmarks."""
    folder = tmp_path_factory.mktemp("photographs")

    def make(width: int = 360, height: int = 300, side: int = 200, name: str = "photograph") -> Clip:
        head = open_clip(make_painted_clip(folder / f"head-{name}.clip", 0, num_frames=1, size=side))
        image = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
        image[30 : 30 + side, 40 : 40 + side] = head.frame(0)
        points = head.layer("landmarks").arrays()["points"][:1] + np.array([40, 30, 0], np.float32)
        clip = create_clip(folder / f"{name}.clip", iter([image]), storage="png")
        with clip.writing("landmarks", Producer("painted"), {"frames": clip.frames_digest()}) as layer:
            layer.arrays(points=points)
        return open_clip(clip.path)

    return make


@pytest.fixture(scope="module")
def photograph(make_photograph) -> Clip:
    return make_photograph()


def frames_of(path: Path) -> np.ndarray:
    return np.stack([*open_clip(path).frames()])


def smooth_image(side: int, seed: int) -> np.ndarray:
    """A random image without sharp edges, uint8 [side, side, 3]."""
    noise = np.random.default_rng(seed).random((side, side, 3)).astype(np.float32)
    blurred = cv2.GaussianBlur(noise, (0, 0), side / 16)
    scaled: np.ndarray = ((blurred - blurred.min()) / np.ptp(blurred) * 200 + 20).astype(np.uint8)
    return scaled


def reduce_and_enlarge(image: np.ndarray) -> np.ndarray:
    """The image at the size of the model, enlarged to its former size again."""
    small = cv2.resize(image, (LOW, LOW), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (HIGH, HIGH), interpolation=cv2.INTER_CUBIC)).astype(int)


def full_size(image: np.ndarray) -> FullSizeExample:
    """The image as an example of the simulated network."""
    height, width = image.shape[:2]
    return FullSizeExample(image, View.scaled(height, width, LOW, LOW))


def synthesis_of(image: np.ndarray, flow: tuple[float, float] = (0, 0), mask: float = 0.0) -> Synthesis:
    """The output of a network with frames of LOW pixels that warps `image` by a constant flow, with a constant mask; 0 shows the warp."""
    small = cv2.resize(image, (LOW, LOW), interpolation=cv2.INTER_AREA)
    tensor = torch.from_numpy(small.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
    moved = torch.tensor(flow, dtype=torch.float32)[None, :, None, None].expand(1, 2, LOW, LOW)
    warped = Warped(tensor, moved, torch.zeros(1, 1, LOW, LOW))
    return Synthesis(tensor, tensor, warped, torch.full((1, 1, LOW, LOW), mask))


def test_a_warp_with_mask_0_shows_the_pixels_of_the_example():
    image = smooth_image(HIGH, 0)
    assert np.abs(Canvas([full_size(image)]).frame(synthesis_of(image), [0]).astype(int) - image).max() <= 1


def test_the_flow_is_scaled_to_the_size_of_the_canvas():
    """2.5 pixels of the model are exactly 10 pixels of a canvas of four times its size, without an offset of half a pixel."""
    image = smooth_image(HIGH, 1)
    made = synthesis_of(np.roll(image, (-4, -10), (0, 1)), flow=(2.5, 1.0))
    shown = Canvas([full_size(image)]).frame(made, [0])
    inside = np.abs(shown[16:200, 16:200].astype(int) - image[20:204, 26:210])
    assert inside.max() <= 2


def test_pixels_that_the_network_paints_are_enlarged():
    image, painted = smooth_image(HIGH, 2), smooth_image(HIGH, 3)
    made = replace(synthesis_of(painted, mask=1.0), example=synthesis_of(image).example)
    shown = Canvas([full_size(image)]).frame(made, [0])
    assert np.abs(shown.astype(int) - reduce_and_enlarge(painted))[16:-16, 16:-16].max() <= 2


def test_a_warp_that_differs_from_the_frame_is_not_shown():
    """For example, a frame with closed eyes does not get the open eyes of the example, even if the mask is 0."""
    image = smooth_image(HIGH, 4)
    frame = image.copy()
    frame[64:192, 64:192] = np.where(np.indices((128, 128)).sum(0)[..., None] // 16 % 2, 250, 5)  # a pattern, not a change of light
    shown = Canvas([full_size(image)]).frame(replace(synthesis_of(image), frame=synthesis_of(frame).frame), [0])
    middle = (slice(96, 160), slice(96, 160))
    assert np.abs(shown[middle].astype(int) - reduce_and_enlarge(frame)[middle]).mean() < 1


def test_the_brightness_is_that_of_the_frame():
    image = smooth_image(HIGH, 5)
    made = synthesis_of(image)
    shown = Canvas([full_size(image)]).frame(replace(made, frame=made.frame + 20 / 127.5), [0])
    assert np.abs(shown.astype(int) - image - 20).max() <= 1


def test_several_examples_are_combined_by_their_shares():
    """The left half is that of the first example, the right half that of the second, which has another size."""
    images = [smooth_image(HIGH, 6), smooth_image(384, 7)]
    left = (torch.arange(LOW) < LOW / 2).float().expand(1, LOW, LOW)
    shares = torch.stack([left, 1 - left], 1)
    both = [synthesis_of(image) for image in images]
    frame = both[0].frame * shares[:, :1] + both[1].frame * shares[:, 1:]
    flows = torch.zeros(1, 2, 2, LOW, LOW)
    warped = Warped(frame, flows[:, 0], torch.zeros(1, 1, LOW, LOW), flows, shares)
    made = Synthesis(frame, frame, warped, torch.zeros(1, 1, LOW, LOW))
    shown = Canvas([full_size(smooth_image(HIGH, 8)), *map(full_size, images)]).frame(made, [1, 2]).astype(int)
    expected = cv2.resize(images[1], (HIGH, HIGH), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(shown - images[0])[:, :120].mean() < 1
    assert np.abs(shown - expected)[:, 136:].mean() < 1


def test_the_example_does_not_move_where_the_window_is_0():
    image = smooth_image(HIGH, 9)
    window = np.zeros((LOW, LOW), np.float32)
    window[24:40, 24:40] = 1
    still, moved = (Canvas([full_size(image)]).frame(synthesis_of(image, flow), [0], window).astype(int) for flow in ((0, 0), (3.0, 0)))
    assert (still[:88] == moved[:88]).all() and (still[:, 168:] == moved[:, 168:]).all()
    assert np.abs(still - moved)[112:144, 112:144].mean() > 5


def test_the_window_fades_beside_the_subject_except_at_a_border_of_the_photograph():
    mask = np.zeros((40, 40), np.uint8)
    mask[15:40, 15:25] = 1
    window = soft_mask(mask, (False, False, False, True), edge=0.25)
    assert (window[mask.astype(bool)] == 1).all(), "the lower border of the photograph cuts the subject, which moves up to it"
    assert (window[:5] == 0).all() and (window[:, :5] == 0).all() and (window[:, 35:] == 0).all()
    assert (np.diff(window[20, :16]) >= 0).all() and window[20, 10] == pytest.approx(0.5)


def test_the_window_fades_towards_a_border_of_the_crop_inside_the_photograph():
    mask = np.zeros((100, 100), np.uint8)
    mask[:, 40:] = 1
    window = soft_mask(mask, (False, True, False, True), edge=0.25)
    assert (window[:, -1] == 0).all() and (window[:, 97:] < 1).all() and (window[:, 45:90] == 1).all()


def test_a_result_of_the_size_of_the_model_has_the_frames_of_the_network(model, photograph, driver, tmp_path):
    synthesize([photograph], driver, model, tmp_path / "model.clip", CROP)
    synthesize([photograph], driver, model, tmp_path / "number.clip", replace(CROP, size=64))
    frames = frames_of(tmp_path / "model.clip")
    assert frames.shape == (5, 64, 64, 3) and (frames == frames_of(tmp_path / "number.clip")).all()


@pytest.mark.parametrize("size", [128, "example"])
def test_a_larger_crop_shows_the_same_as_a_small_one(model, photograph, driver, tmp_path, size):
    synthesize([photograph], driver, model, tmp_path / "small.clip", CROP)
    synthesize([photograph], driver, model, tmp_path / "large.clip", replace(CROP, size=size))
    small, large = frames_of(tmp_path / "small.clip"), frames_of(tmp_path / "large.clip")
    assert large.shape[1] == (128 if size == 128 else pytest.approx(200, abs=20))
    shrunk = np.stack([cv2.resize(frame, (64, 64), interpolation=cv2.INTER_AREA) for frame in large])
    assert np.abs(shrunk.astype(int) - small).mean() < 6


def test_the_result_is_the_whole_photograph_and_only_the_head_moves(model, photograph, driver, tmp_path):
    outcome = synthesize([photograph], driver, model, tmp_path / "out.clip", OPTIONS)
    frames, image = frames_of(tmp_path / "out.clip"), photograph.frame(0)
    assert outcome.placement is not None and outcome.placement.pasted and frames.shape[1:] == image.shape
    moves = (frames != image).any((0, 3))
    rows, columns = np.flatnonzero(moves.any(1)), np.flatnonzero(moves.any(0))
    assert moves.mean() > 0.1
    assert rows.min() >= 10 and rows.max() <= 250 and columns.min() >= 20 and columns.max() <= 260


def test_the_head_of_a_tilted_photograph_stays_tilted(model, photograph, driver, tmp_path):
    """The driver's head is upright. By default its motion is added to the pose in the photograph."""
    tilted = rotate_around_head(photograph, 25, tmp_path / "tilted.clip")
    shown = tilted.layer("landmarks").arrays()["points"][0, 0]

    def tilts(name: str, options: SynthesizeOptions) -> np.ndarray:
        """The rotation of the head in each frame relative to the photograph, in degrees."""
        outcomes.append(synthesize([tilted], driver, model, tmp_path / name, options))
        points = open_clip(tmp_path / name).layer("landmarks").arrays()["points"][:, 0]
        return np.array([np.degrees(np.subtract(*(np.arctan2(*(eye[45, :2] - eye[36, :2])) for eye in (shown, face)))) for face in points])

    outcomes: list[Outcome] = []
    own, absolute = tilts("own.clip", OPTIONS), tilts("absolute.clip", replace(OPTIONS, motion="absolute"))
    upright = tilts("unfitted.clip", replace(OPTIONS, normalize="off"))
    assert np.abs(own).max() < 10 and np.abs(np.abs(absolute) - 25).max() < 10 and np.abs(np.abs(upright) - 25).max() < 10
    noted = [any("pose in the photograph" in text for text in outcome.notes) for outcome in outcomes]
    assert noted == [True, False, False], 'motion="absolute" and normalize="off" use the pose of the driver'
    with pytest.raises(ParametersDiffer, match="motion"):
        synthesize([tilted], driver, model, tmp_path / "own.clip", replace(OPTIONS, motion="absolute"))
    tilts("crop.clip", CROP)
    assert not outcomes[-1].notes, "a crop shows no body that the head must fit"


def rotate_around_head(clip: Clip, degrees: float, path: Path) -> Clip:
    """A photograph with landmarks, rotated around its head."""
    points = clip.layer("landmarks").arrays()["points"]
    matrix = cv2.getRotationMatrix2D(points[0, 0, :, :2].mean(0).tolist(), degrees, 1)
    image = cv2.warpAffine(clip.frame(0), matrix, (clip.width, clip.height), borderMode=cv2.BORDER_REFLECT_101)
    made = create_clip(path, iter([image]), storage="png")
    with made.writing("landmarks", Producer("painted"), {"frames": made.frames_digest()}) as layer:
        layer.arrays(points=View(matrix, clip.height, clip.width).points(points))
    return open_clip(path)


def test_the_driving_landmarks_in_a_pasted_clip_are_at_the_head(model, photograph, driver, tmp_path):
    synthesize([photograph], driver, model, tmp_path / "out.clip", OPTIONS)
    made = open_clip(tmp_path / "out.clip").layer("landmarks").arrays()["points"][:, 0, :, :2]
    shown = photograph.layer("landmarks").arrays()["points"][0, 0, :, :2]
    assert np.linalg.norm(made.mean(1) - shown.mean(0), axis=1).max() < 0.2 * np.ptp(shown[:, 0])


def test_a_head_of_more_than_1024_pixels_is_synthesized_at_1024_pixels_and_enlarged(model, make_photograph, driver, tmp_path):
    large = make_photograph(1500, 1400, 1300, "large")
    outcome = synthesize([large], driver, model, tmp_path / "out.clip", replace(OPTIONS, paste=True))
    assert outcome.placement is not None and outcome.placement.height == 1024
    frame, image = open_clip(tmp_path / "out.clip").frame(2), large.frame(0)
    assert frame.shape == image.shape and (frame[-20:] == image[-20:]).all() and (frame[300:900, 300:900] != image[300:900, 300:900]).any()


def test_a_video_of_a_photograph_with_odd_sides_lacks_the_last_row_and_column(model, make_photograph, driver, tmp_path):
    odd = make_photograph(331, 271, name="odd")
    synthesize([odd], driver, model, tmp_path / "out.mp4", OPTIONS)
    info = probe(tmp_path / "out.mp4")
    assert (info.width, info.height) == (330, 270)


def test_a_photograph_that_is_too_large_for_video_players_is_reduced(model, photograph, driver, tmp_path, monkeypatch):
    monkeypatch.setattr(placement, "MAX_PHOTOGRAPH", 180)
    synthesize([photograph], driver, model, tmp_path / "out.clip", OPTIONS)
    frames, image = frames_of(tmp_path / "out.clip"), photograph.frame(0)
    assert frames.shape[1:] == (150, 180, 3)
    small = cv2.resize(image, (180, 150), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(frames[:, 130:] - small[130:]).max() <= 1, "below the head"
    assert np.abs(frames - small)[:, 30:90, 40:100].mean() > 5, "the head"


def test_a_photograph_that_the_head_fills_keeps_its_resolution(model, make_photograph, driver, tmp_path, monkeypatch):
    """Only the head is limited to MAX_SIDE. A smaller photograph is made as a crop."""
    filled, options = make_photograph(300, 300, 200, "filled"), replace(OPTIONS, crop="none")
    small = synthesize([filled], driver, model, tmp_path / "small.clip", options)
    assert small.placement is not None and not small.placement.pasted
    monkeypatch.setattr(placement, "MAX_SIDE", 150)
    large = synthesize([filled], driver, model, tmp_path / "large.clip", options)
    assert large.placement is not None and large.placement.pasted and large.placement.height == 150
    assert frames_of(tmp_path / "large.clip").shape[1:] == (300, 300, 3)


def test_several_photographs_are_not_pasted_unless_paste_is_true(model, photograph, make_photograph, driver, tmp_path):
    """With paste=True the result is pasted into the first one."""
    other = make_photograph(320, 260, 180, "other")
    first = synthesize([photograph, other], driver, model, tmp_path / "a.mp4", OPTIONS)
    assert first.placement is not None and not first.placement.pasted
    synthesize([photograph, other], driver, model, tmp_path / "b.clip", replace(OPTIONS, paste=True))
    frames = frames_of(tmp_path / "b.clip")
    assert frames.shape[1:] == (300, 360, 3) and (frames[:, -20:] == photograph.frame(0)[-20:]).all()


def test_two_drivers_move_two_people_of_one_photograph(model, make_photograph, make_painted_clip, driver, tmp_path, monkeypatch):
    """Each person moves as if it were the only one, and no other pixel changes."""
    left, right = make_photograph(700, 300, 200, "group"), make_photograph(700, 300, 200, "group-mirrored")
    image = left.frame(0)
    image[:, 350:] = image[:, 349::-1]
    pair = [with_landmarks_of(clip, image, tmp_path / f"{k}.clip", mirrored=bool(k)) for k, clip in enumerate((left, right))]
    other = open_clip(make_painted_clip(tmp_path / "other.clip", 2, num_frames=5))
    synthesize(pair[:1], driver, model, tmp_path / "left.clip", OPTIONS)
    synthesize(pair[1:], other, model, tmp_path / "right.clip", OPTIONS)
    report, prepared = ReportRequest(tmp_path / "both.html"), []
    monkeypatch.setattr(rendering, "Renderer", lambda *given: prepared.append(given) or Renderer(*given))
    synthesize(pair[:1], driver, model, tmp_path / "both.clip", OPTIONS, others=[(pair[1], other)], report=report)
    assert "700 x 300 pixels" in report.path.read_text() and "about the first of them" in report.path.read_text()
    assert len(prepared) == 1, "one network makes both"
    alone, both = frames_of(tmp_path / "left.clip"), frames_of(tmp_path / "both.clip")
    assert (both[:, :, :300] == alone[:, :, :300]).all()
    assert (both[:, :, 400:] == frames_of(tmp_path / "right.clip")[:, :, 400:]).all()
    assert (alone[:, :, 400:] == image[:, 400:]).all() and (both[:, :, 400:] != image[:, 400:]).any()


def test_only_the_chosen_one_of_two_people_moves(make_face_video, tmp_path):
    """Real portraits and a real detector: the astronaut and her mirror image."""
    image = np.hstack([astronaut()[:300, 80:380], astronaut()[:300, 380:80:-1]])
    make_face_video(tmp_path / "talk.mp4", 2)

    def moves(**options: Any) -> tuple[bool, bool]:
        frames = np.stack([*fsv2v.synthesize(image, tmp_path / "talk.mp4", backend="dlib", device="cpu", **options)])
        changed = (frames != image).any((0, 1, 3))
        return bool(changed[:300].any()), bool(changed[300:].any())

    assert moves(subjects=[0]) == (True, False)
    assert moves(subjects=[1]) == (False, True)
    with pytest.raises(NoDetection, match="No face was found"):
        moves(subjects=[2])


def test_a_driving_video_that_is_named_twice_is_extracted_once(make_face_video, tmp_path):
    image, talk = np.hstack([astronaut()[:300, 80:380], astronaut()[:300, 380:80:-1]]), make_face_video(tmp_path / "talk.mp4", 2)
    with temporary_clips(reporter := RecordingReporter(Reporter())) as temporary:
        ready = prepare(image, [talk, str(talk)], temporary, subjects=[0, 1], backend="dlib", device="cpu")
    assert ready.others[0][1] is ready.driving
    assert sum("talk: extracting" in text for _, text in reporter.messages) == 1


@pytest.mark.parametrize(
    ("driving", "subjects", "reason"),
    [
        (["a.mp4", "b.mp4"], [0], "2 driving videos for 1 subjects"),
        (["a.mp4"], [1, 1], "chosen twice"),
        (["a.mp4", "b.mp4"], [], "2 driving"),
    ],
)
def test_drivers_and_subjects_that_do_not_match_are_refused(driving, subjects, reason):
    with pytest.raises(UsageError, match=reason):
        next(fsv2v.synthesize("photo.jpg", driving, subjects=subjects))


def with_landmarks_of(clip: Clip, image: np.ndarray, path: Path, *, mirrored: bool) -> Clip:
    """A clip of the image with the landmarks of another clip; mirrored: reflect the landmarks at the middle of the image."""
    points = clip.layer("landmarks").arrays()["points"].copy()
    if mirrored:
        points[..., 0] = image.shape[1] - 1 - points[..., 0]
        points = points[:, :, MIRROR]
    made = create_clip(path, iter([image]), storage="png")
    with made.writing("landmarks", Producer("painted"), {"frames": made.frames_digest()}) as layer:
        layer.arrays(points=points)
    return open_clip(path)


def test_drivers_of_one_photograph_must_have_the_same_length(model, photograph, driver, make_painted_clip, tmp_path):
    longer = open_clip(make_painted_clip(tmp_path / "longer.clip", 2, num_frames=7))
    with pytest.raises(InputError, match="differ in length: driver has 5 frames, longer has 7"):
        synthesize([photograph], driver, model, tmp_path / "out.mp4", OPTIONS, others=[(photograph, longer)])
    with pytest.raises(UsageError, match="that is shown whole"):
        synthesize([photograph], driver, model, tmp_path / "out.mp4", CROP, others=[(photograph, driver)])


def test_a_comparison_is_as_high_as_the_result(model, photograph, driver, tmp_path):
    synthesize([photograph], driver, model, tmp_path / "out.clip", replace(OPTIONS, size=128, compare=True))
    assert frames_of(tmp_path / "out.clip").shape[1:] == (128, 3 * 128, 3)


def test_results_from_before_the_option_size_count_as_finished(model, photograph, driver, tmp_path):
    """The stored parameters of a result of the model's size do not contain the option, as in the past."""
    synthesize([photograph], driver, model, tmp_path / "out.clip", CROP)
    parameters = open_clip(tmp_path / "out.clip").layer("frames").meta["producer"]["parameters"]
    assert not {"size", "paste", "placement"} & parameters.keys()


@pytest.mark.parametrize("size", ["large", 31, 8193, -1])
def test_an_invalid_size_is_refused(size):
    with pytest.raises(UsageError, match="is not a size"):
        SynthesizeOptions(size=size)


def test_parts_and_comparisons_are_not_pasted():
    for options in ({"show": "mask"}, {"compare": True}):
        with pytest.raises(UsageError, match="only the result itself"):
            SynthesizeOptions(paste=True, **options)


def test_no_size_can_be_chosen_for_a_model_without_examples(driver, tmp_path):
    config = Pix2PixHDConfig(size=(64, 64), filters=4, downs=2, blocks=1)
    save_model(tmp_path / "model.safetensors", Pix2PixHD(config).state_dict(), config, {"step": 0})
    with pytest.raises(UsageError, match="can be enlarged or pasted"):
        synthesize([], driver, load_model(tmp_path / "model.safetensors"), tmp_path / "out.mp4", SynthesizeOptions(size=128))


def test_a_body_covers_its_limbs_and_not_the_background_between_them():
    body = np.zeros((67, 3), np.float32)
    places = {0: (50, 10), 1: (50, 25), 2: (40, 25), 5: (60, 25), 8: (50, 60), 9: (45, 60), 12: (55, 60), 11: (25, 110), 14: (75, 110)}
    places |= {10: (35, 85), 13: (65, 85)}
    for joint, place in places.items():
        body[joint] = *place, 1
    mask = np.zeros((128, 100), np.uint8)
    cover = find_kind("poses").cover
    assert cover is not None
    cover(body, mask)
    assert all(mask[y, x] for x, y in places.values()) and mask[45, 50]
    assert not mask[105, 50] and not mask[60, 5]

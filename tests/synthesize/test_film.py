"""--retarget: the person of a film keeps living in it, and makes the driver's expressions."""

from __future__ import annotations

import wave
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fsv2v
from stages.clip import Clip, Producer, VideoWriter, create_clip, open_clip, probe, read_frames
from stages.clip.preview import scale_to_height
from stages.conditions.head import RIGID
from stages.conditions.landmarks import eye_distance
from stages.errors import ParametersDiffer, UsageError
from stages.synthesize import ReportRequest, SynthesizeOptions, synthesize
from stages.synthesize.preview import CELL

OPTIONS = SynthesizeOptions(device="cpu", crop="subject", precision="fp32", retarget=True)
LOST = 2
"""The frame of the film in which nothing is detected."""


def clip_of(path: Path, frames: list[np.ndarray], points: np.ndarray, fps: int = 25, **more: Any) -> Clip:
    """A clip with landmarks [T, 68, 3]."""
    clip = create_clip(path, iter(frames), storage="png", fps=Fraction(fps), **more)
    with clip.writing("landmarks", Producer("painted"), {"frames": clip.frames_digest()}) as layer:
        layer.arrays(points=points[:, None])
    return open_clip(path)


def landmarks_of(clip: Clip) -> np.ndarray:
    return np.asarray(clip.layer("landmarks").arrays()["points"][:, 0])


@pytest.fixture(scope="module")
def film(tmp_path_factory, make_painted_clip) -> Clip:
    """Eight frames of noise with a painted head at (60, 40); nothing is detected in one of them."""
    folder = tmp_path_factory.mktemp("film")
    head = open_clip(make_painted_clip(folder / "head.clip", 0, num_frames=8, size=200))
    frames = [*np.random.default_rng(0).integers(0, 255, (8, 300, 361, 3), np.uint8)]
    for frame, shown in zip(frames, head.frames(), strict=True):
        frame[40:240, 60:260] = shown
    points = landmarks_of(head) + np.array([60, 40, 0], np.float32)
    points[LOST] = 0
    return clip_of(folder / "film.clip", frames, points)


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip) -> Clip:
    """Ten frames at the film's rate."""
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("driver") / "driver.clip", 1, num_frames=10))


def openings(faces: np.ndarray) -> np.ndarray:
    """Of the mouths of faces [T, 68, 3], in eye distances."""
    return np.asarray(np.linalg.norm(faces[:, 66, :2] - faces[:, 62, :2], axis=1) / eye_distance(faces))


def test_a_preview_shows_frames_of_the_film(model, film, driver, tmp_path):
    """The one without a detection as it is, the others with another face."""
    out = tmp_path / "out.png"
    fsv2v.preview(film, driver, out, model=model, retarget=True, device="cpu", crop="subject", precision="fp32")
    sheet, width = np.asarray(Image.open(out)), scale_to_height(film.frame(0), CELL).shape[1]
    rows = slice(sheet.shape[0] // 4 + 22, sheet.shape[0] // 2)
    for index in range(5):
        shown = sheet[rows, (1 + index) * width : (2 + index) * width]
        assert np.array_equal(shown, scale_to_height(film.frame(index), CELL)) == (index == LOST)


def test_a_film_comes_back_and_only_the_face_moves(model, film, driver, tmp_path):
    """To the bit, and in frames without a detection nothing at all."""
    outcome = synthesize([film], driver, model, tmp_path / "out.clip", OPTIONS)
    made = open_clip(tmp_path / "out.clip")
    frames, before = np.stack([*made.frames()]), np.stack([*film.frames()])
    assert outcome.frames == made.num_frames == 8 and frames.shape == before.shape
    moves = (frames != before).any(-1)
    rows, columns = np.flatnonzero(moves.any((0, 2))), np.flatnonzero(moves.any((0, 1)))
    faces = landmarks_of(film)[[index for index in range(8) if index != LOST], :, :2]
    (left, top), (right, bottom), reach = faces.min((0, 1)), faces.max((0, 1)), 40
    assert rows.min() > top - 2 * reach and rows.max() < bottom + reach and columns.min() > left - reach and columns.max() < right + reach
    assert moves.any((1, 2)).tolist() == [index != LOST for index in range(8)]
    assert "film: 1 frames without a detection stay as they are" in outcome.notes


def test_at_strength_0_the_landmarks_are_the_films(model, film, driver, tmp_path):
    synthesize([film], driver, model, tmp_path / "out.clip", replace(OPTIONS, strength=0))
    assert np.abs(landmarks_of(open_clip(tmp_path / "out.clip")) - landmarks_of(film)).max() < 0.01


def test_the_rate_is_the_films_and_the_driver_is_seen_at_its_moments(model, film, driver, tmp_path):
    """A driver of 50 frames per second: each second frame counts. The film's person is still."""
    still = clip_of(tmp_path / "still.clip", [film.frame(0)] * 5, np.repeat(landmarks_of(film)[:1], 5, 0))
    fast = clip_of(tmp_path / "fast.clip", [*driver.frames()], landmarks_of(driver), fps=50)
    every_second = clip_of(tmp_path / "second.clip", [*driver.frames()][::2], landmarks_of(driver)[::2])
    for one in (fast, every_second):
        synthesize([still], one, model, tmp_path / f"{one.id}-out.clip", OPTIONS)
    made, expected = (open_clip(tmp_path / f"{name}-out.clip") for name in ("fast", "second"))
    assert (made.fps, made.num_frames) == (25, 5)
    assert openings(landmarks_of(made)) == pytest.approx(openings(landmarks_of(expected)), abs=0.02)
    assert np.corrcoef(openings(landmarks_of(made)), openings(landmarks_of(every_second)))[0, 1] > 0.95


def test_the_result_ends_with_the_shorter_of_both(model, film, driver, tmp_path):
    short = clip_of(tmp_path / "short.clip", [*driver.frames()][:5], landmarks_of(driver)[:5], fps=50)
    outcome = synthesize([film], short, model, tmp_path / "out.mp4", OPTIONS)
    info = probe(tmp_path / "out.mp4")
    assert (outcome.frames, info.num_frames, info.fps, info.width, info.height) == (3, 3, 25, 360, 300)
    assert "film: the result ends with short, after 3 of 8 frames" in outcome.notes


def test_the_sound_is_the_drivers(model, film, driver, tmp_path):
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(np.random.default_rng(0).integers(-999, 999, 8000, np.int16).tobytes())
    with VideoWriter(tmp_path / "loud.mp4", 64, 64, Fraction(25), audio_from=tmp_path / "sound.wav") as video:
        for _ in range(10):
            video.write(np.zeros((64, 64, 3), np.uint8))
    heard, speaking = (
        clip_of(tmp_path / f"{name}.clip", [*clip.frames()], landmarks_of(clip), audio_from=tmp_path / "loud.mp4")
        for name, clip in (("heard", film), ("speaking", driver))
    )
    silent = synthesize([heard], driver, model, tmp_path / "silent.mp4", OPTIONS)
    spoken = synthesize([heard], speaking, model, tmp_path / "spoken.mp4", OPTIONS)
    assert not probe(tmp_path / "silent.mp4").has_audio and "heard: driver has no sound" in silent.notes
    assert probe(tmp_path / "spoken.mp4").has_audio and "heard: the sound is that of speaking" in spoken.notes


def test_a_film_that_is_retargeted_is_another_result(model, film, driver, tmp_path):
    report = ReportRequest(tmp_path / "out.html")
    assert synthesize([film], driver, model, tmp_path / "out.mp4", OPTIONS, report=report).status == "done"
    assert "8 frames" in report.path.read_text()
    assert synthesize([film], driver, model, tmp_path / "out.mp4", OPTIONS).status == "skipped"
    for other in (replace(OPTIONS, retarget=False), replace(OPTIONS, part="mouth"), replace(OPTIONS, motion="absolute")):
        with pytest.raises(ParametersDiffer):
            synthesize([film], driver, model, tmp_path / "out.mp4", other)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"part": "pose"}, "head pose is that of the film"),
        ({"strength": "pose=0.5"}, "head pose is that of the film"),
        ({"paste": False}, "only the whole result"),
        ({"compare": True}, "only the whole result"),
        ({"show": "mask"}, "only the whole result"),
    ],
)
def test_what_a_film_does_not_have_is_refused(options, reason):
    with pytest.raises(UsageError, match=reason):
        SynthesizeOptions(retarget=True, **options)


def test_what_is_no_film_is_refused(model, film, driver, tmp_path):
    photograph = clip_of(tmp_path / "photograph.clip", [film.frame(0)], landmarks_of(film)[:1])
    for examples, more in (([photograph], {}), ([film, film], {}), ([film], {"start": driver}), ([film], {"others": [(film, driver)]})):
        with pytest.raises(UsageError, match="is not a film|one person with one driver"):
            synthesize(examples, driver, model, tmp_path / "out.mp4", OPTIONS, **more)
    assert not (tmp_path / "out.mp4").exists()


def test_a_real_film_has_the_drivers_mouth_and_its_own_head_pose(shared):
    """Landmarks that are detected in the result. At strength 0 they are those of the film, to the noise of the detector."""
    from stages.extract_sketch.backends.mediapipe import MediapipeFaces
    from weights import registry

    pytest.importorskip("mediapipe")
    faces = shared / "data" / "faces"
    film = np.stack([*read_frames(faces / "video_retalking_3.mp4", 0, 60)])[::5]
    driver = np.stack([*read_frames(faces / "liveportrait_d11.mp4", 60, 120)])[::5]
    detect = MediapipeFaces(str(registry.path("face_landmarker.task")), "image")

    def landmarks(frames: np.ndarray) -> np.ndarray:
        return np.stack([detect(frame)[0].points[:68] for frame in frames])

    def made(strength: float) -> np.ndarray:
        result = fsv2v.synthesize(film, driver, retarget=True, strength=strength, backend="mediapipe", device="cpu")
        return landmarks(np.stack([*result]))

    theirs, own = landmarks(driver), landmarks(film)
    still, moved = made(0), made(1)
    error = np.linalg.norm(still[..., :2] - own[..., :2], axis=-1).mean() / eye_distance(own).mean()
    assert error < 0.01
    assert np.corrcoef(openings(moved), openings(theirs))[0, 1] > 0.8 > np.corrcoef(openings(own), openings(theirs))[0, 1]
    skull, kept = own[:, RIGID, :2], moved[:, RIGID, :2]
    assert np.linalg.norm(kept - skull, axis=-1).mean() < 0.03 * eye_distance(own).mean()
    assert np.ptp(skull, axis=0).max() > 0.3 * eye_distance(own).mean(), "the head of the film moves"

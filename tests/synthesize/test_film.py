"""--retarget: the person in a film gets the driver's expressions, and everything else in the film stays as it is."""

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
UNDETECTED = 2
"""The frame of the film without a detection."""


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
    """Eight frames of noise with a painted head at (60, 40); frame UNDETECTED has no landmarks."""
    folder = tmp_path_factory.mktemp("film")
    head = open_clip(make_painted_clip(folder / "head.clip", 0, num_frames=8, size=200))
    frames = [*np.random.default_rng(0).integers(0, 255, (8, 300, 361, 3), np.uint8)]
    for frame, shown in zip(frames, head.frames(), strict=True):
        frame[40:240, 60:260] = shown
    points = landmarks_of(head) + np.array([60, 40, 0], np.float32)
    points[UNDETECTED] = 0
    return clip_of(folder / "film.clip", frames, points)


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip) -> Clip:
    """A painted head in ten frames, with the frame rate of the film."""
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("driver") / "driver.clip", 1, num_frames=10))


def mouth_openings(faces: np.ndarray) -> np.ndarray:
    """The openings [T] of the mouths of faces [T, 68, 3], in eye distances."""
    return np.asarray(np.linalg.norm(faces[:, 66, :2] - faces[:, 62, :2], axis=1) / eye_distance(faces))


def test_a_preview_of_a_film_changes_the_face_in_all_frames_with_a_detection(model, film, driver, tmp_path):
    out = tmp_path / "out.png"
    fsv2v.preview(film, driver, out, model=model, retarget=True, device="cpu", crop="subject", precision="fp32")
    sheet, width = np.asarray(Image.open(out)), scale_to_height(film.frame(0), CELL).shape[1]
    rows = slice(sheet.shape[0] // 4 + 22, sheet.shape[0] // 2)
    for index in range(5):
        shown = sheet[rows, (1 + index) * width : (2 + index) * width]
        assert np.array_equal(shown, scale_to_height(film.frame(index), CELL)) == (index == UNDETECTED)


def test_only_the_face_of_a_film_changes(model, film, driver, tmp_path):
    """All other pixels equal those of the film exactly. Frames without a detection do not change at all."""
    outcome = synthesize([film], driver, model, tmp_path / "out.clip", OPTIONS)
    result = open_clip(tmp_path / "out.clip")
    frames, before = np.stack([*result.frames()]), np.stack([*film.frames()])
    assert outcome.frames == result.num_frames == 8 and frames.shape == before.shape
    changed = (frames != before).any(-1)
    rows, columns = np.flatnonzero(changed.any((0, 2))), np.flatnonzero(changed.any((0, 1)))
    faces = landmarks_of(film)[[index for index in range(8) if index != UNDETECTED], :, :2]
    (left, top), (right, bottom), margin = faces.min((0, 1)), faces.max((0, 1)), 40
    assert (
        rows.min() > top - 2 * margin and rows.max() < bottom + margin and columns.min() > left - margin and columns.max() < right + margin
    )
    assert changed.any((1, 2)).tolist() == [index != UNDETECTED for index in range(8)]
    assert "film: 1 frames without a detection stay as they are" in outcome.notes


def test_strength_0_keeps_the_landmarks_of_the_film(model, film, driver, tmp_path):
    synthesize([film], driver, model, tmp_path / "out.clip", replace(OPTIONS, strength=0))
    assert np.abs(landmarks_of(open_clip(tmp_path / "out.clip")) - landmarks_of(film)).max() < 0.01


def test_the_result_has_the_rate_of_the_film_and_the_driver_is_sampled_at_its_times(model, film, driver, tmp_path):
    """Of a driver with 50 frames per second, every second frame is used. The person in the film does not move."""
    still = clip_of(tmp_path / "still.clip", [film.frame(0)] * 5, np.repeat(landmarks_of(film)[:1], 5, 0))
    fast = clip_of(tmp_path / "fast.clip", [*driver.frames()], landmarks_of(driver), fps=50)
    every_second = clip_of(tmp_path / "second.clip", [*driver.frames()][::2], landmarks_of(driver)[::2])
    for one in (fast, every_second):
        synthesize([still], one, model, tmp_path / f"{one.id}-out.clip", OPTIONS)
    result, expected = (open_clip(tmp_path / f"{name}-out.clip") for name in ("fast", "second"))
    assert (result.fps, result.num_frames) == (25, 5)
    assert mouth_openings(landmarks_of(result)) == pytest.approx(mouth_openings(landmarks_of(expected)), abs=0.02)
    assert np.corrcoef(mouth_openings(landmarks_of(result)), mouth_openings(landmarks_of(every_second)))[0, 1] > 0.95


def test_the_result_ends_with_the_shorter_of_film_and_driver(model, film, driver, tmp_path):
    short = clip_of(tmp_path / "short.clip", [*driver.frames()][:5], landmarks_of(driver)[:5], fps=50)
    outcome = synthesize([film], short, model, tmp_path / "out.mp4", OPTIONS)
    info = probe(tmp_path / "out.mp4")
    assert (outcome.frames, info.num_frames, info.fps, info.width, info.height) == (3, 3, 25, 360, 300)
    assert "film: the result ends with short, after 3 of 8 frames" in outcome.notes


def test_the_sound_is_that_of_the_driver(model, film, driver, tmp_path):
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(np.random.default_rng(0).integers(-999, 999, 8000, np.int16).tobytes())
    with VideoWriter(tmp_path / "loud.mp4", 64, 64, Fraction(25), audio_from=tmp_path / "sound.wav") as video:
        for _ in range(10):
            video.write(np.zeros((64, 64, 3), np.uint8))
    film_with_sound, driver_with_sound = (
        clip_of(tmp_path / f"{name}.clip", [*clip.frames()], landmarks_of(clip), audio_from=tmp_path / "loud.mp4")
        for name, clip in (("loud-film", film), ("loud-driver", driver))
    )
    silent = synthesize([film_with_sound], driver, model, tmp_path / "silent.mp4", OPTIONS)
    with_sound = synthesize([film_with_sound], driver_with_sound, model, tmp_path / "with-sound.mp4", OPTIONS)
    assert not probe(tmp_path / "silent.mp4").has_audio and "loud-film: driver has no sound" in silent.notes
    assert probe(tmp_path / "with-sound.mp4").has_audio and "loud-film: the sound is that of loud-driver" in with_sound.notes


def test_a_finished_film_is_skipped_and_other_options_are_refused(model, film, driver, tmp_path):
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
def test_options_that_do_not_apply_to_a_film_are_refused(options, reason):
    with pytest.raises(UsageError, match=reason):
        SynthesizeOptions(retarget=True, **options)


def test_examples_that_are_not_one_film_are_refused(model, film, driver, tmp_path):
    photograph = clip_of(tmp_path / "photograph.clip", [film.frame(0)], landmarks_of(film)[:1])
    for examples, more in (([photograph], {}), ([film, film], {}), ([film], {"start": driver}), ([film], {"others": [(film, driver)]})):
        with pytest.raises(UsageError, match="is not a film|one person with one driver"):
            synthesize(examples, driver, model, tmp_path / "out.mp4", OPTIONS, **more)
    assert not (tmp_path / "out.mp4").exists()


def test_a_real_film_gets_the_mouth_of_the_driver_and_keeps_its_head_pose(shared):
    """By the landmarks that are detected in the result. At strength 0 they are those of the film, up to the noise of the detector."""
    from stages.extract_sketch.backends.mediapipe import MediapipeFaces
    from weights import registry

    pytest.importorskip("mediapipe")
    faces = shared / "data" / "faces"
    film = np.stack([*read_frames(faces / "video_retalking_3.mp4", 0, 60)])[::5]
    driver = np.stack([*read_frames(faces / "liveportrait_d11.mp4", 60, 120)])[::5]
    detect = MediapipeFaces(str(registry.path("face_landmarker.task")), "image")

    def landmarks(frames: np.ndarray) -> np.ndarray:
        return np.stack([detect(frame)[0].points[:68] for frame in frames])

    def landmarks_at_strength(strength: float) -> np.ndarray:
        frames = fsv2v.synthesize(film, driver, retarget=True, strength=strength, backend="mediapipe", device="cpu")
        return landmarks(np.stack([*frames]))

    of_driver, of_film = landmarks(driver), landmarks(film)
    still, moved = landmarks_at_strength(0), landmarks_at_strength(1)
    error = np.linalg.norm(still[..., :2] - of_film[..., :2], axis=-1).mean() / eye_distance(of_film).mean()
    assert error < 0.01
    assert (
        np.corrcoef(mouth_openings(moved), mouth_openings(of_driver))[0, 1]
        > 0.8
        > np.corrcoef(mouth_openings(of_film), mouth_openings(of_driver))[0, 1]
    )
    expected, actual = of_film[:, RIGID, :2], moved[:, RIGID, :2]
    assert np.linalg.norm(actual - expected, axis=-1).mean() < 0.03 * eye_distance(of_film).mean()
    assert np.ptp(expected, axis=0).max() > 0.3 * eye_distance(of_film).mean(), "the head in the film moves"

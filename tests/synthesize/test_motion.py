"""--strength, --part and --motion: the strength of the driver's motion in a result, for the face and its parts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fsv2v
from stages.clip import Clip, Producer, create_clip, open_clip, read_frames
from stages.clip.comments import read_comment
from stages.errors import ParametersDiffer, UsageError
from stages.io.reading import parse_object
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator
from stages.synthesize import SynthesizeOptions, synthesize

TINY = PRESETS["tiny"]
PLAIN = SynthesizeOptions(device="cpu", crop="none", normalize="on", num_examples=1)
LIPS, LIDS_AND_BROWS = slice(48, 68), [*range(17, 27), *range(36, 48)]


@pytest.fixture(scope="module")
def person(tmp_path_factory, make_painted_clip) -> Clip:
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "person.clip", 0, num_frames=4))


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip) -> Clip:
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "driver.clip", 1, num_frames=10))


def driving_landmarks(path: Path) -> np.ndarray:
    """The driving landmarks [T, 68, 3] that a result clip stores."""
    return np.asarray(open_clip(path).layer("landmarks").arrays()["points"][:, 0])


def test_strength_1_gives_the_same_bytes_and_key_as_no_option(model, person, driver, tmp_path):
    synthesize([person], driver, model, tmp_path / "a.mp4", PLAIN)
    before, key = (tmp_path / "a.mp4").read_bytes(), parse_object(read_comment(tmp_path / "a.mp4") or "")
    assert not {"strength", "part", "motion"} & set(key["parameters"])
    for same in ({"strength": 1}, {"strength": "mouth=1,pose=1"}, {"part": "all"}, {"motion": "absolute"}):
        assert synthesize([person], driver, model, tmp_path / "a.mp4", replace(PLAIN, **same)).status == "skipped"
        assert synthesize([person], driver, model, tmp_path / "a.mp4", replace(PLAIN, **same), overwrite=True).status == "done"
        assert (tmp_path / "a.mp4").read_bytes() == before


def test_another_strength_is_another_result_and_equal_settings_are_the_same(model, person, driver, tmp_path):
    half = replace(PLAIN, strength="expression=0,gaze=0")
    synthesize([person], driver, model, tmp_path / "a.clip", half)
    assert synthesize([person], driver, model, tmp_path / "a.clip", replace(PLAIN, part="pose")).status == "skipped"
    for other in (PLAIN, replace(PLAIN, strength=0.5), replace(half, motion="relative")):
        with pytest.raises(ParametersDiffer, match="strength|motion"):
            synthesize([person], driver, model, tmp_path / "a.clip", other)


def test_at_strength_0_every_frame_has_the_landmarks_of_the_example(model, person, driver, tmp_path):
    synthesize([person], driver, model, tmp_path / "a.clip", replace(PLAIN, strength=0))
    example = person.layer("landmarks").arrays()["points"][0, 0]
    assert np.abs(driving_landmarks(tmp_path / "a.clip") - example).max() < 1e-3
    synthesize([person], driver, model, tmp_path / "b.clip", PLAIN)
    assert np.abs(driving_landmarks(tmp_path / "b.clip") - example).max() > 2


def test_with_part_mouth_only_the_mouth_moves(model, person, driver, tmp_path):
    synthesize([person], driver, model, tmp_path / "a.clip", replace(PLAIN, part="mouth"))
    points = driving_landmarks(tmp_path / "a.clip")
    assert np.ptp(points[:, LIDS_AND_BROWS], axis=0).max() < 1e-3 < 0.5 < np.ptp(points[:, LIPS], axis=0).max()


def test_without_fitting_motion_still_starts_from_the_example(model, person, driver, tmp_path):
    synthesize([person], driver, model, tmp_path / "a.clip", replace(PLAIN, normalize="off", strength=0))
    example = person.layer("landmarks").arrays()["points"][0, 0]
    assert np.abs(driving_landmarks(tmp_path / "a.clip") - example).max() < 1e-3


def test_a_first_frame_that_differs_from_the_others_causes_a_note(model, person, driver, tmp_path):
    points = driver.layer("landmarks").arrays()["points"].copy()
    points[0, 0, LIPS, 1] += 15
    far = create_clip(tmp_path / "far.clip", driver.frames(), storage="png")
    with far.writing("landmarks", Producer("painted"), {"frames": far.frames_digest()}) as layer:
        layer.arrays(points=points)
    outcome = synthesize([person], open_clip(far.path), model, tmp_path / "a.mp4", replace(PLAIN, motion="relative"))
    (note,) = (text for text in outcome.notes if "first driving frame" in text)
    assert note.startswith("far: ") and "another expression" in note and "Motion is measured from frame" in note
    for name, options in (("b.mp4", PLAIN), ("c.mp4", replace(PLAIN, part="mouth"))):  # options that need no reference frame
        notes = synthesize([person], open_clip(far.path), model, tmp_path / name, options).notes
        assert not any("first driving frame" in text for text in notes)


@pytest.mark.parametrize("options", [{"strength": 0.5}, {"part": "mouth"}, {"motion": "relative"}])
@pytest.mark.parametrize("kind", ["poses", "segment"])
def test_only_faces_have_parts_and_strengths(model, person, driver, tmp_path, kind, options):
    other = replace(model, generator=FewShotGenerator(replace(TINY, kind=kind, semantic_channels=3)).eval())
    with pytest.raises(UsageError, match="only the motion of faces"):
        synthesize([person], driver, other, tmp_path / "a.mp4", replace(PLAIN, normalize="auto", **options))
    with pytest.raises(UsageError, match="only the motion of faces"):  # before anything is extracted
        next(
            iter(
                fsv2v.synthesize(np.zeros((64, 64, 3), np.uint8), np.zeros((2, 64, 64, 3), np.uint8), model=other, device="cpu", **options)
            )
        )


def test_an_unknown_kind_of_motion_is_refused():
    motion: Any = "sideways"
    with pytest.raises(UsageError, match="'sideways' is not a kind of motion"):
        SynthesizeOptions(motion=motion)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--strength", "nose=1"], "'nose' is no part of a face that moves. There are expression, mouth, eyes, gaze, pose"),
        (["--part", "mouth", "--strength", "pose=0.5"], "pose has a strength, but only mouth follows the driver"),
        (["--motion", "sideways"], "'sideways' is not one of"),
    ],
)
def test_contradictory_or_unknown_options_are_refused_in_a_sentence(fsv2v, model, person, driver, tmp_path, options, sentence):
    out = tmp_path / "o.mp4"
    done = fsv2v("synthesize", "--examples", person.path, "--driving", driver.path, "--model", model.path, "-o", out, *options)
    assert done.exit_code == 2 and sentence in " ".join(done.stderr.split()) and "Traceback" not in done.stderr
    assert not out.exists()


def test_a_real_face_at_strength_0_has_the_expression_of_the_example(shared):
    """The landmarks differ from those of the example by less than detection noise; those at strength 1 differ much more."""
    from stages.conditions.framing import examples_of
    from stages.conditions.landmarks import eye_distance
    from stages.extract_sketch.backends.mediapipe import MediapipeFaces
    from weights import registry

    pytest.importorskip("mediapipe")
    (image,) = read_frames(shared / "data" / "faces" / "liveportrait_s20.mp4", 0, 1)
    frames = np.stack([*read_frames(shared / "data" / "faces" / "liveportrait_d18.mp4", 100, 102)])
    detect = MediapipeFaces(str(registry.path("face_landmarker.task")), "image")

    def landmarks(frame: np.ndarray) -> np.ndarray:
        return detect(frame)[0].points[:68, :2]

    with fsv2v.sources.temporary_clips(fsv2v.Reporter()) as temporary:
        (clip,) = fsv2v.sources.examples_with_layer([image], "landmarks", temporary, device="cpu", backend="mediapipe")
        (sample,) = (example.sample for example in examples_of(clip, "landmarks+iris", (256, 256), "auto", 1))
    expected = landmarks(sample.required_image)

    def error(points: np.ndarray) -> float:
        """Root mean square distance in eye distances."""
        return float(np.sqrt(np.square(points[:68, :2] - expected).sum(1).mean()) / eye_distance(expected))

    noise = error(sample.keypoints)
    still, full = ([*fsv2v.synthesize(image, frames, strength=s, size="model", device="cpu", backend="mediapipe")] for s in (0, 1))
    assert max(error(landmarks(frame)) for frame in still) < noise < 0.02
    assert min(error(landmarks(frame)) for frame in full) > 5 * noise

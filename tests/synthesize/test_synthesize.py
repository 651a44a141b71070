"""synthesize: example images and a driving clip give a video with the length and rate of the driving clip."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.clip import VideoWriter, create_clip, open_clip, probe, read_frames
from stages.clip.comments import read_comment
from stages.conditions.poses import draw_pose
from stages.errors import InputError, MissingRequirement, NoDetection, ParametersDiffer, UsageError
from stages.models import load_model, save_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator
from stages.synthesize import Rendering, SynthesizeOptions, choose_placement, decide, rendering, synthesize
from stages.synthesize.driving import Driving

TINY = PRESETS["tiny"]
OPTIONS = SynthesizeOptions(device="cpu", crop="none", normalize="off")


@pytest.fixture(scope="module")
def person(tmp_path_factory, make_painted_clip):
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "person.clip", 0))


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip):
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "driver.clip", 1, num_frames=10))


def test_a_video_has_the_size_of_the_model_and_the_length_and_rate_of_the_driver(model, person, driver, tmp_path):
    outcome = synthesize([person], driver, model, tmp_path / "out.mp4", OPTIONS)
    info = probe(tmp_path / "out.mp4")
    assert (outcome.status, outcome.frames) == ("done", 10)
    assert (info.width, info.height, info.num_frames, info.fps) == (64, 64, 10, Fraction(25))


def test_a_result_clip_keeps_the_driving_landmarks(model, person, driver, tmp_path):
    synthesize([person], driver, model, tmp_path / "out.clip", OPTIONS)
    result = open_clip(tmp_path / "out.clip")
    assert result.layers() == ["frames", "landmarks"] and result.num_frames == 10
    assert np.allclose(result.layer("landmarks").arrays()["points"], driver.layer("landmarks").arrays()["points"], atol=1e-3)


def test_a_second_run_is_skipped_and_other_parameters_are_refused(model, person, driver, tmp_path):
    for name in ("out.mp4", "out.clip"):
        synthesize([person], driver, model, tmp_path / name, OPTIONS)
        assert synthesize([person], driver, model, tmp_path / name, OPTIONS).status == "skipped"
        with pytest.raises(ParametersDiffer):
            synthesize([person], driver, model, tmp_path / name, replace(OPTIONS, compare=True))
        assert synthesize([person], driver, model, tmp_path / name, replace(OPTIONS, compare=True), overwrite=True).status == "done"


@pytest.mark.parametrize("name", ["out.mp4", "out.clip"])
def test_a_second_process_that_writes_the_same_result_is_refused(model, person, driver, tmp_path, name):
    def start_second(done, total):
        with pytest.raises(UsageError, match="is being made by another process"):
            synthesize([person], driver, model, tmp_path / name, replace(OPTIONS, compare=True))

    assert synthesize([person], driver, model, tmp_path / name, OPTIONS, progress=start_second).status == "done"
    assert synthesize([person], driver, model, tmp_path / name, OPTIONS).status == "skipped"


def test_two_runs_give_the_same_bytes(model, person, driver, tmp_path):
    for name in ("a", "b"):
        synthesize([person], driver, model, tmp_path / f"{name}.mp4", OPTIONS)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("options", [OPTIONS, replace(OPTIONS, size=96), replace(OPTIONS, show="warp")])
def test_the_thread_of_the_network_changes_no_pixel(model, person, driver, monkeypatch, options):
    def frames():
        fitting, placement = decide("off", model.config.kind, [person], driver), choose_placement([person], model, options)
        return np.stack([*Rendering([person], driver, model, options, fitting, placement=placement).frames()])

    in_thread = frames()
    monkeypatch.setattr(rendering, "map_in_thread", lambda function, items: ((item, function(item)) for item in items))
    assert (in_thread == frames()).all()


def test_only_one_driving_frame_is_drawn_ahead(model, person, driver, monkeypatch):
    drawn, driving_frames = [], Driving.driving_frames
    monkeypatch.setattr(Driving, "driving_frames", lambda self: (drawn.append(frame) or frame for frame in driving_frames(self)))
    fitting = decide("off", model.config.kind, [person], driver)
    for number, _ in enumerate(Rendering([person], driver, model, OPTIONS, fitting).frames(), 1):
        assert len(drawn) <= number + 1
    assert len(drawn) == number == 10


def test_a_result_has_a_note_that_it_is_synthetic_unless_it_is_turned_off(model, person, driver, tmp_path):
    out = tmp_path / "out.mp4"
    synthesize([person], driver, model, out, OPTIONS)
    assert b"digitalsourcetype/trainedAlgorithmicMedia" in out.read_bytes()
    with pytest.raises(ParametersDiffer, match="note"):
        synthesize([person], driver, model, out, replace(OPTIONS, note=False))
    synthesize([person], driver, model, out, replace(OPTIONS, note=False), overwrite=True)
    assert b"digitalsourcetype" not in out.read_bytes()
    assert synthesize([person], driver, model, out, replace(OPTIONS, note=False)).status == "skipped"


def test_an_older_result_without_a_note_counts_as_finished(model, person, driver, tmp_path):
    new, old = tmp_path / "new.mp4", tmp_path / "old.mp4"
    synthesize([person], driver, model, new, OPTIONS)
    with VideoWriter(old, 64, 64, driver.fps, comment=read_comment(new) or "") as video:
        for frame in read_frames(new):
            video.write(frame)
    assert synthesize([person], driver, model, old, OPTIONS).status == "skipped"


def test_compare_shows_driver_sketch_and_result_side_by_side(model, person, driver, tmp_path):
    synthesize([person], driver, model, tmp_path / "out.mp4", replace(OPTIONS, compare=True))
    frame = next(read_frames(tmp_path / "out.mp4", 0, 1))
    assert frame.shape == (64, 192, 3)
    assert np.abs(frame[:, :64].astype(int) - driver.frame(0)).mean() < 12


def test_a_comparison_clip_has_no_driving_layer(model, person, driver, tmp_path):
    for _ in range(2):
        outcome = synthesize([person], driver, model, tmp_path / "out.clip", replace(OPTIONS, compare=True))
    assert outcome.status == "skipped" and open_clip(tmp_path / "out.clip").layers() == ["frames"]


@pytest.mark.parametrize("select", [0, -1, "dellaunay"])
def test_an_invalid_selection_is_refused(select):
    with pytest.raises(UsageError, match="is not a selection of examples"):
        SynthesizeOptions(select=select)


def test_show_writes_parts_of_the_synthesis_instead_of_the_result(model, person, driver, tmp_path):
    videos = {}
    for show in ("result", "warp", "mask", "raw"):
        synthesize([person], driver, model, tmp_path / f"{show}.clip", replace(OPTIONS, show=show, precision="fp32", num_examples=1))
        videos[show] = np.stack([*open_clip(tmp_path / f"{show}.clip").frames()]).astype(float)
    mask = videos["mask"] / 255
    assert (np.ptp(mask, -1) == 0).all() and 0 < mask.mean() < 1
    matted = mask * videos["raw"] + (1 - mask) * videos["warp"]
    assert np.abs(matted[0] - videos["result"][0]).max() < 3  # eq. 11: the first frame has no previous one
    assert np.abs(matted[1:] - videos["result"][1:]).max() > 3


def test_a_model_without_warping_cannot_show_a_warp(person, driver, tmp_path):
    config = replace(TINY, warp_example=False)
    save_model(tmp_path / "still.safetensors", FewShotGenerator(config).state_dict(), config, {"step": 0})
    with pytest.raises(UsageError, match="does not make the image warp"):
        synthesize([person], driver, load_model(tmp_path / "still.safetensors"), tmp_path / "out.clip", replace(OPTIONS, show="warp"))
    assert not (tmp_path / "out.clip").exists()


def test_the_result_depends_on_all_examples(model, person, driver, tmp_path):
    synthesize([person], driver, model, tmp_path / "one.clip", replace(OPTIONS, num_examples=1))
    synthesize([person, driver], driver, model, tmp_path / "many.clip", replace(OPTIONS, num_examples=3))
    one, many = (open_clip(tmp_path / f"{name}.clip").frame(3) for name in ("one", "many"))
    assert not np.array_equal(one, many)


def test_a_driving_frame_without_a_face_repeats_the_last_detection(model, person, driver, tmp_path):
    points = driver.layer("landmarks").arrays()["points"]
    points[[0, 4, 5]] = 0
    gap = create_clip(tmp_path / "gap.clip", width=64, height=64, num_frames=10)
    with gap.writing("landmarks", driver_producer(), {}) as layer:
        layer.arrays(points=points)
    outcome = synthesize([person], gap, model, tmp_path / "out.clip", OPTIONS)
    kept = open_clip(tmp_path / "out.clip").layer("landmarks").arrays()["points"]
    assert outcome.held_frames == 3
    assert np.array_equal(kept[4], kept[3]) and np.array_equal(kept[0], kept[1])


def test_an_example_or_driver_without_a_face_is_an_error(model, person, driver, tmp_path):
    empty = create_clip(tmp_path / "empty.clip", iter(np.zeros((3, 64, 64, 3), np.uint8)))
    with empty.writing("landmarks", driver_producer(), {}) as layer:
        layer.arrays(points=np.zeros((3, 1, 68, 3), np.float32))
    with pytest.raises(NoDetection, match="example"):
        synthesize([empty], driver, model, tmp_path / "a.mp4", OPTIONS)
    with pytest.raises(NoDetection, match="driving"):
        synthesize([person], empty, model, tmp_path / "b.mp4", OPTIONS)
    assert synthesize([empty, person], driver, model, tmp_path / "c.mp4", OPTIONS).status == "done"
    assert sorted(path.name for path in tmp_path.glob("*.mp4")) == ["c.mp4"]


def test_an_interrupted_synthesis_leaves_no_output(model, person, driver, tmp_path, leftovers):
    def fail(done, total):
        if done == 5:
            raise KeyboardInterrupt

    for name in ("out.mp4", "out.clip"):
        with pytest.raises(KeyboardInterrupt):
            synthesize([person], driver, model, tmp_path / name, OPTIONS, progress=fail)
    assert list(tmp_path.iterdir()) == [] and leftovers(tmp_path) == []


def test_files_that_are_not_models_are_refused(tmp_path, person, driver):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="not of an fsv2v model"):
        load_model(tmp_path / "other.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(InputError, match="not a readable model"):
        load_model(tmp_path / "cut.safetensors")
    with pytest.raises(MissingRequirement, match="is not there"):
        load_model(tmp_path / "none.safetensors")
    save_model(tmp_path / "misfit.safetensors", {"x": torch.zeros(2)}, TINY, {})
    with pytest.raises(InputError, match="does not fit"):
        load_model(tmp_path / "misfit.safetensors")


def body(height: float, x: float, ground: float) -> np.ndarray:
    """Keypoints [25, 3] of an upright person of `height` pixels."""
    shape = {0: (0, 0), 1: (0, 15), 2: (-10, 15), 3: (-15, 30), 4: (-15, 45), 5: (10, 15), 6: (15, 30), 7: (15, 45), 8: (0, 45)}
    shape |= {9: (-7, 45), 10: (-7, 70), 11: (-7, 95), 12: (7, 45), 13: (7, 70), 14: (7, 95), 21: (6, 100), 24: (-6, 100)}
    person = np.zeros((25, 3), np.float32)
    for index, (right, down) in shape.items():
        person[index] = x + height * right / 100, ground - height * (1 - down / 100), 1
    return person


def write_poses(clip, bodies):
    """Write the layer `poses` with a body [25, 3] for each frame."""
    with clip.writing("poses", driver_producer(), {}) as layer:
        count = clip.num_frames
        boxes = np.tile(np.array([0, 0, 9, 9], np.float32), (count, 1, 1))
        layer.arrays(keypoints=np.stack(bodies)[:, None], boxes=boxes, track_id=np.zeros((count, 1), np.int32))


def test_a_taller_driver_off_centre_is_fitted_to_the_example(model, person, driver, tmp_path):
    standing = body(28, 20, 50)
    write_poses(person, [standing] * person.num_frames)
    write_poses(driver, [body(56, 45 + 0.1 * t, 62) for t in range(driver.num_frames)])
    track = Driving(driver, "poses", (64, 64), "none")
    track.fit_to([standing])
    expected = draw_pose(standing[None], 64, 64)
    for drawing in track.drawings():
        differs = np.abs(drawing.astype(int) - expected).max(-1) > 60
        assert differs.sum() < 0.15 * expected.any(-1).sum()

    body_model = replace(model, generator=FewShotGenerator(replace(TINY, kind="poses", semantic_channels=3)).eval())
    assert synthesize([person], driver, body_model, tmp_path / "a.mp4", replace(OPTIONS, normalize="on")).status == "done"


def test_a_result_clip_keeps_the_driving_poses(model, person, driver, tmp_path):
    write_poses(person, [body(28, 20, 50)] * person.num_frames)
    write_poses(driver, [body(56, 45, 62)] * driver.num_frames)
    body_model = replace(model, generator=FewShotGenerator(replace(TINY, kind="poses", semantic_channels=3)).eval())
    synthesize([person], driver, body_model, tmp_path / "out.clip", OPTIONS)
    kept, driving = (clip.layer("poses").arrays() for clip in (open_clip(tmp_path / "out.clip"), driver))
    assert np.allclose(kept["keypoints"], driving["keypoints"], atol=1e-3)
    visible = kept["keypoints"][0, 0][kept["keypoints"][0, 0, :, 2] > 0, :2]
    assert np.allclose(kept["boxes"][0, 0], [*visible.min(0), *visible.max(0)])
    assert synthesize([person], driver, body_model, tmp_path / "out.clip", OPTIONS).status == "skipped"


def test_the_driving_person_who_is_in_most_frames_is_used(driver):
    count = driver.num_frames
    people = np.zeros((count, 2, 25, 3), np.float32)
    people[:2, 0], people[:, 1] = body(30, 12, 60), body(30, 45, 60)
    with driver.writing("poses", driver_producer(), {}) as layer:
        layer.arrays(keypoints=people, boxes=np.zeros((count, 2, 4), np.float32), track_id=np.tile([[0, 1]], (count, 1)).astype(np.int32))
    track = Driving(driver, "poses", (64, 64), "none")
    assert track.held == 0
    for drawing in track.drawings():
        assert drawing[:, 35:].any() and not drawing[:, :25].any()


def test_another_densepose_of_the_driver_is_refused_without_overwrite(model, person, driver, tmp_path):
    densepose_model = replace(model, generator=FewShotGenerator(replace(TINY, kind="poses+densepose", semantic_channels=6)).eval())

    def write_densepose(clip, part):
        with clip.writing("densepose", driver_producer(), {"part": part}) as layer:
            for _ in range(clip.num_frames):
                layer.image(np.full((clip.height, clip.width, 3), part, np.uint8))

    for clip in (person, driver):
        write_poses(clip, [body(28, 20, 50)] * clip.num_frames)
        write_densepose(clip, 3)
    assert synthesize([person], driver, densepose_model, tmp_path / "a.mp4", replace(OPTIONS, normalize="auto")).status == "done"
    write_densepose(driver, 9)
    with pytest.raises(ParametersDiffer, match="driving:"):
        synthesize([person], driver, densepose_model, tmp_path / "a.mp4", replace(OPTIONS, normalize="auto"))


def test_label_maps_are_not_normalized(model, person, driver, tmp_path):
    street_model = replace(model, generator=FewShotGenerator(replace(TINY, kind="segment", semantic_channels=3)).eval())
    for clip in (person, driver):
        table = {"names": ["a", "b", "c"], "palette": [[0, 0, 0], [9, 9, 9], [99, 9, 9]]}
        with clip.writing("segment", driver_producer(), {}, table) as layer:
            for _ in range(clip.num_frames):
                layer.image(np.ones((clip.height, clip.width), np.uint8))
    with pytest.raises(UsageError, match="cannot be normalized"):
        synthesize([person], driver, street_model, tmp_path / "a.mp4", replace(OPTIONS, normalize="on"))
    assert synthesize([person], driver, street_model, tmp_path / "b.mp4", replace(OPTIONS, normalize="auto")).status == "done"


def test_the_command_prints_the_path_or_one_json_object(model, person, driver, tmp_path, fsv2v):
    command = ["synthesize", "--examples", person.path, "--driving", driver.path, "--model", model.path, "--device", "cpu"]
    assert fsv2v(*command, "-o", "plain.mp4", cwd=tmp_path).lines == ["plain.mp4"]
    record = json.loads(fsv2v(*command, "-o", "plain.mp4", "--json", cwd=tmp_path).stdout)
    assert (record["clip"], record["status"], record["frames"]) == ("plain.mp4", "skipped", 10)
    refused = fsv2v(*command, "-o", "notes.txt", cwd=tmp_path)
    assert refused.exit_code == 2 and "neither a video nor a clip" in refused.stderr


def driver_producer():
    from stages.clip import Producer

    return Producer("test")


def test_the_folder_of_a_layer_stands_for_its_clip(model, person, driver, tmp_path, fsv2v):
    driving = Path(driver.path) / "landmarks"
    done = fsv2v("synthesize", "--examples", person.path, "--driving", driving, "--model", model.path, "-o", tmp_path / "a.mp4")
    assert done.exit_code == 0 and probe(tmp_path / "a.mp4").num_frames == 10

"""synthesize: pictures and a driving clip become a video of the same length, rate and sound, once."""

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
OFF = SynthesizeOptions(device="cpu", crop="none", normalize="off")


@pytest.fixture(scope="module")
def person(tmp_path_factory, make_painted_clip):
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "person.clip", 0))


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip):
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "driver.clip", 1, num_frames=10))


def test_a_video_has_the_models_size_and_the_drivers_length_and_rate(model, person, driver, tmp_path):
    outcome = synthesize([person], driver, model, tmp_path / "out.mp4", OFF)
    info = probe(tmp_path / "out.mp4")
    assert (outcome.status, outcome.frames) == ("done", 10)
    assert (info.width, info.height, info.num_frames, info.fps) == (64, 64, 10, Fraction(25))


def test_a_clip_keeps_the_frames_losslessly_and_the_landmarks_that_it_was_asked_to_show(model, person, driver, tmp_path):
    synthesize([person], driver, model, tmp_path / "out.clip", OFF)
    made = open_clip(tmp_path / "out.clip")
    assert made.layers() == ["frames", "landmarks"] and made.num_frames == 10
    assert np.allclose(made.layer("landmarks").arrays()["points"], driver.layer("landmarks").arrays()["points"], atol=1e-3)


def test_the_same_again_is_skipped_and_anything_else_is_refused(model, person, driver, tmp_path):
    for name in ("out.mp4", "out.clip"):
        synthesize([person], driver, model, tmp_path / name, OFF)
        assert synthesize([person], driver, model, tmp_path / name, OFF).status == "skipped"
        with pytest.raises(ParametersDiffer):
            synthesize([person], driver, model, tmp_path / name, replace(OFF, compare=True))
        assert synthesize([person], driver, model, tmp_path / name, replace(OFF, compare=True), overwrite=True).status == "done"


@pytest.mark.parametrize("name", ["out.mp4", "out.clip"])
def test_of_two_that_make_one_result_the_second_is_refused(model, person, driver, tmp_path, name):
    def meanwhile(done, total):
        with pytest.raises(UsageError, match="is being made by another process"):
            synthesize([person], driver, model, tmp_path / name, replace(OFF, compare=True))

    assert synthesize([person], driver, model, tmp_path / name, OFF, progress=meanwhile).status == "done"
    assert synthesize([person], driver, model, tmp_path / name, OFF).status == "skipped"


def test_two_runs_give_the_same_bytes(model, person, driver, tmp_path):
    for name in ("a", "b"):
        synthesize([person], driver, model, tmp_path / f"{name}.mp4", OFF)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


@pytest.mark.parametrize("options", [OFF, replace(OFF, size=96), replace(OFF, show="warp")])
def test_the_thread_of_the_network_changes_no_pixel(model, person, driver, monkeypatch, options):
    def frames():
        fitting, placement = decide("off", model.config.kind, [person], driver), choose_placement([person], model, options)
        return np.stack([*Rendering([person], driver, model, options, fitting, placement=placement).frames()])

    in_thread = frames()
    monkeypatch.setattr(rendering, "map_in_thread", lambda function, items: ((item, function(item)) for item in items))
    assert (in_thread == frames()).all()


def test_only_one_driving_frame_is_drawn_ahead(model, person, driver, monkeypatch):
    drawn, steps = [], Driving.steps
    monkeypatch.setattr(Driving, "steps", lambda self: (drawn.append(step) or step for step in steps(self)))
    fitting = decide("off", model.config.kind, [person], driver)
    for made, _ in enumerate(Rendering([person], driver, model, OFF, fitting).frames(), 1):
        assert len(drawn) <= made + 1
    assert len(drawn) == made == 10


def test_a_result_says_that_it_is_synthetic_unless_it_is_told_not_to(model, person, driver, tmp_path):
    out = tmp_path / "out.mp4"
    synthesize([person], driver, model, out, OFF)
    assert b"digitalsourcetype/trainedAlgorithmicMedia" in out.read_bytes()
    with pytest.raises(ParametersDiffer, match="note"):
        synthesize([person], driver, model, out, replace(OFF, note=False))
    synthesize([person], driver, model, out, replace(OFF, note=False), overwrite=True)
    assert b"digitalsourcetype" not in out.read_bytes()
    assert synthesize([person], driver, model, out, replace(OFF, note=False)).status == "skipped"


def test_a_result_from_before_there_were_notes_is_still_finished(model, person, driver, tmp_path):
    new, old = tmp_path / "new.mp4", tmp_path / "old.mp4"
    synthesize([person], driver, model, new, OFF)
    with VideoWriter(old, 64, 64, driver.fps, comment=read_comment(new) or "") as video:
        for frame in read_frames(new):
            video.write(frame)
    assert synthesize([person], driver, model, old, OFF).status == "skipped"


def test_compare_puts_driver_sketch_and_result_side_by_side(model, person, driver, tmp_path):
    synthesize([person], driver, model, tmp_path / "out.mp4", replace(OFF, compare=True))
    frame = next(read_frames(tmp_path / "out.mp4", 0, 1))
    assert frame.shape == (64, 192, 3)
    assert np.abs(frame[:, :64].astype(int) - driver.frame(0)).mean() < 12


def test_a_comparison_keeps_no_driving_layer_whose_place_it_does_not_have(model, person, driver, tmp_path):
    for _ in range(2):
        outcome = synthesize([person], driver, model, tmp_path / "out.clip", replace(OFF, compare=True))
    assert outcome.status == "skipped" and open_clip(tmp_path / "out.clip").layers() == ["frames"]


@pytest.mark.parametrize("select", [0, -1, "dellaunay"])
def test_a_selection_that_takes_no_example_is_refused(select):
    with pytest.raises(UsageError, match="is not a selection of examples"):
        SynthesizeOptions(select=select)


def test_a_part_of_the_result_is_written_in_its_place(model, person, driver, tmp_path):
    shown = {}
    for show in ("result", "warp", "mask", "raw"):
        synthesize([person], driver, model, tmp_path / f"{show}.clip", replace(OFF, show=show, precision="fp32", num_examples=1))
        shown[show] = np.stack([*open_clip(tmp_path / f"{show}.clip").frames()]).astype(float)
    mask = shown["mask"] / 255
    assert (np.ptp(mask, -1) == 0).all() and 0 < mask.mean() < 1
    matted = mask * shown["raw"] + (1 - mask) * shown["warp"]
    assert np.abs(matted[0] - shown["result"][0]).max() < 3  # eq. 11: the first frame has no previous one
    assert np.abs(matted[1:] - shown["result"][1:]).max() > 3


def test_a_model_that_warps_no_example_has_no_warp_to_show(person, driver, tmp_path):
    config = replace(TINY, warp_example=False)
    save_model(tmp_path / "still.safetensors", FewShotGenerator(config).state_dict(), config, {"step": 0})
    with pytest.raises(UsageError, match="does not make the image warp"):
        synthesize([person], driver, load_model(tmp_path / "still.safetensors"), tmp_path / "out.clip", replace(OFF, show="warp"))
    assert not (tmp_path / "out.clip").exists()


def test_several_examples_and_the_frames_of_an_example_clip_all_count(model, person, driver, tmp_path):
    synthesize([person], driver, model, tmp_path / "one.clip", replace(OFF, num_examples=1))
    synthesize([person, driver], driver, model, tmp_path / "many.clip", replace(OFF, num_examples=3))
    one, many = (open_clip(tmp_path / f"{name}.clip").frame(3) for name in ("one", "many"))
    assert not np.array_equal(one, many)


def test_a_driving_frame_without_a_face_repeats_the_last_one_that_has_one(model, person, driver, tmp_path):
    points = driver.layer("landmarks").arrays()["points"]
    points[[0, 4, 5]] = 0
    gap = create_clip(tmp_path / "gap.clip", width=64, height=64, num_frames=10)
    with gap.writing("landmarks", driver_producer(), {}) as layer:
        layer.arrays(points=points)
    outcome = synthesize([person], gap, model, tmp_path / "out.clip", OFF)
    shown = open_clip(tmp_path / "out.clip").layer("landmarks").arrays()["points"]
    assert outcome.held_frames == 3
    assert np.array_equal(shown[4], shown[3]) and np.array_equal(shown[0], shown[1])


def test_nobody_in_the_example_or_the_driver_is_a_sentence(model, person, driver, tmp_path):
    empty = create_clip(tmp_path / "empty.clip", iter(np.zeros((3, 64, 64, 3), np.uint8)))
    with empty.writing("landmarks", driver_producer(), {}) as layer:
        layer.arrays(points=np.zeros((3, 1, 68, 3), np.float32))
    with pytest.raises(NoDetection, match="example"):
        synthesize([empty], driver, model, tmp_path / "a.mp4", OFF)
    with pytest.raises(NoDetection, match="driving"):
        synthesize([person], empty, model, tmp_path / "b.mp4", OFF)
    assert synthesize([empty, person], driver, model, tmp_path / "c.mp4", OFF).status == "done"
    assert sorted(path.name for path in tmp_path.glob("*.mp4")) == ["c.mp4"]


def test_a_failure_in_the_middle_leaves_nothing(model, person, driver, tmp_path, leftovers):
    def fail(done, total):
        if done == 5:
            raise KeyboardInterrupt

    for name in ("out.mp4", "out.clip"):
        with pytest.raises(KeyboardInterrupt):
            synthesize([person], driver, model, tmp_path / name, OFF, progress=fail)
    assert list(tmp_path.iterdir()) == [] and leftovers(tmp_path) == []


def test_weights_of_something_else_are_refused_by_name(tmp_path, person, driver):
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
    """Someone [25, 3] who stands upright, `height` pixels high."""
    shape = {0: (0, 0), 1: (0, 15), 2: (-10, 15), 3: (-15, 30), 4: (-15, 45), 5: (10, 15), 6: (15, 30), 7: (15, 45), 8: (0, 45)}
    shape |= {9: (-7, 45), 10: (-7, 70), 11: (-7, 95), 12: (7, 45), 13: (7, 70), 14: (7, 95), 21: (6, 100), 24: (-6, 100)}
    person = np.zeros((25, 3), np.float32)
    for index, (right, down) in shape.items():
        person[index] = x + height * right / 100, ground - height * (1 - down / 100), 1
    return person


def with_bodies(clip, bodies):
    with clip.writing("poses", driver_producer(), {}) as layer:
        count = clip.num_frames
        boxes = np.tile(np.array([0, 0, 9, 9], np.float32), (count, 1, 1))
        layer.arrays(keypoints=np.stack(bodies)[:, None], boxes=boxes, track_id=np.zeros((count, 1), np.int32))


def test_a_driver_twice_as_tall_and_off_centre_keeps_the_examples_proportions_and_place(model, person, driver, tmp_path):
    standing = body(28, 20, 50)
    with_bodies(person, [standing] * person.num_frames)
    with_bodies(driver, [body(56, 45 + 0.1 * t, 62) for t in range(driver.num_frames)])
    track = Driving(driver, "poses", (64, 64), "none")
    track.fit_to([standing])
    wanted = draw_pose(standing[None], 64, 64)
    for drawn in track.drawings():
        differs = np.abs(drawn.astype(int) - wanted).max(-1) > 60
        assert differs.sum() < 0.15 * wanted.any(-1).sum()

    bodies = replace(model, generator=FewShotGenerator(replace(TINY, kind="poses", semantic_channels=3)).eval())
    assert synthesize([person], driver, bodies, tmp_path / "a.mp4", replace(OFF, normalize="on")).status == "done"


def test_a_clip_keeps_the_poses_that_it_was_asked_to_show(model, person, driver, tmp_path):
    with_bodies(person, [body(28, 20, 50)] * person.num_frames)
    with_bodies(driver, [body(56, 45, 62)] * driver.num_frames)
    bodies = replace(model, generator=FewShotGenerator(replace(TINY, kind="poses", semantic_channels=3)).eval())
    synthesize([person], driver, bodies, tmp_path / "out.clip", OFF)
    kept, asked = (clip.layer("poses").arrays() for clip in (open_clip(tmp_path / "out.clip"), driver))
    assert np.allclose(kept["keypoints"], asked["keypoints"], atol=1e-3)
    seen = kept["keypoints"][0, 0][kept["keypoints"][0, 0, :, 2] > 0, :2]
    assert np.allclose(kept["boxes"][0, 0], [*seen.min(0), *seen.max(0)])
    assert synthesize([person], driver, bodies, tmp_path / "out.clip", OFF).status == "skipped"


def test_of_several_persons_the_one_who_is_seen_most_drives(driver):
    count = driver.num_frames
    people = np.zeros((count, 2, 25, 3), np.float32)
    people[:2, 0], people[:, 1] = body(30, 12, 60), body(30, 45, 60)
    with driver.writing("poses", driver_producer(), {}) as layer:
        layer.arrays(keypoints=people, boxes=np.zeros((count, 2, 4), np.float32), track_id=np.tile([[0, 1]], (count, 1)).astype(np.int32))
    track = Driving(driver, "poses", (64, 64), "none")
    assert track.held == 0
    for drawn in track.drawings():
        assert drawn[:, 35:].any() and not drawn[:, :25].any()


def test_another_densepose_of_the_driver_is_another_video(model, person, driver, tmp_path):
    surface = replace(model, generator=FewShotGenerator(replace(TINY, kind="poses+densepose", semantic_channels=6)).eval())

    def dressed(clip, part):
        with clip.writing("densepose", driver_producer(), {"of": part}) as layer:
            for _ in range(clip.num_frames):
                layer.image(np.full((clip.height, clip.width, 3), part, np.uint8))

    for clip in (person, driver):
        with_bodies(clip, [body(28, 20, 50)] * clip.num_frames)
        dressed(clip, 3)
    assert synthesize([person], driver, surface, tmp_path / "a.mp4", replace(OFF, normalize="auto")).status == "done"
    dressed(driver, 9)
    with pytest.raises(ParametersDiffer, match="driving:"):
        synthesize([person], driver, surface, tmp_path / "a.mp4", replace(OFF, normalize="auto"))


def test_label_maps_are_not_normalized(model, person, driver, tmp_path):
    streets = replace(model, generator=FewShotGenerator(replace(TINY, kind="segment", semantic_channels=3)).eval())
    for clip in (person, driver):
        meaning = {"names": ["a", "b", "c"], "palette": [[0, 0, 0], [9, 9, 9], [99, 9, 9]]}
        with clip.writing("segment", driver_producer(), {}, meaning) as layer:
            for _ in range(clip.num_frames):
                layer.image(np.ones((clip.height, clip.width), np.uint8))
    with pytest.raises(UsageError, match="cannot be normalized"):
        synthesize([person], driver, streets, tmp_path / "a.mp4", replace(OFF, normalize="on"))
    assert synthesize([person], driver, streets, tmp_path / "b.mp4", replace(OFF, normalize="auto")).status == "done"


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


def test_a_layers_folder_stands_for_its_clip(model, person, driver, tmp_path, fsv2v):
    driving = Path(driver.path) / "landmarks"
    done = fsv2v("synthesize", "--examples", person.path, "--driving", driving, "--model", model.path, "-o", tmp_path / "a.mp4")
    assert done.exit_code == 0 and probe(tmp_path / "a.mp4").num_frames == 10

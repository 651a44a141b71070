"""build-dataset of bodies and streets: the person who is followed, the layers that are kept, and the kind of a dataset."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from walkers import walking_person

from stages.build_dataset import DatasetOptions, build
from stages.clip import Producer, open_clip
from stages.conditions.labels import CAMVID, VOID
from stages.errors import InputError, ParametersDiffer, UsageError
from stages.train import Phase
from stages.train.data import Dataset
from stages.train.recipes import read_recipe

SMALL = DatasetOptions(size=(64, 32))


def run_build(clips, out: Path, options: DatasetOptions = SMALL, **more) -> list:
    """Build the dataset `out`, and return the report on each clip."""
    return list(build([str(clip.path) for clip in clips], out, options, **more))


def header(dataset: Path) -> dict:
    return json.loads((dataset / "dataset.json").read_text())


def rows(dataset: Path) -> list[dict]:
    return [json.loads(line) for line in (dataset / "clips.ndjson").read_text().splitlines()]


def recipe(kind: str, channels: int):
    """The recipe `tiny` for s_t of this driving kind with a number of channels, 64x32."""
    tiny = read_recipe("tiny")
    return replace(tiny, generator=replace(tiny.generator, kind=kind, semantic_channels=channels, size=(64, 32)), jitter=0.0)


def test_the_whole_body_is_cropped_and_its_keypoints_are_in_pixels_of_the_crop(make_body_clip, tmp_path):
    clip = make_body_clip(tmp_path / "walk.clip", walking_person(24, 60)[:, None])
    assert [report.status for report in run_build([clip], tmp_path / "bodies")] == ["done"]
    assert (header(tmp_path / "bodies")["kind"], header(tmp_path / "bodies")["task"]) == ("poses", "body")
    cropped = open_clip(tmp_path / "bodies" / rows(tmp_path / "bodies")[0]["clip"])
    assert (cropped.height, cropped.width) == (64, 32)
    layer = cropped.layer("poses")
    body = layer.arrays()["keypoints"][:, 0]
    visible = body[..., 2] > 0
    assert layer.meta["skeleton"] == "BODY_25" and visible.sum() == 24 * 19
    assert (body[visible][:, :2] > 0).all() and (body[visible][:, :2] < [32, 64]).all()
    assert np.abs(layer.arrays()["boxes"][:, 0, :2] - body[..., :2].min(1, where=visible[..., None], initial=99)).max() < 0.01
    colourfulness = np.stack(list(cropped.frames())).std(-1)  # the background is grey, limbs are coloured
    assert colourfulness[0, round(float(body[0, 8, 1])) - 3, round(float(body[0, 8, 0]))] > 8, "the trunk is drawn at its keypoints"


def test_the_person_in_most_frames_is_followed_with_hands(make_body_clip, tmp_path):
    people = np.stack([walking_person(30, 30), walking_person(30, 110)], 1)
    people[:20, 0] = 0
    hands = np.ones((30, 2, 21, 3), np.float32)
    hands[:, 1, :, 0], hands[:20, 0] = 111, 0
    clip = make_body_clip(tmp_path / "two.clip", people, hand_left=hands)
    run_build([clip], tmp_path / "bodies")
    arrays = open_clip(tmp_path / "bodies" / "clips" / "two.clip").layer("poses").arrays()
    assert arrays["keypoints"].shape == (30, 1, 25, 3) and arrays["hand_left"].shape == (30, 1, 21, 3)
    assert (arrays["track_id"] == 1).all()
    assert arrays["hand_left"][0, 0, 0, 0] == pytest.approx(arrays["keypoints"][0, 0, 8, 0] + (111 - 110) * 64 / 120, abs=1)


def test_runs_end_where_a_body_is_absent_partly_visible_or_jumps(make_body_clip, tmp_path):
    people = walking_person(80, 40, step=0.2)[:, None]
    people[20:22] = 0
    people[40:44, :, 9:] = 0
    people[40:44, :, 2:5] = 0
    people[62:, ..., 0] += 60 * (people[62:, ..., 2] > 0)
    clip = make_body_clip(tmp_path / "film.clip", people)
    run_build([clip], tmp_path / "bodies")
    assert [(row["id"], row["num_frames"]) for row in rows(tmp_path / "bodies")] == [
        ("film-00", 20), ("film-01", 18), ("film-02", 18), ("film-03", 18),
    ]  # fmt: skip


def test_another_track_in_the_same_slot_is_another_run(make_body_clip, tmp_path):
    clip = make_body_clip(tmp_path / "film.clip", walking_person(40, 60, step=0.2)[:, None])
    arrays = clip.layer("poses").arrays()
    arrays["track_id"][20:] = 7
    with clip.writing("poses", Producer("drawn"), {}) as layer:
        layer.arrays(arrays)
    run_build([clip], tmp_path / "bodies", subjects={"film-00": "anna", "film-01": "ben"})
    assert [(row["num_frames"], row["subject"]) for row in rows(tmp_path / "bodies")] == [(20, "anna"), (20, "ben")]


def test_densepose_is_kept_without_interpolation(make_body_clip, tmp_path):
    clip = make_body_clip(tmp_path / "walk.clip", walking_person(20, 60)[:, None])
    iuv = np.zeros((120, 160, 3), np.uint8)
    iuv[40:80, 40:100] = 2, 200, 90
    with clip.writing("densepose", Producer("drawn"), {}) as layer:
        for _ in range(20):
            layer.image(iuv)
    run_build([clip], tmp_path / "bodies")
    kept = open_clip(tmp_path / "bodies" / "clips" / "walk.clip").layer("densepose").image(0)
    assert {tuple(colour) for colour in kept.reshape(-1, 3).tolist()} == {(0, 0, 0), (2, 200, 90)}
    batch = Dataset(tmp_path / "bodies", "poses+densepose", "train").batch(recipe("poses+densepose", 6), 0, Phase(1, batch=1))
    assert batch.frames.semantic.shape == (1, 1, 6, 64, 32)


def test_a_street_is_cropped_around_its_centre_and_keeps_its_labels_and_their_table(make_street_clip, tmp_path):
    clips = [make_street_clip(tmp_path / f"s{i}.clip", i) for i in range(2)]
    run_build(clips, tmp_path / "streets", DatasetOptions(size=(48, 64)))
    about = header(tmp_path / "streets")
    assert (about["kind"], about["task"], about["labels"]["names"]) == ("segment", "street", list(CAMVID.names))
    cropped = open_clip(tmp_path / "streets" / "clips" / "s0.clip")
    assert (cropped.height, cropped.width) == (48, 64)
    layer = cropped.layer("segment")
    assert layer.meta["table"] == "camvid" and layer.meta["names"] == list(CAMVID.names)
    labels, original = layer.image(3), clips[0].layer("segment").image(3)
    assert set(np.unique(labels)) <= set(np.unique(original))
    assert labels[24, 32] == original[30, 60], "the centre is kept"


@pytest.mark.parametrize("store", ["copy", "pack"])
def test_instance_numbers_of_a_street_are_not_interpolated(store, make_street_clip, tmp_path):
    """A crop of 60x80 pixels is reduced to 30x40: each pixel has the number of one of the four pixels that it covers, never a mean."""
    clip = make_street_clip(tmp_path / "s.clip")
    numbers = np.random.default_rng(0).choice(np.array([0, 3, 7, 250], np.uint8), (20, 30, 60)).repeat(2, 1).repeat(2, 2)
    with clip.writing("instances", Producer("drawn"), {}, {"ids": [*range(250), 26001]}) as layer:
        for frame in numbers:
            layer.image(frame)
    run_build([clip], tmp_path / "streets", DatasetOptions(size=(30, 40), store=store))
    kept = open_clip(tmp_path / "streets" / rows(tmp_path / "streets")[0]["clip"]).layer("instances")
    assert kept.meta["ids"] == [*range(250), 26001]
    for frame, original in zip(kept.images(), numbers, strict=True):
        assert np.array_equal(frame, original[::2, 20:100:2])


def test_clips_with_other_labels_are_refused(make_street_clip, tmp_path):
    other = replace(CAMVID, name="lakes", names=("water", *CAMVID.names[1:]))
    clips = [make_street_clip(tmp_path / "street.clip"), make_street_clip(tmp_path / "lake.clip", table=other)]
    reports = run_build(clips, tmp_path / "streets")
    assert [report.status for report in reports] == ["done", "failed"]
    assert "lake.clip has the labels lakes (water, building" in reports[1].reason and "camvid (sky, building" in reports[1].reason
    assert run_build(clips[1:], tmp_path / "streets")[0].status == "failed", "also when the dataset is continued"


@pytest.mark.parametrize("store", ["copy", "pack", "reference"])
@pytest.mark.parametrize("kind", ["poses", "segment"])
def test_training_data_of_bodies_and_streets_do_not_depend_on_the_way_to_store_clips(
    kind, store, make_body_clip, make_street_clip, tmp_path
):
    if kind == "poses":
        clips, channels = [make_body_clip(tmp_path / "a.clip", walking_person(24, 60)[:, None])], 3
    else:
        clips, channels = [make_street_clip(tmp_path / "a.clip")], len(CAMVID.names) - 1  # void is not a channel
    batches = []
    for layout in (store, "copy"):
        out = tmp_path / f"{layout}-set"
        run_build(clips, out, replace(SMALL, store=layout))
        config, phase = recipe(kind, channels), Phase(1, batch=2, frames=2)
        batches.append(Dataset(out, kind, "train").batch(config, 0, phase))
    assert batches[0].frames.required_image.shape == (2, 2, 3, 64, 32)
    assert (batches[0].frames.required_image - batches[1].frames.required_image).abs().mean() < 0.05
    assert all((batches[0].frame(t).semantic - batches[1].frame(t).semantic).abs().mean() < 0.02 for t in range(2))


def test_the_kind_is_that_of_the_first_clip_and_ambiguous_clips_cause_a_warning(make_painted_clip, make_body_clip, tmp_path):
    both = make_body_clip(tmp_path / "both.clip", walking_person(20, 60)[:, None])
    with both.writing("segment", Producer("drawn"), {}, CAMVID.meta()) as layer:
        for _ in range(20):
            layer.image(np.full((120, 160), VOID, np.uint8))
    face = open_clip(make_painted_clip(tmp_path / "face.clip", 0))
    first, second = run_build([both, face], tmp_path / "bodies")
    assert first.status == "done" and "has the layers poses, segment: the dataset is of poses" in first.notes["warnings"][0]
    assert second.status == "failed" and "face.clip has no poses, but landmarks: a dataset is of one kind" in second.reason
    run_build([both], tmp_path / "streets", replace(SMALL, kind="segment"))
    assert header(tmp_path / "streets")["kind"] == "segment"


def test_a_dataset_keeps_its_kind(make_body_clip, make_street_clip, tmp_path):
    body, street = make_body_clip(tmp_path / "b.clip", walking_person(20, 60)[:, None]), make_street_clip(tmp_path / "s.clip")
    run_build([body], tmp_path / "set")
    assert "has no poses, but segment" in run_build([street], tmp_path / "set")[0].reason
    with pytest.raises(ParametersDiffer, match="kind: 'poses' -> 'segment'"):
        run_build([street], tmp_path / "set", replace(SMALL, kind="segment"))
    run_build([street], tmp_path / "set", overwrite=True)
    assert header(tmp_path / "set")["kind"] == "segment"


def test_a_dataset_of_an_unknown_kind_is_refused(make_body_clip, tmp_path):
    body = make_body_clip(tmp_path / "b.clip", walking_person(20, 60)[:, None])
    run_build([body], tmp_path / "set")
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({**header(tmp_path / "set"), "kind": "sketch"}))
    with pytest.raises(InputError, match="set is a dataset of the kind 'sketch', which is not known"):
        run_build([body], tmp_path / "set")
    with pytest.raises(UsageError, match="'sketch' is no kind of dataset"):
        run_build([body], tmp_path / "new", DatasetOptions(kind="sketch"))
    assert not (tmp_path / "new").exists()


def test_the_default_size_depends_on_the_kind(make_body_clip, make_street_clip, tmp_path):
    run_build([make_body_clip(tmp_path / "b.clip", walking_person(20, 60)[:, None])], tmp_path / "bodies", DatasetOptions())
    run_build([make_street_clip(tmp_path / "s.clip")], tmp_path / "streets", DatasetOptions())
    assert header(tmp_path / "bodies")["parameters"]["size"] == [256, 128]
    assert header(tmp_path / "streets")["parameters"]["size"] == [192, 256]
    with pytest.raises(UsageError, match="head crops must be square, not 256x128"):
        run_build([], tmp_path / "faces", DatasetOptions(size=(256, 128), kind="landmarks"))


def test_a_dataset_of_faces_without_a_kind_is_continued(painted_dataset, make_painted_clip, tmp_path):
    clips = [open_clip(make_painted_clip(tmp_path / f"p{i}.clip", i)) for i in range(2)]
    run_build(clips, tmp_path / "faces", DatasetOptions(size=64))
    old = header(tmp_path / "faces")
    del old["kind"]
    assert old["task"] == "face" and old["parameters"] == {
        "size": 64, "min_frames": 16, "store": "copy", "val_share": 0.1, "held_out": [], "quality": 95,
    }  # fmt: skip
    (tmp_path / "faces" / "dataset.json").write_text(json.dumps(old))
    assert Dataset(tmp_path / "faces", "landmarks", "train").subjects
    assert [report.status for report in run_build(clips, tmp_path / "faces", DatasetOptions(size=64))] == ["skipped"] * 2
    with pytest.raises(ParametersDiffer, match="kind: 'landmarks' -> 'poses'"):
        run_build(clips, tmp_path / "faces", DatasetOptions(size=64, kind="poses"))


def test_a_model_of_another_kind_cannot_be_trained_on_a_dataset(make_body_clip, tmp_path):
    run_build([make_body_clip(tmp_path / "b.clip", walking_person(20, 60)[:, None])], tmp_path / "bodies")
    with pytest.raises(InputError, match=r"of the kind poses, and the model expects landmarks"):
        Dataset(tmp_path / "bodies", "landmarks", "train")
    with pytest.raises(InputError, match="has no layer 'densepose'"):
        Dataset(tmp_path / "bodies", "poses+densepose", "train").batch(recipe("poses+densepose", 6), 0, Phase(1))


def test_the_command_takes_one_side_or_height_and_width(fsv2v, make_body_clip, tmp_path):
    clip = make_body_clip(tmp_path / "b.clip", walking_person(20, 60)[:, None])
    result = fsv2v("build-dataset", clip.path, "-o", tmp_path / "set", "--size", "96x64")
    assert result.exit_code == 0 and open_clip(result.lines[0]).height == 96
    for size, message in (("96by64", "'96by64' is not a size such as 256 or 256x128"), ("8x8", "sides from 32 to 2048")):
        refused = fsv2v("build-dataset", clip.path, "-o", tmp_path / "other", "--size", size)
        assert refused.exit_code == 2 and message in refused.stderr

"""build-dataset: head crops, shots, splits by subject, three ways to store clips, and skipped work."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fsv2v_cli.hints import with_hint
from stages.build_dataset import DatasetOptions, build, read_subjects
from stages.build_dataset.index import assign_splits
from stages.build_dataset.runs import find_runs
from stages.clip import Producer, create_clip, open_clip
from stages.errors import InputError, InvalidClip, NoDetection, ParametersDiffer, UsageError
from stages.train import Phase
from stages.train.data import Dataset
from stages.train.recipes import read_recipe


def rows(dataset: Path) -> list[dict]:
    """The rows of the index, one for each clip."""
    return [json.loads(line) for line in (dataset / "clips.ndjson").read_text().splitlines()]


def run_build(clips, out, options=None, **more) -> list[str]:
    """Build the dataset `out`, and return the status of each clip."""
    return [report.status for report in build(map(str, clips), out, options or DatasetOptions(size=64), **more)]


@pytest.fixture
def clips(tmp_path, make_painted_clip) -> list[Path]:
    return [make_painted_clip(tmp_path / f"p{i}.clip", i) for i in range(3)]


def test_every_clip_is_cropped_to_the_head_and_listed_with_its_subject_and_split(clips, tmp_path):
    out = tmp_path / "faces"
    assert run_build(clips, out, subjects={"p0": "anna", "p1": "anna"}) == ["done"] * 3

    listed = rows(out)
    assert [row["subject"] for row in listed] == ["anna", "anna", "p2"]
    assert len({row["split"] for row in listed if row["subject"] == "anna"}) == 1
    header = json.loads((out / "dataset.json").read_text())
    assert header["schema"] == "fsv2v.dataset/1"
    assert sum(header["statistics"][split]["frames"] for split in ("train", "val")) == 72
    clip = open_clip(out / listed[0]["clip"])
    assert (clip.width, clip.height) == (64, 64)
    points = clip.layer("landmarks").arrays()["points"]
    assert (points[..., 0] > 0).all() and (points[..., 0] < 64).all()


def test_a_second_build_is_skipped_and_changes_nothing(clips, tmp_path):
    out = tmp_path / "faces"
    run_build(clips, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert run_build(clips, out) == ["skipped"] * 3
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_build_that_was_killed_between_its_two_index_files_continues(clips, tmp_path):
    run_build(clips, tmp_path / "set")
    before = {path.name: path.read_bytes() for path in (tmp_path / "set").iterdir() if path.is_file()}
    (tmp_path / "set" / "dataset.json").unlink()
    assert set(run_build(clips, tmp_path / "set")) == {"skipped"}
    assert {path.name: path.read_bytes() for path in (tmp_path / "set").iterdir() if path.is_file()} == before


def test_other_parameters_are_refused_by_name(clips, tmp_path):
    run_build(clips, tmp_path / "faces")
    with pytest.raises(ParametersDiffer, match="size: 64 -> 32"):
        run_build(clips, tmp_path / "faces", DatasetOptions(size=32))
    assert run_build(clips, tmp_path / "faces", DatasetOptions(size=32), overwrite=True) == ["done"] * 3


@pytest.mark.parametrize("header", ["", "{}", "[]", '{"schema": "fsv2v.dataset/2", "parameters": {}}'])
def test_a_damaged_or_newer_dataset_is_not_continued(header, clips, tmp_path):
    run_build(clips, tmp_path / "faces")
    (tmp_path / "faces" / "dataset.json").write_text(header)
    with pytest.raises(InvalidClip, match=r"dataset\.json (is damaged|has the format)"):
        run_build(clips, tmp_path / "faces")
    assert run_build(clips, tmp_path / "faces", overwrite=True) == ["done"] * 3


def test_clips_can_be_added_to_a_dataset(clips, tmp_path):
    out = tmp_path / "faces"
    run_build(clips[:2], out)
    assert run_build(clips[2:], out) == ["done"]
    assert [row["id"] for row in rows(out)] == ["p0", "p1", "p2"]


def test_cuts_and_gaps_divide_a_clip(tmp_path, make_painted_clip):
    parts = [open_clip(make_painted_clip(tmp_path / f"{i}.clip", i)) for i in (0, 1)]
    frames = [f for part in parts for f in part.frames()]
    points = np.concatenate([part.layer("landmarks").arrays()["points"] for part in parts])
    points[40:42] = 0
    clip = create_clip(tmp_path / "both.clip", iter(frames))
    with clip.writing("landmarks", Producer("test"), {}) as layer:
        layer.arrays(points=points)
    assert run_build([clip.path], tmp_path / "faces", DatasetOptions(size=64, min_frames=6)) == ["done"] * 3
    assert [(row["id"], row["num_frames"]) for row in rows(tmp_path / "faces")] == [("both-00", 24), ("both-01", 16), ("both-02", 6)]


@pytest.mark.parametrize("store", ["copy", "pack", "reference"])
def test_no_training_window_contains_a_cut(tmp_path, make_painted_clip, store):
    parts = [open_clip(make_painted_clip(tmp_path / f"{i}.clip", i)) for i in (0, 1)]
    clip = create_clip(tmp_path / "both.clip", [f for part in parts for f in part.frames()])
    with clip.writing("landmarks", Producer("test"), {}) as layer:
        layer.arrays(points=np.concatenate([part.layer("landmarks").arrays()["points"] for part in parts]))
    run_build([clip.path], tmp_path / "faces", DatasetOptions(size=64, store=store))
    data = Dataset(tmp_path / "faces", "landmarks", "train")

    dataset_clips = [clip for subject in data.subjects for clip in subject]
    assert [(min(clip.usable), len(clip.usable)) for clip in dataset_clips] in ([(0, 24), (0, 24)], [(0, 24), (24, 24)])
    for step in range(12):
        images = data.batch(replace(read_recipe("tiny"), jitter=0.0), step, Phase(1, batch=2, frames=8)).frames.required_image
        assert images.diff(dim=1).abs().mean((2, 3, 4)).max() < 0.15


def test_a_second_process_on_the_same_dataset_is_refused_and_can_run_later(fsv2v, clips, tmp_path):
    out = tmp_path / "faces"
    first = build([str(clips[0]), str(clips[1])], out, DatasetOptions(size=64))
    next(first)
    second = fsv2v("build-dataset", clips[2], "-o", out, "--size", 64)
    assert second.exit_code == 2 and f"{out} is being made by another process" in second.stderr
    list(first)
    assert fsv2v("build-dataset", clips[2], "-o", out, "--size", 64).exit_code == 0
    assert [row["id"] for row in rows(out)] == ["p0", "p1", "p2"]
    assert sorted(path.name for path in out.iterdir()) == ["clips", "clips.ndjson", "dataset.json"]


@pytest.mark.parametrize("store", ["copy", "pack", "reference"])
def test_training_data_do_not_depend_on_the_way_to_store_clips(clips, tmp_path, store):
    out = tmp_path / store
    run_build(clips, out, DatasetOptions(size=64, store=store, held_out=("p2",)))
    batch = Dataset(out, "landmarks", "train").batch(read_recipe("tiny"), 0, Phase(1, batch=2))
    run_build(clips, tmp_path / "plain", DatasetOptions(size=64, held_out=("p2",)))
    plain = Dataset(tmp_path / "plain", "landmarks", "train").batch(read_recipe("tiny"), 0, Phase(1, batch=2))
    assert batch.frames.required_image.shape == plain.frames.required_image.shape
    assert (batch.frames.required_image - plain.frames.required_image).abs().mean() < 0.05
    assert (batch.frames.keypoints - plain.frames.keypoints).abs().max() < 0.5


def test_a_clip_without_landmarks_or_faces_is_reported_and_the_others_continue(clips, tmp_path):
    bare = create_clip(tmp_path / "bare.clip", iter(np.zeros((20, 64, 64, 3), np.uint8)))
    empty = create_clip(tmp_path / "empty.clip", iter(np.zeros((20, 64, 64, 3), np.uint8)))
    with empty.writing("landmarks", Producer("test"), {}) as layer:
        layer.arrays(points=np.zeros((20, 1, 68, 3), np.float32))
    reports = list(build(map(str, [bare.path, *clips, empty.path]), tmp_path / "faces", DatasetOptions(size=64)))
    assert [report.status for report in reports] == ["failed", "done", "done", "done", "failed"]
    assert "fsv2v extract-sketch" in with_hint(reports[0].reason) and "in a row with a face" in reports[-1].reason


def test_a_dataset_without_usable_clips_is_an_error(tmp_path):
    bare = create_clip(tmp_path / "bare.clip", iter(np.zeros((20, 64, 64, 3), np.uint8)))
    with pytest.raises(NoDetection, match="no clip was left"):
        run_build([bare.path], tmp_path / "faces")


def test_a_split_is_by_subject_and_stable_and_never_empty():
    few, many = {"a", "b"}, {f"s{i}" for i in range(200)}
    assert sorted(assign_splits(few, (), 0.1).values()) == ["train", "val"]
    first, grown = assign_splits(many, (), 0.1), assign_splits(many | {"new"}, (), 0.1)
    assert all(grown[name] == split for name, split in first.items())
    assert 0.03 < sum(split == "val" for split in first.values()) / 200 < 0.2
    assert all(assign_splits({name}, (), 0.1) == {name: "train"} for name in many)
    assert assign_splits(few, ("b",), 0.1) == {"a": "train", "b": "val"}
    with pytest.raises(UsageError, match="ghost. The subjects include a, b"):
        assign_splits(few, ("ghost",), 0.1)


def test_runs_end_at_gaps_and_begin_at_cuts():
    usable = np.array([0, 1, 1, 1, 0, 1, 1, 0], bool)
    starts = np.array([0, 0, 0, 1, 0, 0, 0, 0], bool)
    assert find_runs(usable, starts) == [(1, 3), (3, 4), (5, 7)]


@pytest.mark.parametrize(
    "table",
    [
        "p0\tanna\np1\tanna\n",
        "\ufeffp0\tanna\r\n\r\np1\tanna\r\n",
        "clips/p0.clip\tanna\np1.clip/\tanna\n",
        "C:\\clips\\p0.zip\tanna\np1 \t anna\np1.clip\tanna",
    ],
    ids=["plain", "saved by Windows", "names as ls prints them", "paths and a repeated line"],
)
def test_subjects_are_read_from_a_table(tmp_path, table):
    (tmp_path / "s.tsv").write_bytes(table.encode())
    assert read_subjects(str(tmp_path / "s.tsv")) == {"p0": "anna", "p1": "anna"}


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("p0 anna\n", "entry 1 is not a clip, a tab and a subject"),
        ("p0\tanna\np1\t\n", "entry 2 is not a clip, a tab and a subject"),
        ("p0\tanna\np0.clip\tben\n", "p0 has two subjects, anna and ben"),
    ],
)
def test_a_table_of_subjects_with_a_mistake_is_refused(tmp_path, table, sentence):
    (tmp_path / "s.tsv").write_text(table)
    with pytest.raises(InputError, match=sentence):
        read_subjects(str(tmp_path / "s.tsv"))


def test_a_subject_of_an_absent_clip_is_refused(fsv2v, clips, tmp_path):
    (tmp_path / "subjects.tsv").write_text("P0\tanna\np1\tanna\n")
    result = fsv2v("build-dataset", *clips, "-o", tmp_path / "faces", "--size", 64, "--subjects", tmp_path / "subjects.tsv")
    assert result.exit_code == 2
    assert "the table of subjects lists P0, but there is no such clip" in result.stderr and "The clips include p0, p1, p2" in result.stderr
    assert not (tmp_path / "faces" / "clips.ndjson").exists()


def test_a_subject_of_a_failed_clip_is_accepted(clips, tmp_path):
    bare = create_clip(tmp_path / "bare.clip", iter(np.zeros((20, 64, 64, 3), np.uint8)))
    subjects = {"p0": "anna", "bare": "anna", "bare-01": "ben"}
    assert run_build([bare.path, *clips], tmp_path / "faces", subjects=subjects) == ["failed", "done", "done", "done"]


def test_subjects_apply_to_the_whole_dataset_and_are_kept_when_it_grows(clips, tmp_path):
    out = tmp_path / "faces"
    run_build(clips[:2], out)
    run_build(clips[2:], out, subjects={"p0": "anna", "p2": "anna"})
    assert [row["subject"] for row in rows(out)] == ["anna", "p1", "anna"]
    run_build(clips, out)
    assert [row["subject"] for row in rows(out)] == ["anna", "p1", "anna"]

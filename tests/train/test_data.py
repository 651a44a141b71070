"""What training draws from a dataset when some of it cannot be read, and how videos are read."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stages.build_dataset import DatasetOptions, build
from stages.clip import Producer, as_clip, open_clip
from stages.clip.layers import npz_bytes
from stages.clip.pack import pack
from stages.errors import InvalidClip, UsageError
from stages.train import Phase, TrainOptions, read_recipe, train
from stages.train.data import Dataset

TINY = replace(read_recipe("tiny"), perceptual="none")
PHASE = Phase(1, batch=2, frames=2)


def truncated_jpeg(clip: Path) -> Path:
    """Every picture ends in the middle."""
    for image in (clip / "frames").glob("*.jpg"):
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    return clip


def truncated_zip(clip: Path) -> Path:
    packed = pack(clip)
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    return packed


def not_a_number(clip: Path) -> Path:
    """A landmark of one frame is NaN, as a foreign program may have written it."""
    layer = clip / "landmarks" / "data.npz"
    with np.load(io.BytesIO(layer.read_bytes()), allow_pickle=False) as archive:
        points = archive["points"]
    points[7, 0, 30] = np.nan
    layer.write_bytes(npz_bytes({"points": points}))
    return clip


def gone(clip: Path) -> Path:
    shutil.rmtree(clip)
    return clip


def faceless(clip: Path) -> Path:
    (clip / "landmarks" / "data.npz").write_bytes(npz_bytes({"points": np.zeros((24, 1, 68, 3), np.float32)}))
    return clip


FAULTS: dict[Callable[[Path], Path], str] = {
    truncated_jpeg: r"frames/0000\d\d\.jpg is not a readable image",
    truncated_zip: "neither a clip directory nor a packed clip",
    not_a_number: "landmarks/data.npz: landmarks/points holds NaN",
    gone: "does not exist",
    faceless: "shows its subject",
}


@pytest.fixture
def faces(painted_dataset, tmp_path) -> Path:
    """A dataset of three persons to train on, person0 to person2, that may be broken."""
    return shutil.copytree(painted_dataset, tmp_path / "faces")


def broken(faces: Path, fault: Callable[[Path], Path], person: int = 1) -> Path:
    clip = faces / "clips" / f"person{person}.clip"
    now = fault(clip)
    index = faces / "clips.ndjson"
    index.write_text(index.read_text().replace(f"clips/{clip.name}", f"clips/{now.name}"))
    return now


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_an_unreadable_clip_is_named_once_and_another_takes_its_place(fault, faces):
    whole = Dataset(faces, "landmarks", "train")
    wholes = [whole.batch(TINY, step, PHASE) for step in range(12)]
    clip, told = broken(faces, fault), []
    data = Dataset(faces, "landmarks", "train", on_unreadable=lambda path, reason: told.append((path, reason)))
    batches = [data.batch(TINY, step, PHASE) for step in range(12)]

    assert [path for path, _ in told] == [clip]
    assert re.search(FAULTS[fault], told[0][1])
    same = [torch.equal(ours.frames.required_image, theirs.frames.required_image) for ours, theirs in zip(batches, wholes, strict=True)]
    assert any(same) and not all(same), "batches without the clip are what they were"


def test_batches_of_a_dataset_with_an_unreadable_clip_depend_on_seed_and_step_alone(faces, tensors_of):
    broken(faces, truncated_jpeg)
    forwards = Dataset(faces, "landmarks", "train")
    in_order = [forwards.batch(TINY, step, PHASE) for step in range(8)]
    backwards = Dataset(faces, "landmarks", "train")
    for step in reversed(range(8)):
        again = backwards.batch(TINY, step, PHASE)
        assert all(map(torch.equal, tensors_of(again), tensors_of(in_order[step])))


def test_one_unreadable_frame_costs_the_windows_that_show_it_and_no_others(faces):
    image = faces / "clips" / "person1.clip" / "frames" / "000012.jpg"
    whole = Dataset(faces, "landmarks", "train")
    wholes = [whole.batch(TINY, step, PHASE) for step in range(40)]
    image.write_bytes(b"")
    data = Dataset(faces, "landmarks", "train")
    batches = [data.batch(TINY, step, PHASE) for step in range(40)]
    changed = sum(
        not torch.equal(ours.frames.required_image, theirs.frames.required_image) for ours, theirs in zip(batches, wholes, strict=True)
    )
    assert 0 < changed < 20


def test_more_than_half_unreadable_are_an_error(faces):
    broken(faces, truncated_jpeg, 0)
    broken(faces, not_a_number, 2)
    data = Dataset(faces, "landmarks", "train")
    with pytest.raises(InvalidClip, match=r"2 of 3 clips of .*faces cannot be used: .*person"):
        for step in range(40):
            data.batch(TINY, step, PHASE)


def test_a_clip_that_is_shorter_than_the_dataset_says_is_unreadable(faces, make_painted_clip):
    shutil.rmtree(faces / "clips" / "person1.clip")
    make_painted_clip(faces / "clips" / "person1.clip", 1, num_frames=10)
    told = []
    data = Dataset(faces, "landmarks", "train", on_unreadable=lambda path, reason: told.append(reason))
    for step in range(12):
        data.batch(TINY, step, PHASE)
    assert told == [f"{faces}/clips/person1.clip has 10 frames, but its dataset needs 24"]


def test_a_run_goes_on_beside_an_unreadable_clip_and_says_so(faces, tmp_path):
    clip = broken(faces, truncated_jpeg)
    rows: list[dict[str, Any]] = []
    train(TINY, TrainOptions(faces, device="cpu"), tmp_path / "run", event=rows.append)
    messages = [row["message"] for row in rows if "message" in row]
    assert len(messages) == 1 and messages[0].startswith(f"other clips take the place of {clip}: ")
    assert (tmp_path / "run" / "samples" / "00000010.png").exists()


def test_a_window_of_a_video_is_decoded_at_one_go(make_face_video, make_painted_clip, tmp_path, monkeypatch):
    points = open_clip(make_painted_clip(tmp_path / "painted.clip", 0, size=256)).layer("landmarks").arrays()["points"]
    clip = as_clip(make_face_video(tmp_path / "talk.mp4", 24), tmp_path / "talk.clip")
    with clip.writing("landmarks", Producer("painted"), {}) as layer:
        layer.arrays(points=points)
    list(build([str(clip.path)], tmp_path / "faces", DatasetOptions(size=64, store="reference")))
    started: list[Any] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *command, **more: started.append(command) or popen(*command, **more))
    config = replace(TINY, max_examples=1, most_stride=1)
    batch = Dataset(tmp_path / "faces", "landmarks", "train").batch(config, 0, Phase(1, frames=8, batch=1))
    assert batch.frames.required_image.shape[1] == 8
    assert len(started) == 2, "one for the window, one for the example"


def test_only_the_clips_used_last_are_kept_open(painted_dataset, monkeypatch):
    monkeypatch.setattr("stages.train.data.MAX_OPEN", 1)
    few, all_open = Dataset(painted_dataset, "landmarks", "train"), Dataset(painted_dataset, "landmarks", "train")
    for step in range(4):
        ours = few.batch(TINY, step, PHASE)
        monkeypatch.setattr("stages.train.data.MAX_OPEN", 9)
        assert torch.equal(ours.frames.required_image, all_open.batch(TINY, step, PHASE).frames.required_image)
        monkeypatch.setattr("stages.train.data.MAX_OPEN", 1)
    opened = [[footage for clips in data.subjects for footage in clips if "track" in vars(footage)] for data in (few, all_open)]
    assert len(opened[0]) == 1 < len(opened[1])


def test_a_model_for_another_number_of_labels_is_told_so(painted_dataset):
    config = replace(TINY, generator=replace(TINY.generator, semantic_channels=12))
    with pytest.raises(UsageError, match=r"have 7 channels, the model expects 12. Label maps must be"):
        Dataset(painted_dataset, "landmarks", "train").batch(config, 0, PHASE)

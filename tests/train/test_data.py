"""Batches from a dataset: unreadable clips are replaced, windows of videos are decoded in one pass."""

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


# Each of these functions damages a clip and returns the path that the dataset must then list.


def truncate_frames(clip: Path) -> Path:
    """Cut every JPEG in the middle."""
    for image in (clip / "frames").glob("*.jpg"):
        image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    return clip


def pack_and_truncate(clip: Path) -> Path:
    packed = pack(clip)
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    return packed


def write_nan(clip: Path) -> Path:
    """Set a landmark of one frame to NaN, as another program might write it."""
    layer = clip / "landmarks" / "data.npz"
    with np.load(io.BytesIO(layer.read_bytes()), allow_pickle=False) as archive:
        points = archive["points"]
    points[7, 0, 30] = np.nan
    layer.write_bytes(npz_bytes({"points": points}))
    return clip


def delete(clip: Path) -> Path:
    shutil.rmtree(clip)
    return clip


def remove_faces(clip: Path) -> Path:
    (clip / "landmarks" / "data.npz").write_bytes(npz_bytes({"points": np.zeros((24, 1, 68, 3), np.float32)}))
    return clip


DAMAGES: dict[Callable[[Path], Path], str] = {
    truncate_frames: r"frames/0000\d\d\.jpg is not a readable image",
    pack_and_truncate: "neither a clip directory nor a packed clip",
    write_nan: "landmarks/data.npz: landmarks/points holds NaN",
    delete: "does not exist",
    remove_faces: "shows its subject",
}
"""Damage -> the reason that is reported."""


@pytest.fixture
def faces(painted_dataset, tmp_path) -> Path:
    """A copy of the painted dataset, whose training clips person0 to person2 may be damaged."""
    return shutil.copytree(painted_dataset, tmp_path / "faces")


def damage_clip(faces: Path, damage: Callable[[Path], Path], person: int = 1) -> Path:
    """Damage the clip of a person, and return its path."""
    clip = faces / "clips" / f"person{person}.clip"
    path = damage(clip)
    index = faces / "clips.ndjson"
    index.write_text(index.read_text().replace(f"clips/{clip.name}", f"clips/{path.name}"))
    return path


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_an_unreadable_clip_is_reported_once_and_replaced_by_another(damage, faces):
    intact = Dataset(faces, "landmarks", "train")
    intact_batches = [intact.batch(TINY, step, PHASE) for step in range(12)]
    clip, reports = damage_clip(faces, damage), []
    data = Dataset(faces, "landmarks", "train", on_unreadable=lambda path, reason: reports.append((path, reason)))
    batches = [data.batch(TINY, step, PHASE) for step in range(12)]

    assert [path for path, _ in reports] == [clip]
    assert re.search(DAMAGES[damage], reports[0][1])
    equal = [torch.equal(a.frames.required_image, b.frames.required_image) for a, b in zip(batches, intact_batches, strict=True)]
    assert any(equal) and not all(equal), "batches without the clip do not change"


def test_batches_of_a_dataset_with_an_unreadable_clip_depend_on_seed_and_step_alone(faces, tensors_of):
    damage_clip(faces, truncate_frames)
    forwards = Dataset(faces, "landmarks", "train")
    batches = [forwards.batch(TINY, step, PHASE) for step in range(8)]
    backwards = Dataset(faces, "landmarks", "train")
    for step in reversed(range(8)):
        batch = backwards.batch(TINY, step, PHASE)
        assert all(map(torch.equal, tensors_of(batch), tensors_of(batches[step])))


def test_one_unreadable_frame_changes_only_the_windows_that_contain_it(faces):
    image = faces / "clips" / "person1.clip" / "frames" / "000012.jpg"
    intact = Dataset(faces, "landmarks", "train")
    intact_batches = [intact.batch(TINY, step, PHASE) for step in range(40)]
    image.write_bytes(b"")
    data = Dataset(faces, "landmarks", "train")
    batches = [data.batch(TINY, step, PHASE) for step in range(40)]
    changed = sum(not torch.equal(a.frames.required_image, b.frames.required_image) for a, b in zip(batches, intact_batches, strict=True))
    assert 0 < changed < 20


def test_a_dataset_with_more_than_half_of_its_clips_unreadable_is_an_error(faces):
    damage_clip(faces, truncate_frames, 0)
    damage_clip(faces, write_nan, 2)
    data = Dataset(faces, "landmarks", "train")
    with pytest.raises(InvalidClip, match=r"2 of 3 clips of .*faces cannot be used: .*person"):
        for step in range(40):
            data.batch(TINY, step, PHASE)


def test_a_clip_that_is_shorter_than_the_dataset_says_is_unreadable(faces, make_painted_clip):
    shutil.rmtree(faces / "clips" / "person1.clip")
    make_painted_clip(faces / "clips" / "person1.clip", 1, num_frames=10)
    reasons = []
    data = Dataset(faces, "landmarks", "train", on_unreadable=lambda path, reason: reasons.append(reason))
    for step in range(12):
        data.batch(TINY, step, PHASE)
    assert reasons == [f"{faces}/clips/person1.clip has 10 frames, but its dataset needs 24"]


def test_a_run_reports_an_unreadable_clip_and_continues(faces, tmp_path):
    clip = damage_clip(faces, truncate_frames)
    rows: list[dict[str, Any]] = []
    train(TINY, TrainOptions(faces, device="cpu"), tmp_path / "run", event=rows.append)
    messages = [row["message"] for row in rows if "message" in row]
    assert len(messages) == 1 and messages[0].startswith(f"other clips take the place of {clip}: ")
    assert (tmp_path / "run" / "samples" / "00000010.png").exists()


def test_a_window_of_a_video_is_decoded_in_one_pass(make_face_video, make_painted_clip, tmp_path, monkeypatch):
    points = open_clip(make_painted_clip(tmp_path / "painted.clip", 0, size=256)).layer("landmarks").arrays()["points"]
    clip = as_clip(make_face_video(tmp_path / "talk.mp4", 24), tmp_path / "talk.clip")
    with clip.writing("landmarks", Producer("painted"), {}) as layer:
        layer.arrays(points=points)
    list(build([str(clip.path)], tmp_path / "faces", DatasetOptions(size=64, store="reference")))
    processes: list[Any] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *command, **more: processes.append(command) or popen(*command, **more))
    config = replace(TINY, max_examples=1, max_stride=1)
    batch = Dataset(tmp_path / "faces", "landmarks", "train").batch(config, 0, Phase(1, frames=8, batch=1))
    assert batch.frames.required_image.shape[1] == 8
    assert len(processes) == 2, "one for the window and one for the example"


def test_only_the_most_recently_used_clips_stay_open(painted_dataset, monkeypatch):
    monkeypatch.setattr("stages.train.data.MAX_OPEN", 1)
    limited, unlimited = Dataset(painted_dataset, "landmarks", "train"), Dataset(painted_dataset, "landmarks", "train")
    for step in range(4):
        batch = limited.batch(TINY, step, PHASE)
        monkeypatch.setattr("stages.train.data.MAX_OPEN", 9)
        assert torch.equal(batch.frames.required_image, unlimited.batch(TINY, step, PHASE).frames.required_image)
        monkeypatch.setattr("stages.train.data.MAX_OPEN", 1)
    counts = [sum("track" in vars(clip) for clips in data.subjects for clip in clips) for data in (limited, unlimited)]
    assert counts[0] == 1 < counts[1]


def test_a_model_for_another_number_of_channels_is_refused(painted_dataset):
    config = replace(TINY, generator=replace(TINY.generator, semantic_channels=12))
    with pytest.raises(UsageError, match=r"have 7 channels, the model expects 12. Label maps must be"):
        Dataset(painted_dataset, "landmarks", "train").batch(config, 0, PHASE)

"""Two processes that write the same output at once: one of them waits, or is refused with a message. Outputs are never mixed.

The tests of one process alone are in tests/clip/test_leftovers.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fsv2v_cli.main import run
from stages.clip import Producer, as_clip, create_clip, open_clip
from stages.clip.create import link_clip
from stages.clip.pack import pack
from stages.extract_flow import FlowOptions
from stages.io.files import discard, exclusive_lock, shared_lock
from stages.runner import ClipTask
from stages.runner.work import run_one


@pytest.fixture
def workspace(tmp_path, monkeypatch) -> Path:
    """The working folder: a clip of two frames, the same clip packed, and a folder of OpenPose files."""
    monkeypatch.chdir(tmp_path)
    create_clip("a.clip", (np.full((48, 64, 3), value, np.uint8) for value in (50, 200)))
    pack("a.clip", "packed.zip")
    (tmp_path / "poses").mkdir()
    person = {"people": [{"pose_keypoints_2d": [10.0, 20.0, 0.9] * 25}]}
    for index in range(2):
        (tmp_path / "poses" / f"v_{index:012d}_keypoints.json").write_text(json.dumps(person))
    return tmp_path


WRITERS = {
    "import": (["clip", "import", "poses", "-o", "out"], "out/poses.clip"),
    "export to a video": (["clip", "export", "a.clip", "-o", "out/a.mp4"], "out/a.mp4"),
    "export to a folder": (["clip", "export", "a.clip", "-o", "out/a"], "out/a"),
    "pack": (["clip", "pack", "a.clip", "-o", "out"], "out/a.zip"),
    "unpack": (["clip", "unpack", "packed.zip", "-o", "out"], "out/packed.clip"),
    "split": (["clip", "split", "a.clip", "-o", "out", "--min-seconds", "0"], "out/a"),
    "preview": (["clip", "preview", "a.clip", "-o", "out"], "out/a.preview"),
}


@pytest.mark.parametrize("writer", WRITERS)
def test_an_output_that_another_process_writes_is_refused_until_it_ends(writer, workspace, capfd):
    command, output = WRITERS[writer]
    (workspace / "out").mkdir()
    with exclusive_lock(Path(output)):
        assert run(command) == 3
        assert f"{output} is being made by another process" in capfd.readouterr().err
        assert not [path for path in (workspace / "out").iterdir() if not path.name.startswith(".")]

    assert run(command) == 0
    assert not [path for path in workspace.rglob(".*")], "no lock file is left"


def test_of_two_exports_to_one_video_one_succeeds_and_the_other_is_refused(fsv2v, tmp_path):
    for name, value in (("dark", 40), ("light", 220)):
        create_clip(tmp_path / f"{name}.clip", (np.full((64, 64, 3), value, np.uint8) for _ in range(40)))
    processes = {name: fsv2v.start("clip", "export", tmp_path / f"{name}.clip", "-o", tmp_path / "out.mp4") for name in ("dark", "light")}
    outputs = {name: process.communicate(timeout=60) for name, process in processes.items()}
    codes = {name: process.returncode for name, process in processes.items()}

    assert sorted(codes.values()) == [0, 3]
    (winner,) = (name for name, code in codes.items() if code == 0)
    (loser,) = (name for name, code in codes.items() if code == 3)
    assert b"out.mp4 " in outputs[loser][1]  # the video is being made, or exists already
    levels = [frame.mean() for frame in as_clip(tmp_path / "out.mp4", tmp_path).frames()]
    assert len(levels) == 40 and np.ptp(levels) < 2 and (np.mean(levels) < 128) == (winner == "dark")


def test_of_two_extractions_of_one_layer_one_waits_and_is_skipped(fsv2v, workspace):
    processes = [fsv2v.start("clip", "flow", "a.clip", "--json", cwd=workspace) for _ in range(2)]
    records = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(record["status"] for record in records) == ["done", "skipped"]


def test_a_layer_that_another_process_makes_with_other_parameters_is_refused(workspace):
    """This happens when extract-sketch runs twice at once with different options."""
    stage = "stages.extract_flow:extract"
    task = ClipTask(stage, FlowOptions(), None, False, "flow")
    started, clip = threading.Event(), open_clip("a.clip")

    def write_layer() -> None:
        with clip.writing("flow", Producer("another"), {}) as layer:
            started.set()
            time.sleep(0.3)
            for _ in range(2):
                layer.image(np.zeros((48, 64, 2), np.float16))

    other = threading.Thread(target=write_layer)
    other.start()
    started.wait()
    report = run_one(task, "a.clip")
    other.join()
    assert report.status == "failed" and "another" in report.reason
    assert open_clip("a.clip").layer("flow").meta["producer"]["stage"] == "another"


def test_a_folder_in_use_is_not_discarded(workspace):
    with shared_lock(workspace / "a.clip"):
        discard(workspace / "a.clip")
        assert open_clip("a.clip").num_frames == 2
    discard(workspace / "a.clip")
    assert sorted(os.listdir(workspace)) == ["packed.zip", "poses"]


def test_locking_a_folder_that_is_removed_at_that_moment_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    flock = fcntl.flock

    def lock_late(descriptor: int, operation: int) -> None:
        (tmp_path / "x").rmdir()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with pytest.raises(FileNotFoundError), shared_lock(tmp_path / "x"):
        pass


def test_two_simultaneous_copies_of_a_clip_to_one_path_are_one_copy(workspace, monkeypatch):
    """This happens when extract-poses and extract-sketch start on one clip with the same -o."""
    clip, symlink_to = open_clip("a.clip"), Path.symlink_to
    other_copy: list[Any] = []

    def link_later(path: Path, target: Path) -> None:
        if not other_copy:
            other_copy.append(None)
            other_copy.append(link_clip(clip, workspace / "copy.clip"))
        symlink_to(path, target)

    monkeypatch.setattr(Path, "symlink_to", link_later)
    assert link_clip(clip, workspace / "copy.clip").num_frames == 2
    assert other_copy[1].path == workspace / "copy.clip"


def test_images_that_another_process_imports_at_another_rate_are_refused(tmp_path, monkeypatch):
    import stages.clip.create as create
    from stages.errors import ParametersDiffer

    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "0.png"), np.zeros((48, 64, 3), np.uint8))
    original = create.read_same_size
    others: list[None] = []

    def read_later(images):
        if not others:
            others.append(None)
            as_clip(tmp_path / "images", tmp_path, fps=Fraction(30))
        return original(images)

    monkeypatch.setattr(create, "read_same_size", read_later)
    with pytest.raises(ParametersDiffer, match="fps: 30 -> 25"):
        as_clip(tmp_path / "images", tmp_path, fps=Fraction(25))


def test_two_studies_cannot_share_a_key(tmp_path):
    from stages.errors import UsageError
    from stages.evaluate.study import StudyOptions, make_study

    for method in ("ours", "theirs"):
        (tmp_path / method).mkdir()
        create_clip(tmp_path / method / "a.clip", (np.full((48, 64, 3), value, np.uint8) for value in (50, 200)))
    key = tmp_path / "key.json"
    with exclusive_lock(key), pytest.raises(UsageError, match="key.json is being made by another process"):
        make_study((str(tmp_path / "ours"), str(tmp_path / "theirs")), "", tmp_path / "site", StudyOptions(), key=key)
    assert not (tmp_path / "site").exists() and not key.exists()

"""What killed processes leave is told from what living ones are making."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from stages.errors import UsageError
from stages.io.files import alone, building_directory, building_file, clear_leftovers


def aged(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_the_work_of_a_living_process_stays(tmp_path):
    with building_directory(tmp_path / "x") as folder, building_file(tmp_path / "y") as file:
        clear_leftovers(tmp_path / "x")
        clear_leftovers(tmp_path / "y")
        assert folder.is_dir()
        assert file.is_file()
    assert sorted(os.listdir(tmp_path)) == ["x", "y"]


@pytest.mark.parametrize("name", [".x.12345678.partial", ".x.12345678.partial.new"])
@pytest.mark.parametrize(("age", "stays"), [(1, True), (120, False)])
def test_what_was_not_locked_yet_is_cleared_only_when_it_is_old(name, age, stays, tmp_path):
    if name.endswith(".new"):
        (tmp_path / name).touch()
    else:
        (tmp_path / name).mkdir()
    aged(tmp_path / name, age)

    clear_leftovers(tmp_path / "x")

    assert (tmp_path / name).exists() == stays


def test_only_the_leftovers_of_this_very_target_are_cleared(tmp_path):
    for name in (".xy.12345678.partial", ".x.txt", "x.partial", ".y.12345678.partial"):
        (tmp_path / name).mkdir()
        aged(tmp_path / name, 10_000)

    clear_leftovers(tmp_path / "x")

    assert len(os.listdir(tmp_path)) == 4


def test_a_directory_that_appeared_meanwhile_is_not_replaced(tmp_path):
    from stages.errors import InputError

    with pytest.raises(InputError, match="finished by another process"), building_directory(tmp_path / "x") as folder:
        (folder / "mine").touch()
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "theirs").touch()

    assert os.listdir(tmp_path) == ["x"]
    assert os.listdir(tmp_path / "x") == ["theirs"]


@pytest.mark.parametrize("inside", [False, True])
def test_what_another_process_makes_is_refused_until_it_ends_even_by_kill_9(inside, tmp_path):
    code = f"import pathlib, stages.io.files as f\nwith f.alone(pathlib.Path('x'), inside={inside}):\n print(flush=True)\n input()"
    other = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"\n"
    with pytest.raises(UsageError, match="x is being made by another process"), alone(tmp_path / "x", inside=inside):
        pass
    with alone(tmp_path / "y", inside=inside):
        pass
    other.kill()
    other.communicate()

    with alone(tmp_path / "x", inside=inside):
        pass
    assert os.listdir(tmp_path / "x" if inside else tmp_path) == [], "the lock of the killed process is gone too"


def test_a_folder_that_was_made_for_the_lock_alone_is_not_left(tmp_path):
    with alone(tmp_path / "empty", inside=True), alone(tmp_path / "there" / "file"):
        (tmp_path / "there" / "file").touch()
    assert os.listdir(tmp_path) == ["there"] and os.listdir(tmp_path / "there") == ["file"]


def test_a_place_where_no_lock_can_lie_is_left_to_what_writes_there(tmp_path):
    (tmp_path / "file").touch()
    with alone(tmp_path / "file", inside=True), alone(tmp_path / "file" / "x"):
        pass
    assert os.listdir(tmp_path) == ["file"]

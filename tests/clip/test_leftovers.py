"""Leftovers of killed processes are removed, and unfinished files of running processes are not."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from stages.errors import InputError, UsageError
from stages.io.files import building_directory, building_file, clear_leftovers, exclusive_lock


def set_age(path, seconds):
    """Set the modification time of a file to a number of seconds ago."""
    modified = time.time() - seconds
    os.utime(path, (modified, modified))


def test_unfinished_files_of_a_running_process_stay(tmp_path):
    with building_directory(tmp_path / "x") as folder, building_file(tmp_path / "y") as file:
        clear_leftovers(tmp_path / "x")
        clear_leftovers(tmp_path / "y")
        assert folder.is_dir()
        assert file.is_file()
    assert sorted(os.listdir(tmp_path)) == ["x", "y"]


@pytest.mark.parametrize("name", [".x.12345678.partial", ".x.12345678.partial.new"])
@pytest.mark.parametrize(("age", "stays"), [(1, True), (120, False)])
def test_unfinished_files_without_a_lock_are_removed_only_when_they_are_old(name, age, stays, tmp_path):
    if name.endswith(".new"):
        (tmp_path / name).touch()
    else:
        (tmp_path / name).mkdir()
    set_age(tmp_path / name, age)

    clear_leftovers(tmp_path / "x")

    assert (tmp_path / name).exists() == stays


def test_leftovers_of_other_targets_stay(tmp_path):
    for name in (".xy.12345678.partial", ".x.txt", "x.partial", ".y.12345678.partial"):
        (tmp_path / name).mkdir()
        set_age(tmp_path / name, 10_000)

    clear_leftovers(tmp_path / "x")

    assert len(os.listdir(tmp_path)) == 4


def test_a_directory_that_another_process_finished_meanwhile_is_not_replaced(tmp_path):
    with pytest.raises(InputError, match="finished by another process"), building_directory(tmp_path / "x") as folder:
        (folder / "unfinished").touch()
        (tmp_path / "x").mkdir()
        (tmp_path / "x" / "finished").touch()

    assert os.listdir(tmp_path) == ["x"]
    assert os.listdir(tmp_path / "x") == ["finished"]


@pytest.mark.parametrize("inside", [False, True])
def test_a_lock_is_held_until_its_process_ends_even_by_kill_9(inside, tmp_path):
    code = f"import pathlib, stages.io.files as f\nwith f.exclusive_lock(pathlib.Path('x'), inside={inside}):\n print(flush=True)\n input()"
    other = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"\n"
    with pytest.raises(UsageError, match="x is being made by another process"), exclusive_lock(tmp_path / "x", inside=inside):
        pass
    with exclusive_lock(tmp_path / "y", inside=inside):
        pass
    other.kill()
    other.communicate()

    with exclusive_lock(tmp_path / "x", inside=inside):
        pass
    assert os.listdir(tmp_path / "x" if inside else tmp_path) == [], "the lock of the killed process is gone too"


def test_a_folder_made_only_for_the_lock_is_removed(tmp_path):
    with exclusive_lock(tmp_path / "empty", inside=True), exclusive_lock(tmp_path / "used" / "file"):
        (tmp_path / "used" / "file").touch()
    assert os.listdir(tmp_path) == ["used"] and os.listdir(tmp_path / "used") == ["file"]


def test_a_path_that_cannot_hold_a_lock_is_used_without_one(tmp_path):
    (tmp_path / "file").touch()
    with exclusive_lock(tmp_path / "file", inside=True), exclusive_lock(tmp_path / "file" / "x"):
        pass
    assert os.listdir(tmp_path) == ["file"]

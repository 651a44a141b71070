"""The list of failures loses no input, whenever a run ends."""

from __future__ import annotations

import os

import pytest

from stages.errors import UsageError
from stages.runner import FailureList


@pytest.fixture
def path(tmp_path):
    return tmp_path / "again.txt"


def test_failures_are_written_at_once(path):
    failures = FailureList(path)
    assert path.read_bytes() == b""
    failures.add("a.mp4")
    assert path.read_bytes() == b"a.mp4\n"


def test_the_separator_is_that_of_the_inputs(path):
    failures = FailureList(path, b"\0")
    for name in ("two\nlines.mp4", os.fsdecode(b"\xff.mp4")):
        failures.add(name)
    assert path.read_bytes() == b"two\nlines.mp4\0\xff.mp4\0"


@pytest.mark.parametrize("earlier", ["old.mp4\nolder.mp4\n", "old.mp4\nolder.mp4"], ids=["with a final newline", "without it"])
def test_a_killed_run_keeps_the_earlier_failures_and_its_own(path, earlier):
    path.write_text(earlier)
    FailureList(path).add("new.mp4")
    assert path.read_text() == "old.mp4\nolder.mp4\nnew.mp4\n"


def test_a_completed_run_keeps_only_its_own_failures(path, leftovers):
    path.write_text("old.mp4\n")
    failures = FailureList(path)
    failures.add("new.mp4")
    failures.complete()
    failures.close()
    assert path.read_text() == "new.mp4\n"
    assert leftovers(path.parent) == []


def test_the_list_can_be_read_and_written_by_the_same_run(path):
    path.write_text("a.mp4\nb.mp4\n")
    with path.open() as stdin:
        failures = FailureList(path)
        for line in stdin:
            failures.add(line.rstrip())
        failures.complete()
    assert path.read_text() == "a.mp4\nb.mp4\n"


def test_a_link_stays_a_link(path, tmp_path):
    link = tmp_path / "link.txt"
    link.symlink_to(path)
    FailureList(link).add("a.mp4")
    assert link.is_symlink() and path.read_text() == "a.mp4\n"


def test_the_list_can_be_a_pipe(tmp_path):
    reader, writer = os.pipe()
    failures = FailureList(f"/dev/fd/{writer}")
    failures.add("a.mp4")
    failures.complete()
    failures.close()
    os.close(writer)
    assert os.read(reader, 100) == b"a.mp4\n"
    os.close(reader)


def test_a_list_that_another_run_writes_is_refused(path):
    first = FailureList(path)
    first.add("a.mp4")
    with pytest.raises(UsageError, match="Another run writes its failures to"):
        FailureList(path)
    first.close()
    FailureList(path).add("b.mp4")
    assert path.read_text() == "a.mp4\nb.mp4\n"


def test_a_list_that_cannot_be_written_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(UsageError, match="cannot be written: Is a directory. Name another file"):
        FailureList(tmp_path)

"""For damaged files, readers return a result or raise an error with a message. Long runs: `python tools/fuzz.py --minutes 60`."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import fuzz as tool
import pytest
from fuzz_mutations import mutate
from fuzz_readers import READERS

from stages.errors import InputError

SLOW = ("clip", "clip of a video", "packed clip", "masks", "model", "finetuned model", "small network", "run", "partial result")
"""Readers that take more than a few milliseconds."""


@pytest.mark.parametrize("name", READERS)
def test_readers_have_no_faults_on_damaged_files(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "HANG", 30.0)  # other tests may run at the same time
    reads = 12 if name in SLOW else 40
    result = tool.fuzz(READERS[name], seconds=60, reads=reads, seed=3)
    assert list(result.faults) == [] and result.reads == reads
    assert result.refused or name == "list of paths", "some damaged files are refused"


def crash(folder: Path) -> None:
    raise KeyError("name")


def warn(folder: Path) -> None:
    warnings.warn("overflow encountered", RuntimeWarning, stacklevel=1)


def die(folder: Path) -> None:
    os.abort()


def exit_early(folder: Path) -> None:
    os._exit(7)


def use_memory(folder: Path) -> None:
    bytearray(tool.MEMORY * 4)  # a forked process may release memory that it inherited


def allocate_memory(folder: Path) -> None:
    try:
        bytearray(2 * tool.ADDRESSES)
    except MemoryError as error:
        raise InputError("it is too large") from error


def write_elsewhere(folder: Path) -> None:
    (folder.parent / "elsewhere").write_text("!")


def write_to_tmp(folder: Path) -> None:
    with open("/tmp/fsv2v-fuzz-test", "w"):
        pass
    os.remove("/tmp/fsv2v-fuzz-test")


def spawn_a_writer(folder: Path) -> None:
    """Python's audit hooks do not report the files of other processes."""
    subprocess.run(["touch", folder.parent / "beside"], check=True)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (crash, "KeyError"),
        (warn, "RuntimeWarning"),
        (die, "died of SIGABRT"),
        (exit_early, "exited with code 7"),
        (use_memory, "took more than 128 MiB"),
        (allocate_memory, "tried to allocate more than 4096 MiB"),
        (write_elsewhere, "/elsewhere"),
        (write_to_tmp, "outside its folder: ['/tmp/fsv2v-fuzz-test']"),
        (spawn_a_writer, "outside its folder: ['beside']"),
    ],
)
def test_a_fault_is_reported_with_the_file_that_caused_it(
    read: Callable[[Path], None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "MEMORY", 128 << 20)

    def read_damaged(folder: Path) -> None:
        if (folder / "a").read_bytes() != b"abc":
            read(folder)

    result = tool.fuzz(tool.Reader(lambda folder: {"a": b"abc"}, read_damaged), seconds=60, reads=3, seed=1)
    ((fault, files),) = result.faults.items()
    assert message in fault and list(files) == ["a"] and files["a"] != b"abc"
    assert result.reads == 3, "the other files are read, too"


def sleep(folder: Path) -> None:
    time.sleep(5)


def hang_with_blocked_signals(folder: Path) -> None:
    """Like a loop in C code, it is not interrupted by SIGALRM and ends only with the process."""
    tool.signal.pthread_sigmask(tool.signal.SIG_BLOCK, [tool.signal.SIGALRM])
    time.sleep(60)


@pytest.mark.parametrize("read", [sleep, hang_with_blocked_signals])
def test_a_read_that_hangs_is_a_fault(read: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> None:
    def read_damaged(folder: Path) -> None:
        if (folder / "a").read_bytes() != b"abc":
            read(folder)

    monkeypatch.setattr(tool, "HANG", 0.2)
    result = tool.fuzz(tool.Reader(lambda folder: {"a": b"abc"}, read_damaged), seconds=60, reads=1, seed=1)
    assert list(result.faults) == ["took longer than 0.2 s"] and result.reads == 1


def test_a_reader_that_fails_on_valid_files_is_a_fault() -> None:
    result = tool.fuzz(tool.Reader(lambda folder: {"a": b"abc"}, crash), seconds=60, reads=5)
    assert result.reads == 0 and any("the valid files: KeyError" in fault for fault in result.faults)


@pytest.mark.parametrize("name", READERS)
def test_the_same_seed_makes_the_same_mutations(name: str, tmp_path: Path) -> None:
    content = max(READERS[name].valid_files(tmp_path / "valid").items())[1]
    one, other = ([mutate(content, draw) for _ in range(10)] for draw in (random.Random(1), random.Random(1)))
    assert one == other and len(set(one)) > 5


def test_the_tool_prints_reads_faults_and_seconds_of_each_reader(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "--minutes", "1", "--reads", "20", "--reader", "flo", "--reader", "subjects"])
    with pytest.raises(SystemExit) as caught:
        tool.main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["reader", "reads", "refused", "faults", "seconds"]
    assert [(line[0], line[1], line[3]) for line in lines[1:]] == [("flo", "20", "0"), ("subjects", "20", "0")] and caught.value.code == 0

"""Damaged files of strangers: every reader answers with a result or a sentence. Long runs: `python tools/fuzz.py --minutes 60`."""

from __future__ import annotations

import importlib.util
import random
import sys
import time
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[1] / "tools" / "fuzz.py"
specification = importlib.util.spec_from_file_location("fuzz_tool", TOOL)
assert specification and specification.loader
tool = importlib.util.module_from_spec(specification)
sys.modules["fuzz_tool"] = tool
specification.loader.exec_module(tool)


@pytest.mark.parametrize("name", tool.READERS)
def test_a_reader_answers_damage_with_a_sentence(name: str) -> None:
    result = tool.fuzz(tool.READERS[name], seconds=60, reads=60, seed=3)
    assert list(result.faults) == [] and result.reads == 60
    assert result.refused > 5, "the damage is noticed"


@pytest.mark.parametrize("name", tool.READERS)
def test_what_mutations_start_from_is_sound(name: str, tmp_path: Path) -> None:
    reader = tool.READERS[name]
    for path, content in reader.sound(tmp_path / "made").items():
        (tmp_path / "read" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "read" / path).write_bytes(content)
    reader.read(tmp_path / "read")


def crash(folder: Path) -> None:
    raise KeyError("name")


def swallow_memory(folder: Path) -> None:
    bytearray(2 * tool.MEMORY)


def escape(folder: Path) -> None:
    (folder.parent / "elsewhere").write_text("!")


@pytest.mark.parametrize(
    ("read", "says"), [(crash, "KeyError"), (swallow_memory, "MemoryError"), (escape, "outside its folder: ['elsewhere']")]
)
def test_a_fault_is_reported_with_the_file_that_made_it(read, says: str) -> None:
    result = tool.fuzz(tool.Reader(lambda folder: {"a": b"abc"}, read), seconds=60, reads=5)
    ((fault, files),) = result.faults.items()
    assert says in fault and list(files) == ["a"]


def test_a_read_that_hangs_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tool, "HANG", 0.2)
    result = tool.fuzz(tool.Reader(lambda folder: {"a": b"abc"}, lambda folder: time.sleep(5)), seconds=60, reads=1)
    assert list(result.faults) == ["took longer than 0.2 s"]


def test_the_same_seed_makes_the_same_damage() -> None:
    one, other = ([tool.mutated(b'{"a": [1, 2, {"b": "c"}]}', draw) for _ in range(50)] for draw in (random.Random(1), random.Random(1)))
    assert one == other and len(set(one)) > 40

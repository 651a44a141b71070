"""fsv2v doctor reports which parts can be used on this machine, and how to get the missing ones."""

from __future__ import annotations

import json

import pytest

from stages.backends import every_backend
from weights import registry


@pytest.fixture(scope="module")
def findings(fsv2v):
    result = fsv2v("doctor", "--json")
    return result.exit_code, {record["what"]: record for record in map(json.loads, result.lines)}


def test_every_package_file_and_backend_is_checked(findings):
    _, records = findings
    assert {"python", "ffmpeg", "torch", "engine ray"} <= set(records)
    assert {f"weights {name}" for name in registry.manifest()} <= set(records)
    assert {f"{kind} backend {backend.name}" for kind, backend in every_backend()} <= set(records)


def test_every_missing_part_has_a_remedy(findings):
    _, records = findings
    assert all(record["ok"] or record["remedy"] for record in records.values())


def test_the_exit_code_is_0_when_all_required_parts_are_present(findings):
    exit_code, records = findings
    assert exit_code == (4 if any(record["required"] and not record["ok"] for record in records.values()) else 0)


def test_absent_weights_are_listed_with_the_command_that_fetches_them(fsv2v, tmp_path):
    result = fsv2v("doctor", env={"FSV2V_WEIGHTS": str(tmp_path), "FSV2V_WEIGHTS_MIRROR": ""})
    (line,) = [line for line in result.lines if line.split()[1:3] == ["weights", "face_landmarker.task"]]
    assert line.startswith("absent") and line.endswith("-> fsv2v weights fetch face_landmarker.task")
    (line,) = [line for line in result.lines if "landmarks backend mediapipe" in line]
    assert line.endswith("-> fsv2v weights fetch face_landmarker.task")


def test_a_missing_ffmpeg_gives_exit_code_4(fsv2v, tmp_path):
    (tmp_path / "imageio_ffmpeg.py").write_text("raise ImportError('not installed')\n")
    result = fsv2v("doctor", env={"PATH": "/nonexistent", "PYTHONPATH": f"{tmp_path}:{registry.SHIPPED.parent}"})
    assert result.exit_code == 4
    (line,) = [line for line in result.lines if " ffmpeg " in line]
    assert line.startswith("MISSING") and "pip install imageio-ffmpeg" in line

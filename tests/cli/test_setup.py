"""The set-up scripts report in a sentence what a machine lacks. Other tests show that they work."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run_tests_with(tmp_path):
    """run(script): runs `bash tests/run.sh` without a .venv, with a shell script in place of Python."""

    def run(script: str) -> subprocess.CompletedProcess[str]:
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\n{script}\n")
        python.chmod(0o755)
        env = {**os.environ, "PYTHON": str(python), "FSV2V_VENV": str(tmp_path / "venv")}
        return subprocess.run(["bash", ROOT / "tests" / "run.sh"], env=env, capture_output=True, text=True, check=False)

    return run


def test_an_old_python_is_refused(run_tests_with):
    result = run_tests_with("exit 1")
    assert result.returncode == 4
    assert "Python 3.10 or newer is needed" in result.stderr and "PYTHON=" in result.stderr


def test_a_python_without_venv_is_refused(run_tests_with):
    result = run_tests_with('case "$2" in *ensurepip*) exit 1;; esac')
    assert result.returncode == 4
    assert "lacks its venv module" in result.stderr and "apt-get install python3-venv" in result.stderr


def test_ci_runs_the_command_of_the_readme():
    assert "bash tests/run.sh" in (ROOT / ".ci" / "run").read_text()
    assert "bash tests/run.sh" in (ROOT / "README.md").read_text()

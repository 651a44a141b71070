"""Unusual environments: a read-only home folder, decimal commas, few file descriptors, stdout on a full disk."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fsv2v_cli.console import emit
from stages.clip import create_clip

LOCALE = "de_DE.ISO-8859-1"


@pytest.fixture(scope="module")
def unusual_environment(tmp_path_factory) -> dict[str, str]:
    """Environment variables: no home folder, spaces in TMPDIR, Python without `assert`, a locale with decimal commas and without UTF-8."""
    folder = tmp_path_factory.mktemp("unusual_environment")
    (folder / "a b c").mkdir()
    variables = {"HOME": "/proc", "TMPDIR": str(folder / "a b c"), "PYTHONOPTIMIZE": "1"}
    variables |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    if shutil.which("localedef") and Path("/usr/share/i18n/locales/de_DE").exists():
        subprocess.run(["localedef", "-i", "de_DE", "-f", "ISO-8859-1", folder / LOCALE], check=True, capture_output=True)
        use_locale = (
            "import locale\nlocale.setlocale(locale.LC_ALL, '')\nif locale.localeconv()['decimal_point'] != ',':\n    raise SystemExit(9)\n"
        )
        (folder / "sitecustomize.py").write_text(use_locale)
        path = os.pathsep.join([str(folder), str(Path(__file__).parent.parent)])
        variables |= {"LOCPATH": str(folder), "LC_ALL": LOCALE, "PYTHONPATH": path}
    return variables


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))


@pytest.mark.parametrize(
    "command",
    [
        ["clip", "flow", "{face}", "-o", "{out}"],
        ["evaluate", "{face}", "-r", "{face}", "--metric", "ssim", "--json", "-o", "{out}/part.npz"],
        ["clip", "import", "{face}", "--frames", "png", "-o", "{out}/fäce.clip"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_results_do_not_depend_on_the_environment(command, unusual_environment, fsv2v, content, face_video, tmp_path):
    def result(out: Path, **options) -> tuple[list[str], dict[str, bytes]]:
        process = fsv2v.start(*(part.format(face=face_video, out=out) for part in command), **options)
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr.decode(errors="replace")
        files = {name: data for name, data in content(out).items() if not name.endswith("clip.json")}
        return os.fsdecode(stdout).replace(str(out), "").splitlines(), files

    usual = result(tmp_path / "usual")
    assert result(tmp_path / "unusual_environment", env=unusual_environment, preexec_fn=few_descriptors, start_new_session=True) == usual
    assert usual[0] and usual[1]


@pytest.fixture
def small_clip(tmp_path) -> Path:
    return create_clip(tmp_path / "a.clip", [np.zeros((48, 64, 3), np.uint8)]).path


@pytest.mark.parametrize("command", [["clip", "info", "{clip}"], ["--help"]], ids=" ".join)
def test_stdout_on_a_full_disk_is_reported_in_a_sentence(command, fsv2v, small_clip):
    with open("/dev/full", "wb") as full:
        process = fsv2v.start(*(part.format(clip=small_clip) for part in command), stdout=full)
        _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr.count(b"\n")) == (3, 1)
    assert b"No space left on device" in stderr and b"unexpected" not in stderr


def test_stderr_on_a_full_disk_does_not_change_the_exit_code(fsv2v, tmp_path):
    with open("/dev/full", "wb") as full:
        process = fsv2v.start("clip", "info", tmp_path / "absent.clip", stderr=full)
        process.communicate(timeout=60)
    assert process.returncode == 3


def test_a_missing_folder_for_temporary_files_is_reported(fsv2v, face_video, tmp_path):
    def nothing_can_be_written() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    process = fsv2v.start("clip", "preview", face_video, "-o", tmp_path / "out", preexec_fn=nothing_can_be_written, start_new_session=True)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 3
    assert b"No usable temporary directory" in stderr and b"unexpected" not in stderr


def test_numbers_that_are_not_finite_are_null_in_json(capfdbinary):
    emit({"values": [1.5, float("nan")], "interval": (float("-inf"), 2), "deep": {"value": np.float64("inf")}})

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    record = json.loads(capfdbinary.readouterr().out, parse_constant=refuse)
    assert record == {"values": [1.5, None], "interval": [None, 2], "deep": {"value": None}}

"""Backends and metrics of other packages: written, installed by pip, and then used by the commands like fsv2v's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from stages import plugins
from stages.backends import Backend, Backends
from stages.clip import open_clip
from stages.errors import MissingRequirement
from stages.evaluate import metric_names

ROOT = Path(__file__).resolve().parent.parent

THEIRS = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "their-faces"
version = "1.0"
[tool.setuptools]
py-modules = ["their_faces"]
[project.entry-points."fsv2v.backends"]
"landmarks.grid" = "their_faces:BACKEND"
"landmarks.dlib" = "their_faces:BACKEND"
[project.entry-points."fsv2v.metrics"]
brightening = "their_faces:METRIC"
""",
    "their_faces.py": """
import numpy as np
from stages.backends import Backend
from stages.evaluate import Metric
from stages.tracking.tracker import Subject, box_of_points

GRID = np.array([(60 + 2 * (i % 17), 50 + 8 * (i // 17), 1) for i in range(68)], np.float32)

def open_metric(context):
    return lambda reference, candidates: [float(c.mean() - reference.mean()) for c in candidates]

BACKEND = Backend("any name", "a face of 17 x 4 points", lambda device: lambda frame: [Subject(box_of_points(GRID), GRID)])
METRIC = Metric("brightening", "how much brighter the result is", "grey levels", "lower", open_metric)
""",
}
BROKEN = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "broken-things"
version = "1.0"
[tool.setuptools]
py-modules = ["broken_things"]
[project.entry-points."fsv2v.backends"]
"landmarks.broken" = "broken_things:BACKEND"
[project.entry-points."fsv2v.metrics"]
unfinished = "broken_things:METRIC"
shapeless = "json:dumps"
""",
    "broken_things.py": "import a_package_that_is_not_installed\n",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both packages, as pip installs them."""
    folder = tmp_path_factory.mktemp("packages")
    for package, files in (("theirs", THEIRS), ("broken", BROKEN)):
        (folder / package).mkdir()
        for name, text in files.items():
            (folder / package / name).write_text(text)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    install = [sys.executable, "-m", "pip", "install", *options, "--target"]
    subprocess.run([*install, *(folder / name for name in ("site", "theirs", "broken"))], check=True)
    return folder / "site"


@pytest.fixture
def installed(site, monkeypatch):
    """Both packages can be imported by this process."""
    monkeypatch.syspath_prepend(str(site))
    plugins._warn_once.cache_clear()
    yield
    sys.modules.pop("their_faces", None)


@pytest.fixture
def environment(site) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}


def test_help_lists_their_backends_and_imports_none(fsv2v, environment):
    shown = fsv2v("extract-sketch", "--help", env=environment)
    assert shown.exit_code == 0 and "[auto|broken|dlib|face-alignment|grid|mediapipe]" in shown.stdout


def test_their_backend_makes_a_layer(fsv2v, environment, face_video, tmp_path):
    made = fsv2v("extract-sketch", face_video, "--backend", "grid", "--smoothing", 0, "-o", tmp_path / "face.clip", env=environment)
    assert made.exit_code == 0, made.stderr
    layer = open_clip(tmp_path / "face.clip").layer("landmarks")
    grid = [(60 + 2 * (i % 17), 50 + 8 * (i // 17), 1) for i in range(68)]
    assert layer.meta["producer"]["backend"] == "grid"
    assert (layer.arrays()["points"] == np.array(grid, np.float32)).all()


def test_their_metric_is_one_of_evaluates_and_a_broken_package_is_one_warning(fsv2v, environment, tmp_path):
    grey = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3) // 2
    cv2.imwrite(str(tmp_path / "truth.png"), grey)
    cv2.imwrite(str(tmp_path / "brighter.png"), grey + 7)
    metrics = ("--metric", "brightening", "--metric", "psnr")
    shown = fsv2v("evaluate", tmp_path / "brighter.png", "-r", tmp_path / "truth.png", *metrics, "--json", env=environment)
    assert shown.exit_code == 0, shown.stderr
    values = {row["metric"]: row["value"] for row in map(json.loads, shown.lines)}
    assert values["brightening"] == 7 and values["psnr"] == pytest.approx(20 * np.log10(255 / 7))
    broken = [line for line in shown.stderr.splitlines() if "unfinished" in line]
    assert broken == [
        "fsv2v: warning: unfinished (fsv2v.metrics) of the package broken-things cannot be loaded: "
        "ModuleNotFoundError: No module named 'a_package_that_is_not_installed'"
    ]
    assert "shapeless (fsv2v.metrics) of the package broken-things cannot be used: json:dumps is no Metric or Distribution" in shown.stderr


@pytest.mark.parametrize(
    "arguments", [["extract-sketch", "x.mp4", "--backend", "broken"], ["evaluate", "x.png", "-r", "x.png", "--metric", "unfinished"]]
)
def test_a_broken_one_that_is_asked_for_is_an_error_that_names_its_package(fsv2v, environment, face_video, tmp_path, arguments):
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "x.mp4").symlink_to(face_video)
    shown = fsv2v(*arguments, cwd=tmp_path, env=environment)
    assert shown.exit_code == 4
    (line,) = [line for line in shown.stderr.splitlines() if line.startswith("fsv2v: error: ")]
    assert "of the package broken-things cannot be loaded: ModuleNotFoundError" in line


def test_a_broken_backend_hides_no_other(installed, caplog):
    names = [backend.name for backend in Backends("landmarks").every()]
    assert names == ["dlib", "face-alignment", "grid", "mediapipe"] == [backend.name for backend in Backends("landmarks").every()]
    assert Backends("poses").names() == ["mediapipe", "rtmlib", "small"]
    assert sorted(record.getMessage().partition(":")[0] for record in caplog.records) == [
        "landmarks.broken (fsv2v.backends) of the package broken-things cannot be loaded",
        "landmarks.dlib (fsv2v.backends) of the package their-faces is ignored",
    ]


def test_their_metric_is_taken_by_default(installed):
    assert metric_names()[-2:] == ["warping-error", "brightening"]


def test_a_name_of_fsv2vs_own_stays_fsv2vs_own(installed):
    assert Backends("landmarks").get("dlib").weights == ("face_68_fsv2v.dat",)


def test_what_is_no_backend_is_refused(installed):
    (entry,) = (entry for name, entry in plugins.find_entry_points("fsv2v.metrics").items() if name == "shapeless")
    with pytest.raises(MissingRequirement, match="of the package broken-things cannot be used: json:dumps is no Backend"):
        plugins.load(entry, Backend)

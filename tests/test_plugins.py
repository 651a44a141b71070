"""Backends and metrics of other packages, which are installed by pip and used by the commands."""

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

WORKING_PACKAGE = {
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
BROKEN_PACKAGE = {
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
wrong-type = "json:dumps"
""",
    "broken_things.py": "import a_package_that_is_not_installed\n",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which pip has installed both packages."""
    folder = tmp_path_factory.mktemp("packages")
    for package, files in (("working", WORKING_PACKAGE), ("broken", BROKEN_PACKAGE)):
        (folder / package).mkdir()
        for name, text in files.items():
            (folder / package / name).write_text(text)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    install = [sys.executable, "-m", "pip", "install", *options, "--target"]
    subprocess.run([*install, *(folder / name for name in ("site", "working", "broken"))], check=True)
    return folder / "site"


@pytest.fixture
def plugins_on_path(site, monkeypatch):
    """Makes both packages importable."""
    monkeypatch.syspath_prepend(str(site))
    plugins._warn_once.cache_clear()
    yield
    sys.modules.pop("their_faces", None)


@pytest.fixture
def environment(site) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}


def test_help_lists_backends_of_plugins_without_importing_them(fsv2v, environment):
    result = fsv2v("extract-sketch", "--help", env=environment)
    assert result.exit_code == 0 and "[auto|broken|dlib|face-alignment|grid|mediapipe]" in result.stdout


def test_a_backend_of_a_plugin_extracts_a_layer(fsv2v, environment, face_video, tmp_path):
    result = fsv2v("extract-sketch", face_video, "--backend", "grid", "--smoothing", 0, "-o", tmp_path / "face.clip", env=environment)
    assert result.exit_code == 0, result.stderr
    layer = open_clip(tmp_path / "face.clip").layer("landmarks")
    grid = [(60 + 2 * (i % 17), 50 + 8 * (i // 17), 1) for i in range(68)]
    assert layer.meta["producer"]["backend"] == "grid"
    assert (layer.arrays()["points"] == np.array(grid, np.float32)).all()


def test_evaluate_uses_metrics_of_plugins_and_warns_once_of_a_broken_package(fsv2v, environment, tmp_path):
    grey = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3) // 2
    cv2.imwrite(str(tmp_path / "truth.png"), grey)
    cv2.imwrite(str(tmp_path / "brighter.png"), grey + 7)
    metrics = ("--metric", "brightening", "--metric", "psnr")
    result = fsv2v("evaluate", tmp_path / "brighter.png", "-r", tmp_path / "truth.png", *metrics, "--json", env=environment)
    assert result.exit_code == 0, result.stderr
    values = {row["metric"]: row["value"] for row in map(json.loads, result.lines)}
    assert values["brightening"] == 7 and values["psnr"] == pytest.approx(20 * np.log10(255 / 7))
    broken = [line for line in result.stderr.splitlines() if "unfinished" in line]
    assert broken == [
        "fsv2v: warning: unfinished (fsv2v.metrics) of the package broken-things cannot be loaded: "
        "ModuleNotFoundError: No module named 'a_package_that_is_not_installed'"
    ]
    assert (
        "wrong-type (fsv2v.metrics) of the package broken-things cannot be used: json:dumps is no Metric or Distribution" in result.stderr
    )


@pytest.mark.parametrize(
    "arguments", [["extract-sketch", "x.mp4", "--backend", "broken"], ["evaluate", "x.png", "-r", "x.png", "--metric", "unfinished"]]
)
def test_a_broken_plugin_that_is_named_is_an_error_with_the_name_of_its_package(fsv2v, environment, face_video, tmp_path, arguments):
    cv2.imwrite(str(tmp_path / "x.png"), np.zeros((64, 64, 3), np.uint8))
    (tmp_path / "x.mp4").symlink_to(face_video)
    result = fsv2v(*arguments, cwd=tmp_path, env=environment)
    assert result.exit_code == 4
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("fsv2v: error: ")]
    assert "of the package broken-things cannot be loaded: ModuleNotFoundError" in line


def test_a_broken_backend_does_not_hide_others(plugins_on_path, caplog):
    names = [backend.name for backend in Backends("landmarks").every()]
    assert names == ["dlib", "face-alignment", "grid", "mediapipe"] == [backend.name for backend in Backends("landmarks").every()]
    assert Backends("poses").names() == ["mediapipe", "rtmlib", "small"]
    assert sorted(record.getMessage().partition(":")[0] for record in caplog.records) == [
        "landmarks.broken (fsv2v.backends) of the package broken-things cannot be loaded",
        "landmarks.dlib (fsv2v.backends) of the package their-faces is ignored",
    ]


def test_metrics_of_plugins_are_used_by_default(plugins_on_path):
    assert metric_names()[-2:] == ["warping-error", "brightening"]


def test_a_plugin_cannot_replace_a_backend_of_fsv2v(plugins_on_path):
    assert Backends("landmarks").get("dlib").weights == ("face_68_fsv2v.dat",)


def test_an_object_that_is_not_a_backend_is_refused(plugins_on_path):
    (entry,) = (entry for name, entry in plugins.find_entry_points("fsv2v.metrics").items() if name == "wrong-type")
    with pytest.raises(MissingRequirement, match="of the package broken-things cannot be used: json:dumps is no Backend"):
        plugins.load(entry, Backend)

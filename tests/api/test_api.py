"""The Python interface with paths, clips and arrays, and the examples of README.md and docs/python.md."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

import fsv2v
from stages import errors
from stages.clip import Clip, open_clip
from stages.models import save_model
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator

README = Path(__file__).resolve().parents[2] / "README.md"
PYTHON_PAGE = README.parent / "docs" / "python.md"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> fsv2v.Model:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, FewShotGenerator(PRESETS["tiny"]).state_dict(), PRESETS["tiny"], {"step": 0})
    return fsv2v.load_model(path)


@pytest.fixture(scope="module")
def person(tmp_path_factory, make_painted_clip) -> Clip:
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "person.clip", 0, num_frames=6))


@pytest.fixture(scope="module")
def driver(tmp_path_factory, make_painted_clip) -> Clip:
    return open_clip(make_painted_clip(tmp_path_factory.mktemp("clips") / "driver.clip", 1, num_frames=5))


def test_importing_fsv2v_loads_no_heavy_package():
    code = "import sys, fsv2v; print(fsv2v.__version__, [m for m in ('torch', 'cv2', 'numpy', 'click') if m in sys.modules], dir(fsv2v)[0])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split(maxsplit=1)[1].startswith("[]")


def test_every_public_name_exists_and_is_documented():
    for name in fsv2v.__all__:
        assert getattr(fsv2v, name) is not None
    assert all(getattr(fsv2v, name).__doc__ for name in fsv2v.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fsv2v.nothing  # noqa: B018


def test_the_iterator_yields_the_frames_that_are_otherwise_written(model, person, driver, tmp_path):
    frames = [*fsv2v.synthesize(person, driver, model=model, device="cpu", normalize="off")]
    assert len(frames) == 5 and frames[0].shape == (64, 64, 3) and frames[0].dtype == np.uint8
    outcome = fsv2v.synthesize(person.path, str(driver.path), tmp_path / "out.clip", model=model, device="cpu", normalize="off")
    assert outcome.status == "done"
    assert np.array_equal(np.stack(frames), np.stack([*open_clip(tmp_path / "out.clip").frames()]))


def test_examples_may_come_from_several_sources(model, person, driver):
    from_one = next(fsv2v.synthesize(person, driver, model=model, device="cpu", num_examples=1))
    from_both = next(fsv2v.synthesize([person, driver], driver, model=model, device="cpu", num_examples=1))
    assert not np.array_equal(from_one, from_both)


def test_arrays_become_clips(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 24, 3), np.uint8)
    clip = fsv2v.open_clip(frames, tmp_path / "noise.clip", fps=30)
    assert np.array_equal(np.stack([*clip.frames()]), frames) and clip.fps == 30
    with pytest.raises(fsv2v.Error, match="needs a path"):
        fsv2v.open_clip(frames)
    with pytest.raises(fsv2v.Error, match="uint8"):
        fsv2v.open_clip(cast("Any", frames / 255), tmp_path / "floats.clip")


def test_a_reporter_receives_the_progress(model, person, driver, tmp_path):
    class ProgressReporter(fsv2v.Reporter):
        steps: list[tuple[int, int]] = []

        def progress(self, done: int, total: int, **figures: float) -> None:
            self.steps.append((done, total))

    fsv2v.synthesize(person, driver, tmp_path / "out.mp4", model=model, device="cpu", reporter=ProgressReporter())
    assert ProgressReporter.steps == [(n, 5) for n in range(1, 6)]


def test_a_dataset_is_built_a_model_trained_finetuned_and_evaluated(person, driver, tmp_path):
    reports = fsv2v.build_dataset([person, driver], tmp_path / "faces", size=64, min_frames=4, held_out=("driver",))
    assert [report.status for report in reports] == ["done", "done"]
    snapshot = fsv2v.train(tmp_path / "faces", tmp_path / "run", preset="tiny", steps=2, perceptual="none", device="cpu")
    finetuned = fsv2v.finetune(person, tmp_path / "finetuned.safetensors", model=snapshot, steps=1, perceptual="none", device="cpu")
    outcome = fsv2v.synthesize(person, driver, tmp_path / "out.clip", model=finetuned, device="cpu", normalize="off")
    (score,) = (s for s in fsv2v.evaluate(outcome.path, driver, metrics=["psnr"]) if s.clips == 1)
    assert score.metric == "psnr" and score.value is not None and score.value > 0


def test_the_example_of_the_readme_runs(make_face_video, tmp_path):
    from skimage.data import astronaut
    from skimage.io import imsave

    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    imsave(tmp_path / "portrait.jpg", astronaut()[:300, 80:380])
    make_face_video(tmp_path / "talk.mp4", 3)
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["(300, 300, 3)"] * 3, "the size of the portrait"
    assert (tmp_path / "out.mp4").stat().st_size > 1000


def test_the_example_of_errors_prints_what_its_comments_say(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PYTHON_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"# (.*)", code)


def test_the_table_of_errors_lists_every_class_with_its_exit_code():
    rows = re.findall(r"^\| `(\w+)` \| .* \| (\d) \|$", PYTHON_PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, fsv2v.Error)]
    expected = {error.__name__: error.exit_code for error in classes if error is not fsv2v.Error}
    assert {name: int(code) for name, code in rows} == expected

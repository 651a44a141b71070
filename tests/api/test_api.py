"""The Python interface: on paths, on clips and on arrays, as the README shows it."""

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
PAGE = README.parent / "docs" / "python.md"


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


def test_importing_it_loads_no_heavy_package():
    code = "import sys, fsv2v; print(fsv2v.__version__, [m for m in ('torch', 'cv2', 'numpy', 'click') if m in sys.modules], dir(fsv2v)[0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split(maxsplit=1)[1].startswith("[]")


def test_every_public_name_is_there_and_documented():
    for name in fsv2v.__all__:
        assert getattr(fsv2v, name) is not None
    assert all(getattr(fsv2v, name).__doc__ for name in fsv2v.__all__ if name != "__version__")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fsv2v.nothing  # noqa: B018


def test_frames_come_as_an_iterator_and_are_those_that_are_written(model, person, driver, tmp_path):
    frames = [*fsv2v.synthesize(person, driver, model=model, device="cpu", normalize="off")]
    assert len(frames) == 5 and frames[0].shape == (64, 64, 3) and frames[0].dtype == np.uint8
    outcome = fsv2v.synthesize(person.path, str(driver.path), tmp_path / "out.clip", model=model, device="cpu", normalize="off")
    assert outcome.status == "done"
    assert np.array_equal(np.stack(frames), np.stack([*open_clip(tmp_path / "out.clip").frames()]))


def test_several_sources_are_examples_together(model, person, driver):
    alone = next(fsv2v.synthesize(person, driver, model=model, device="cpu", num_examples=1))
    both = next(fsv2v.synthesize([person, driver], driver, model=model, device="cpu", num_examples=1))
    assert not np.array_equal(alone, both)


def test_arrays_become_clips(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 24, 3), np.uint8)
    clip = fsv2v.open_clip(frames, tmp_path / "noise.clip", fps=30)
    assert np.array_equal(np.stack([*clip.frames()]), frames) and clip.fps == 30
    with pytest.raises(fsv2v.Error, match="needs a path"):
        fsv2v.open_clip(frames)
    with pytest.raises(fsv2v.Error, match="uint8"):
        fsv2v.open_clip(cast("Any", frames / 255), tmp_path / "floats.clip")


def test_a_reporter_is_told_of_notes_and_progress(model, person, driver, tmp_path):
    class Collected(fsv2v.Reporter):
        steps: list[tuple[int, int]] = []

        def progress(self, done: int, total: int, **figures: float) -> None:
            self.steps.append((done, total))

    fsv2v.synthesize(person, driver, tmp_path / "out.mp4", model=model, device="cpu", reporter=Collected())
    assert Collected.steps == [(n, 5) for n in range(1, 6)]


def test_a_dataset_a_training_and_an_evaluation(person, driver, tmp_path):
    reports = fsv2v.build_dataset([person, driver], tmp_path / "faces", size=64, min_frames=4, held_out=("driver",))
    assert [report.status for report in reports] == ["done", "done"]
    snapshot = fsv2v.train(tmp_path / "faces", tmp_path / "run", preset="tiny", steps=2, perceptual="none", device="cpu")
    adapted = fsv2v.finetune(person, tmp_path / "adapted.safetensors", model=snapshot, steps=1, perceptual="none", device="cpu")
    made = fsv2v.synthesize(person, driver, tmp_path / "out.clip", model=adapted, device="cpu", normalize="off")
    (score,) = (s for s in fsv2v.evaluate(made.path, driver, metrics=["psnr"]) if s.clips == 1)
    assert score.metric == "psnr" and score.value is not None and score.value > 0


def test_the_lines_of_the_readme_run(make_face_video, tmp_path):
    """As printed; the portrait and the video lie where the lines say."""
    from skimage.data import astronaut
    from skimage.io import imsave

    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    imsave(tmp_path / "portrait.jpg", astronaut()[:300, 80:380])
    make_face_video(tmp_path / "talk.mp4", 3)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["(300, 300, 3)"] * 3, "the whole portrait"
    assert (tmp_path / "out.mp4").stat().st_size > 1000


def test_the_lines_about_errors_run(tmp_path, monkeypatch, capsys):
    """Each line prints what its comment says."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"# (.*)", code)


def test_the_table_of_errors_is_that_of_the_classes():
    rows = re.findall(r"^\| `(\w+)` \| .* \| (\d) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, fsv2v.Error) and kind is not fsv2v.Error]
    assert {name: int(code) for name, code in rows} == {kind.__name__: kind.exit_code for kind in kinds}

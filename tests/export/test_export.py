"""fsv2v export: the ONNX files make the frames of the model, export.json suffices to run them, and other models are refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import skimage.data
import torch
from PIL import Image
from torch.torch_version import TorchVersion

import fsv2v
from fsv2v_cli.main import run
from stages.clip import open_clip
from stages.conditions.framing import frame_of
from stages.export import check, tracing
from stages.models import save_model
from stages.models.bases import describe_base
from stages.models.files import save_delta
from stages.networks.families import build, presets
from stages.networks.fewshot.config import PRESETS
from stages.networks.fewshot.generator import FewShotGenerator
from stages.synthesize.driving import Driving

ROOT = Path(__file__).parents[2]
TINY = PRESETS["tiny"]
VARIANTS = {
    "face": replace(TINY, motion="keypoints", warp_all=True),
    "body, compact attention": replace(
        TINY, kind="poses", semantic_channels=3, motion="keypoints", warp_all=True, attention="compact", bases=8, size=(64, 32)
    ),
    "street with instances": replace(TINY, kind="segment", semantic_channels=5, motion="keypoints", instances=2),
    "paper": PRESETS["tiny-paper"],
    "no warped example": replace(TINY, warp_example=False, combine="matting", guided_levels=0),
}


def save(path: Path, config: Any) -> Path:
    torch.manual_seed(0)
    save_model(path, build(config).state_dict(), config, {"step": 1})
    return path


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "tiny.safetensors", TINY)


@pytest.fixture(scope="module")
def exported_tiny(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    return fsv2v.export_model(tiny, tmp_path_factory.mktemp("export") / "tiny").path


@pytest.fixture
def exported(exported_tiny: Path, tmp_path: Path) -> Path:
    """A copy of the exported model `tiny`, which a test may change."""
    return shutil.copytree(exported_tiny, tmp_path / "out")


@pytest.fixture
def without_solve(monkeypatch):
    """Export linear systems as torch.linalg.solve_ex, which ONNX lacks. Models with motion from keypoints need it."""
    replaced = tracing.TraceableOperations.__torch_function__

    def keep_solve(mode, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {})) if func is torch.linalg.solve_ex else replaced(mode, func, types, args, kwargs)

    monkeypatch.setattr(tracing.TraceableOperations, "__torch_function__", keep_solve)


def make_frames(folder: Path, examples: dict[str, np.ndarray], frames: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
    """The images that the exported networks make, run by code that uses only export.json."""
    networks = json.loads((folder / "export.json").read_text())["networks"]
    sessions = {name: onnxruntime.InferenceSession(folder / network["file"]) for name, network in networks.items()}

    def run_network(name: str, tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        inputs, outputs = networks[name]["inputs"], networks[name]["outputs"]
        assert all(list(tensors[key].shape) == shape for key, shape in inputs.items())
        results = dict(zip(outputs, sessions[name].run(None, {key: tensors[key] for key in inputs}), strict=True))
        assert all(list(results[key].shape) == shape for key, shape in outputs.items())
        return results

    code = run_network("encoder", {f"examples.{name}": array for name, array in examples.items()})
    images: list[np.ndarray] = []
    for index, frame in enumerate(frames):
        tensors = {**code, **{f"frame.{name}": array for name, array in frame.items()}}
        if images:
            tensors |= {"past.image": images[-1], **{f"past.{name}": array for name, array in frames[index - 1].items()}}
        images.append(run_network("next" if images else "first", tensors)["image"])
    return images


def test_the_exported_face_model_makes_the_same_frames_for_the_example_clip(tmp_path):
    assert run(["export", "face-256", "-o", str(tmp_path / "face"), "-q"]) == 0
    model = fsv2v.load_model("face-256")
    driving = Driving(open_clip(ROOT / "examples" / "driving.clip"), model.config.kind, model.config.size, "auto")
    samples = [frame.sample for frame in driving.driving_frames()][:40:10]
    portrait = np.array(Image.fromarray(skimage.data.astronaut()).resize((256, 256)))
    example = frame_of([replace(samples[-1], image=portrait)], torch.device("cpu"))
    frames = [frame_of([sample], torch.device("cpu")) for sample in samples]

    images = make_frames(
        tmp_path / "face",
        {name: getattr(example, name).numpy()[:, None] for name in ("semantic", "keypoints", "image")},
        [{name: getattr(frame, name).numpy() for name in ("semantic", "keypoints")} for frame in frames],
    )
    code, past = model.generator.encode_examples(example.map(lambda x: x[:, None])), None
    for frame, image in zip(frames, images, strict=True):
        expected, past = model.generator.step(code, frame, past)
        assert np.abs(image - expected.numpy()).max() < 2 / 255


@pytest.mark.parametrize(("name", "num_examples"), [("face", 1), *((name, 2) for name in VARIANTS)])
def test_every_variant_is_exported_exactly(tmp_path, name, num_examples):
    exported = fsv2v.export_model(save(tmp_path / "m.safetensors", VARIANTS[name]), tmp_path / "out", num_examples=num_examples)
    assert exported.psnr > 60
    described = json.loads((tmp_path / "out" / "export.json").read_text())
    assert described["networks"]["encoder"]["inputs"]["examples.image"] == [1, num_examples, 3, *VARIANTS[name].size]
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"export.json", *exported.files}


def test_a_finetuned_model_is_exported_with_its_changes(tiny, tmp_path):
    before = fsv2v.load_model(tiny)
    state = before.generator.state_dict()
    changed = {name: value + 0.1 if name == "to_image.bias" else value for name, value in state.items()}
    delta = tmp_path / "anna.safetensors"
    save_delta(delta, changed, describe_base(tiny, before.sha256, delta), state, TINY, {"step": 1})

    assert isinstance(before.generator, FewShotGenerator)
    sample = check.SampleInput.create(before.generator, 1)
    fsv2v.export_model(delta, tmp_path / "out")
    exported = next(sample.run_networks(tmp_path / "out"))
    finetuned, base = (next(sample.run_model(model.generator)) for model in (fsv2v.load_model(delta), before))
    assert check.psnr(exported, finetuned) > 60 > check.psnr(exported, base)


def test_the_same_command_again_does_nothing_and_another_one_is_refused(tiny, tmp_path, capsys):
    command = ["export", str(tiny), "-o", str(tmp_path / "out"), "-q"]
    assert run([*command, "--json"]) == 0
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()}
    assert run([*command, "--json"]) == 0
    assert [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()] == ["done", "skipped"]
    assert run([*command, "--num-examples", "2"]) == 3
    assert "num_examples: 1 -> 2" in capsys.readouterr().err
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "out").iterdir()} == files
    assert run([*command, "--num-examples", "2", "--overwrite"]) == 0
    assert json.loads((tmp_path / "out" / "export.json").read_text())["settings"]["num_examples"] == 2


def test_an_empty_folder_is_filled(tiny, tmp_path):
    (tmp_path / "out").mkdir()
    assert fsv2v.export_model(tiny, tmp_path / "out").status == "done"


def test_an_export_that_lacks_a_file_is_made_again(tiny, exported):
    (exported / "next.onnx").unlink()
    assert fsv2v.export_model(tiny, exported).status == "done"
    assert (exported / "next.onnx").exists()


def test_a_folder_with_other_files_is_never_replaced(tiny, exported, tmp_path, capsys):
    (tmp_path / "photographs").mkdir()
    for file in (tmp_path / "photographs" / "anna.jpg", exported / "run.py"):
        file.write_text("not an export")
        assert run(["export", str(tiny), "-o", str(file.parent), "--overwrite"]) == 3
        assert "so it is not replaced. Choose another folder with -o" in capsys.readouterr().err
        assert file.read_text() == "not an export"


def test_networks_whose_frames_differ_from_the_models_are_not_kept(tiny, tmp_path, monkeypatch, capsys):
    run_model = check.SampleInput.run_model
    monkeypatch.setattr(check.SampleInput, "run_model", lambda *arguments: (frame * 0.9 for frame in run_model(*arguments)))
    assert run(["export", str(tiny), "-o", str(tmp_path / "out")]) == 1
    assert "dB and must be above 40 dB. Please report it" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("preset", "family"), [("tiny-pix2pixhd", "pix2pixhd"), ("tiny-vid2vid", "vid2vid"), ("tiny-future", "future")])
def test_a_model_of_another_family_is_refused(tmp_path, capsys, preset, family):
    model = save(tmp_path / "m.safetensors", presets()[preset])
    assert run(["export", str(model), "-o", str(tmp_path / "out")]) == 2
    assert f"is of the family {family}, and only few-shot models can be exported" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_operation_that_onnx_lacks_is_named(tmp_path, capfd, without_solve):
    model = save(tmp_path / "m.safetensors", VARIANTS["face"])
    assert run(["export", str(model), "-o", str(tmp_path / "out")]) == 2
    output = capfd.readouterr()
    assert "this model cannot be exported: " in output.err and "linalg_solve" in output.err
    assert not output.out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_the_error_for_a_missing_package_says_what_to_install(tiny, tmp_path, monkeypatch, capsys, package):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == package else find(name, *more))
    assert run(["export", str(tiny), "-o", str(tmp_path / "out")]) == 4
    assert f"exporting needs the package {package}, which is not installed. Install it: pip install" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_old_pytorch_is_refused_with_its_version(tiny, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.4.1+cpu"))
    assert run(["export", str(tiny), "-o", str(tmp_path / "out")]) == 4
    assert "exporting needs PyTorch 2.5 or newer, and this is 2.4.1+cpu. Install it: pip install" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_linear_systems_are_solved_with_pivots():
    random = torch.Generator().manual_seed(0)
    system, right_side = torch.randn(2, 3, 20, 20, generator=random), torch.randn(2, 3, 20, 2, generator=random)
    system[..., 0, 0] = 0  # so that the first pivot is in another row
    torch.testing.assert_close(tracing.solve(system, right_side), torch.linalg.solve(system, right_side), rtol=1e-3, atol=1e-3)

"""The benchmark that fills the model cards: examples are never evaluated, and existing results are kept."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from stages.build_dataset import DatasetOptions, build
from stages.clip import Producer, create_clip, open_clip
from stages.conditions.labels import CAMVID
from stages.models import save_model
from stages.networks.features.squeezenet import WEIGHTS
from stages.networks.fewshot.config import FewShotConfig
from stages.networks.fewshot.generator import FewShotGenerator
from weights import registry

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def excerpts(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import excerpts

    return excerpts


@pytest.fixture
def held_out_report(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import held_out_report

    return held_out_report


def rows(dataset: Path) -> list[dict]:
    return [json.loads(line) for line in (dataset / "clips.ndjson").read_text().splitlines()]


def images(clip) -> list[bytes]:
    return [frame.tobytes() for frame in clip.frames()]


def test_no_example_is_among_the_evaluated_frames(excerpts, painted_dataset: Path, tmp_path: Path):
    row = rows(painted_dataset)[0]
    examples, reference = excerpts.cut(painted_dataset, row, "landmarks", 0, tmp_path)
    all_frames = images(open_clip(painted_dataset / row["clip"]))
    assert row["num_frames"] == 24
    assert images(examples) == [all_frames[i] for i in (0, 4, 7, 11)]
    assert images(reference) == all_frames[12:]


def test_excerpts_are_the_same_whether_a_dataset_copies_its_clips_or_refers_to_them(excerpts, make_painted_clip, tmp_path: Path):
    clip = make_painted_clip(tmp_path / "person.clip", 0, size=96)
    cuts = {}
    for layout in ("copy", "reference"):
        assert [r.status for r in build([str(clip)], tmp_path / layout, DatasetOptions(size=64, store=layout))] == ["done"]
        row = rows(tmp_path / layout)[0]
        cuts[layout] = excerpts.cut(tmp_path / layout, row, "landmarks", 5, tmp_path / f"cut-{layout}")
    for copied, by_reference in zip(cuts["copy"], cuts["reference"], strict=True):
        assert (by_reference.width, by_reference.height, by_reference.num_frames) == (64, 64, copied.num_frames)
        assert np.abs(copied.frame(0).astype(int) - by_reference.frame(0)).mean() < 3  # copies are JPEG
        points = [part.layer("landmarks").arrays()["points"] for part in (copied, by_reference)]
        assert np.allclose(points[0], points[1], atol=0.05)


def test_missing_values_are_left_out_of_means_and_empty_in_tables(held_out_report):
    scores = held_out_report.mean([{"K=1": {"psnr": 20.0}, "real": {}}, {"K=1": {"psnr": 30.0, "ssim": 0.5}, "real": {}}])
    assert scores == {"K=1": {"psnr": 25.0, "ssim": 0.5}, "real": {}}
    table = held_out_report.summary(scores, ["psnr", "ssim"], ["K=1", "real"]).splitlines()
    assert table[2:] == ["| psnr | 25 |  |", "| ssim | 0.5 |  |"]


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """A dataset with one held-out subject: sky above a road. The border between them moves down by one row per frame."""
    clip = create_clip(tmp_path / "street.clip", (paint(labels) for labels in map(labels_of_frame, range(10))), storage="png")
    with clip.writing("segment", Producer("import"), {"frames": clip.frames_digest()}, CAMVID.meta()) as layer:
        for time in range(10):
            layer.image(labels_of_frame(time))
    row = {"id": "street", "subject": "town", "split": "val", "clip": "street.clip", "num_frames": 10}
    (tmp_path / "clips.ndjson").write_text(json.dumps(row))
    (tmp_path / "dataset.json").write_text('{"schema": "fsv2v.dataset/1"}')
    return tmp_path


def labels_of_frame(time: int) -> np.ndarray:
    labels = np.full((64, 64), CAMVID.names.index("road"), np.uint8)
    labels[: 24 + time] = CAMVID.names.index("sky")
    return labels


def paint(labels: np.ndarray) -> np.ndarray:
    return np.where((labels == CAMVID.names.index("sky"))[..., None], [150, 190, 240], [90, 90, 95]).astype(np.uint8)


@pytest.mark.slow
def test_a_street_is_compared_with_baselines_and_real_frames_and_a_second_run_keeps_the_files(street: Path):
    if not registry.available(WEIGHTS):
        pytest.skip(f"{WEIGHTS} is not installed")
    torch.manual_seed(0)
    config = FewShotConfig(
        kind="segment", semantic_channels=len(CAMVID.names) - 1, size=(64, 64), channels=(8, 8, 16, 16), label_channels=(8, 8, 8, 8),
        hidden=8, adaptive_levels=2, weight_hidden=16, attention_level=2, attention_channels=8, flow_channels=(8, 16), flow_blocks=1,
        guided_levels=2,
    )  # fmt: skip
    save_model(street / "model.safetensors", FewShotGenerator(config).state_dict(), config, {"step": 0})
    table = run_held_out(street)
    results = json.loads((street / "out" / "results.json").read_text())
    assert set(results["mean"]) == {"K=1", "K=4", "K=4 finetuned", "warp only", "repeat", "real"}
    assert "segment-miou" in results["mean"]["real"] and "psnr" in results["subjects"]["town"]["warp only"]
    assert "| segment-miou |" in table and "| town |" in table
    assert (street / "out" / "sheets" / "street.png").stat().st_size > 1000

    written = modification_times(street / "out" / "clips")
    assert run_held_out(street) == table and modification_times(street / "out" / "clips") == written


def run_held_out(folder: Path) -> str:
    """Run the benchmark on the dataset and the model in a folder, and return the table that it prints."""
    options = ["--data", folder, "--out", folder / "out", "--model", folder / "model.safetensors", "--finetune", 1]
    command = [sys.executable, BENCHMARKS / "held_out.py", *options]
    return subprocess.run([*map(str, command)], check=True, stdout=subprocess.PIPE, text=True).stdout


def modification_times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}

"""vid2vid's tables at the tiny scale: every method is trained, synthesizes videos and is evaluated. The figures have no meaning."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fsv2v import predict
from stages.clip import Producer, create_clip, open_clip
from stages.conditions.labels import CAMVID
from stages.train.trainer import Trainer

PAPERS = Path(__file__).resolve().parents[2] / "benchmarks" / "papers"
NAMES = [name for name in CAMVID.names if name != "void"]
FRAMES = 12
DRIVEN = ["vid2vid, labels repeated", "vid2vid, true labels", "vid2vid, predicted labels"]


@pytest.fixture(scope="module", autouse=True)
def import_benchmark() -> Any:
    """import_benchmark(name): a module of benchmarks/papers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PAPERS))
        yield import_module


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five towns with a road, a sky and a car that drives to the right by two pixels in each frame; the fifth town is held out."""
    out = tmp_path_factory.mktemp("streets")
    colours = np.random.default_rng(0).integers(0, 256, (5, len(NAMES), 3))
    for town in range(5):
        maps = [street(town, t) for t in range(FRAMES)]
        clip = create_clip(out / f"drive-{town}.clip", (colours[town][ids].astype(np.uint8) for ids in maps), fps=Fraction(17))
        meta = {
            "table": "camvid",
            "names": NAMES,
            "palette": [list(map(int, colour)) for colour in colours[0]],
            "ids": list(range(len(NAMES))),
        }
        with clip.writing("segment", Producer("test"), {}, meta) as layer:
            for ids in maps:
                layer.image(ids)
    (out / "subjects.tsv").write_text("".join(f"drive-{town}\ttown-{town}\n" for town in range(5)))
    return out


def street(town: int, t: int) -> np.ndarray:
    """The label map of frame t, uint8 [32, 64]."""
    ids = np.full((32, 64), NAMES.index("road"), np.uint8)
    ids[: 10 + town] = NAMES.index("sky")
    ids[14:22, 2 * t : 2 * t + 16] = NAMES.index("car")
    return ids


@pytest.fixture(scope="module")
def tables_folder(import_benchmark: Any, streets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of tables 1 and 3 with one seed and with metrics that need neither networks nor many frames."""
    out = tmp_path_factory.mktemp("tables")
    tables = import_benchmark("vid2vid_tables")
    arguments = ["--data", streets, "--out", out, "--scale", "tiny", "--table", 1, 3, "--seeds", 1, "--device", "cpu"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vid2vid_tables.py", *map(str, arguments)])
        patch.setattr(tables, "METRICS", {1: ("warping-error", "psnr"), 3: ("psnr",)})
        patch.setattr("stages.train.validation.WINDOWS", 2)
        tables.main()
    return out / "segment-tiny"


def test_each_table_has_a_figure_for_each_method(tables_folder: Path):
    methods = {1: ["pix2pixHD", "COVST", "vid2vid"], 3: ["PredNet", "MCNet", *DRIVEN]}
    for number, names in methods.items():
        report = json.loads((tables_folder / f"vid2vid-table{number}.json").read_text())
        assert [name for name in report["table"] if name in names] == names
        assert all(np.isfinite(report["table"][name]["psnr"]["0"]) for name in names)
        assert (tables_folder / f"vid2vid-table{number}-frames.png").exists()
    assert "warping-error" in json.loads((tables_folder / "vid2vid-table1.json").read_text())["table"]["COVST"]


def test_tables_share_the_models_that_they_have_in_common(tables_folder: Path):
    assert {path.name for path in (tables_folder / "models").iterdir()} == {
        "pix2pixhd",
        "covst",
        "vid2vid",
        "prednet",
        "mcnet",
        "predicted-labels",
    }


def test_covst_adds_a_mask_to_the_trained_pix2pixhd(tables_folder: Path):
    stylizer, covst = (
        load_file(next((tables_folder / "models" / name / "seed-0").glob("snapshot-*[1-9].safetensors"))) for name in ("pix2pixhd", "covst")
    )
    assert {name for name in covst if name not in stylizer} == {name for name in covst if name.startswith("mask")}
    assert all(torch.equal(covst[name], stylizer[name]) for name in stylizer)


def test_each_row_of_table_2_lacks_one_part(import_benchmark: Any, streets: Path, tmp_path: Path):
    tables, experiment, sizes = (import_benchmark(name) for name in ("vid2vid_tables", "experiment", "vid2vid_scales"))
    scale = sizes.SETUPS["tiny"]
    bench = experiment.Experiment(tmp_path, tuple(import_benchmark("sources").read_rows(streets)), "segment", scale.scale, ("psnr",))
    ours, *others = (bench.config(row, 0) for row in tables.variants_of(2, scale))
    assert ours.generator.foreground == ("car", "pedestrian") and ours.generator.motion
    assert ours.discriminators.video_rates == 1 and ours.losses.video_gan > 0
    no_video = replace(ours.discriminators, video_rates=0), replace(ours.losses, video_gan=0)
    assert others == [
        replace(ours, generator=replace(ours.generator, foreground=())),
        replace(ours, discriminators=no_video[0], losses=no_video[1]),
        replace(ours, generator=replace(ours.generator, motion=False)),
    ]


def test_the_numbers_of_training_images_are_those_of_the_docstring(import_benchmark: Any):
    small = import_benchmark("vid2vid_scales").SETUPS["small"]
    schedules = [
        small.scale.phases,
        small.pix2pixhd_phases,
        small.covst_phases,
        small.prednet_phases,
        small.mcnet_phases,
        small.future_phases,
    ]
    counts = [sum(phase.steps * phase.batch * phase.frames for phase in phases) for phases in schedules]
    assert counts == [5500, 5500, 2000, 13200, 7200, 2550]
    assert all(f"{count:,}" in import_benchmark("vid2vid_scales").__doc__ for count in counts)


def test_a_prediction_continues_the_frames_directly_before_it(tables_folder: Path, streets: Path):
    source = open_clip(streets / "drive-4.clip")
    observed, reference = (
        open_clip(tables_folder / "cuts" / "segment-before-2" / "drive-4" / f"{part}.clip") for part in ("examples", "reference")
    )
    assert [np.array_equal(observed.frame(i), source.frame(4 + i)) for i in range(2)] == [True, True]
    assert reference.num_frames == 4 and np.array_equal(reference.frame(0), source.frame(6))


def test_repeated_labels_are_those_of_the_last_observed_frame(tables_folder: Path):
    driving = open_clip(tables_folder / "results" / "vid2vid-labels-repeated" / "seed-0" / "driving" / "drive-4.clip")
    assert driving.num_frames == 4 and not driving.has("frames")
    assert all(np.array_equal(driving.layer("segment").image(t), street(4, 5)) for t in range(4))


def test_predicted_labels_are_those_of_predict_from_the_observed_frames(tables_folder: Path, tmp_path: Path):
    driving = open_clip(tables_folder / "results" / "vid2vid-predicted-labels" / "seed-0" / "driving" / "drive-4.clip")
    observed = tables_folder / "cuts" / "segment-before-2" / "drive-4" / "examples.clip"
    model = next((tables_folder / "models" / "predicted-labels" / "seed-0").glob("snapshot-*1.safetensors"))
    predict(observed, tmp_path / "next.clip", frames=4, model=model, device="cpu")
    assert driving.num_frames == 4 and driving.layer("segment").digest == open_clip(tmp_path / "next.clip").layer("segment").digest


def test_the_last_frames_are_also_evaluated_alone(tables_folder: Path):
    for method in ("prednet", "mcnet"):
        folder = tables_folder / "results" / method / "seed-0"
        whole, last = open_clip(folder / "drive-4.clip"), open_clip(folder / "last-2" / "result" / "drive-4.clip")
        assert last.num_frames == 2 and np.array_equal(last.frame(1), whole.frame(3))
    whole, last = (
        json.loads((tables_folder / f"vid2vid-table3{part}.json").read_text())["table"]["PredNet"]["psnr"] for part in ("", "-last")
    )
    assert whole != last


@pytest.mark.parametrize("method", ["COVST", "PredNet", "MCNet"])
def test_an_interrupted_run_resumes_and_ends_with_the_same_weights(
    import_benchmark: Any, tables_folder: Path, streets: Path, method: str, tmp_path: Path
):
    tables, experiment, sizes = (import_benchmark(name) for name in ("vid2vid_tables", "experiment", "vid2vid_scales"))
    (variant,) = (row for table in (1, 3) for row in tables.variants_of(table, sizes.SETUPS["tiny"]) if row.name == method)
    if variant.start is not None:
        variant = replace(variant, start=None)
    rows = tuple(import_benchmark("sources").read_rows(streets))
    bench = experiment.Experiment(tmp_path / "one", rows, "segment", sizes.SETUPS["tiny"].scale, ("psnr",), device="cpu")
    train_step = Trainer.train_step
    steps: list[int] = []

    def interrupted_step(trainer: Trainer, *arguments: Any) -> Any:
        steps.append(trainer.step)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return train_step(trainer, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.train.validation.WINDOWS", 1)
        patch.setattr(Trainer, "train_step", interrupted_step)
        with pytest.raises(KeyboardInterrupt):
            experiment.train_variant(bench, variant, 0)
        resumed = load_file(experiment.train_variant(bench, variant, 0))
        undisturbed = load_file(experiment.train_variant(replace(bench, out=tmp_path / "undisturbed"), variant, 0))
    assert all(torch.equal(resumed[name], undisturbed[name]) for name in undisturbed)

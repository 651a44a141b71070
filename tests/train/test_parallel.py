"""Data-parallel training equals training in one process, and options that save memory do not change the losses."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from stages.errors import UsageError
from stages.train import ComputeSettings, Phase, read_recipe
from stages.train.data import Dataset
from stages.train.parallel import ProcessGroup
from stages.train.trainer import Trainer

TINY = replace(read_recipe("tiny"), perceptual="none", bfloat16=False, phases=(Phase(3, batch=4), Phase(3, batch=4, frames=2)))


def test_the_parts_of_all_processes_cover_the_batch_once():
    for size in (1, 2, 3, 5):
        parts = [ProcessGroup(rank, size).part(8) for rank in range(size)]
        assert [i for part in parts for i in part] == list(range(8))
    with pytest.raises(UsageError, match="a batch of 2 cannot be shared by 3 processes"):
        ProcessGroup(0, 3).part(2)


def run_steps(data: Path, compute: ComputeSettings, config=TINY, steps: int = 6) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
    """(losses of each step, weights of the generator after the last)."""
    trainer, dataset = Trainer(config, torch.device("cpu"), None, compute), Dataset(data, "landmarks", "train")
    terms = []
    for step in range(steps):
        phase = config.phase_at(step)
        terms.append(trainer.train_step(dataset.batch(config, step, phase), phase).terms)
    return terms, trainer.generator.state_dict()


def losses_close(actual: list[dict[str, float]], expected: list[dict[str, float]], tolerance: float) -> bool:
    """Whether losses differ by at most `tolerance`, relative to the expected value if it is above 1."""
    return all(
        a.keys() == b.keys() and all(abs(a[name] - b[name]) < tolerance * max(1, abs(b[name])) for name in a)
        for a, b in zip(actual, expected, strict=True)
    )


@pytest.mark.parametrize(
    "compute", [ComputeSettings(accumulate=2), ComputeSettings(accumulate=3), ComputeSettings(checkpoint=True)], ids=str
)
def test_options_that_save_memory_change_no_loss(painted_dataset, compute):
    plain, with_option = (run_steps(painted_dataset, each, steps=4) for each in (ComputeSettings(), compute))
    assert losses_close(with_option[0], plain[0], 2e-3)  # they differ by rounding, which the first steps of Adam amplify


def test_gradients_may_flow_back_through_several_frames(painted_dataset):
    phases = (Phase(2, batch=2, frames=4),)
    one, four = (run_steps(painted_dataset, ComputeSettings(), replace(TINY, phases=phases, backprop_frames=n), 2)[1] for n in (1, 4))
    assert any(not torch.allclose(one[name], four[name]) for name in one)
    assert all(torch.isfinite(value).all() for value in four.values())


def test_the_gradient_penalty_is_part_of_the_discriminators_loss(painted_dataset):
    without, with_penalty = (
        run_steps(painted_dataset, ComputeSettings(), replace(TINY, r1=weight), 1)[0][0]["discriminator"] for weight in (0.0, 10.0)
    )
    assert with_penalty > without


def train_with_torchrun(processes: int, data: Path, out: Path, fsv2v, recipe: Path) -> list[dict]:
    """Train with the command line in several processes, and return the rows of the log."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m", "fsv2v_cli"]
    command += ["train", "--data", str(data), "--preset", str(recipe), "-o", str(out)]
    command += ["--perceptual", "none", "--float32", "--device", "cpu", "--log-every", "1"]
    environment = {**fsv2v.environment, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [str(out / "snapshot-00000006.safetensors")]  # printed by the first process alone
    return [json.loads(line) for line in (out / "log.ndjson").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_the_whole_batch(painted_dataset, tmp_path, fsv2v):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('base = "tiny"\n[[phases]]\nsteps = 3\nbatch = 4\n[[phases]]\nsteps = 3\nbatch = 4\nframes = 2\n')
    one, two = (train_with_torchrun(n, painted_dataset, tmp_path / str(n), fsv2v, recipe) for n in (1, 2))
    assert [row["step"] for row in one] == [row["step"] for row in two]
    losses = [[{k: v for k, v in row.items() if isinstance(v, float)} for row in rows if "l1" in row] for rows in (one, two)]
    assert losses_close(losses[1], losses[0], 5e-3)
    psnr = [[row["validation"]["psnr"] for row in rows if "validation" in row] for rows in (one, two)]
    assert psnr[1] == pytest.approx(psnr[0], abs=0.02)

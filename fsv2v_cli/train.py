"""fsv2v train: from a dataset to a model."""

from __future__ import annotations

from typing import Any

import click

from fsv2v_cli import console, prepare
from fsv2v_cli.options import Run, command, common_options, device_option, out_option, overwrite_option, seed_option

PRESETS = ("face-256", "pose-256", "paper", "paper-pose", "tiny")


@command("train")
@click.option("--data", required=True, metavar="FOLDER", help="A dataset made by build-dataset.")
@click.option("--preset", type=click.Choice(PRESETS), default=PRESETS[0], show_default=True, help="Network, losses and schedule.")
@out_option("The folder of the run. The same command again goes on where it stopped.", required=True)
@click.option("--steps", type=click.IntRange(1), help="Shrink or stretch the preset's schedule to this many steps.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="In place of the preset's.")
@click.option("--max-examples", type=click.IntRange(1, 32), help="K is drawn from 1 to this, in place of the preset's bound.")
@click.option("--bfloat16/--float32", "bfloat16", default=True, show_default=True, help="Mixed precision, or full.")
@prepare.perceptual_option
@click.option("--flow-model", metavar="FILE.onnx", help="A network that teaches optical flow in place of DIS, as for `fsv2v clip flow`.")
@click.option("--log-every", type=click.IntRange(1), default=20, show_default=True, help="Steps between rows of log.ndjson.")
@click.option("--save-every", type=click.FloatRange(0), default=240, show_default=True, help="Seconds between states and sample sheets.")
@seed_option
@device_option
@overwrite_option
@common_options
def train(
    data: str, preset: str, steps: int | None, learning_rate: float | None, max_examples: int | None, bfloat16: bool, perceptual: str,
    flow_model: str | None, log_every: int, save_every: float, seed: int, device: str, run: Run,
) -> None:  # fmt: skip
    """Train a model on a dataset of the kind that the preset is for.

    The run's folder holds config.json, log.ndjson, sample sheets, snapshots to use and states to go on from. The path of the final
    snapshot is printed; with --json also each row of the log.
    """
    from dataclasses import replace
    from pathlib import Path

    from stages.perceptual import choose
    from stages.train import RECIPES, TrainOptions
    from stages.train import train as fit

    chosen = {"learning_rate": learning_rate, "discriminator_rate": learning_rate, "max_examples": max_examples}
    changes: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    recipe = RECIPES[preset]
    wanted = recipe.perceptual if perceptual == "auto" and recipe.perceptual != "squeezenet" else choose(perceptual)
    config = replace(recipe, bfloat16=bfloat16, perceptual=prepare.said(wanted), seed=seed, **changes)
    if steps is not None:
        config = config.shortened(steps)
    assert run.out is not None
    with console.progress("training", config.steps, "steps") as bar:

        def on_row(row: dict[str, Any]) -> None:
            if run.json:
                console.emit(row)
            rate = row["pictures"] / max(row["seconds"], 1e-9)
            bar.move(row["step"], T=row["frames"], size=row["size"], l1=row["l1"], pictures_per_second=rate)

        options = TrainOptions(Path(data), device, log_every, save_every, flow_model)
        snapshot = fit(config, options, run.out, overwrite=run.overwrite, event=on_row)
    console.emit({"model": str(snapshot), "steps": config.steps} if run.json else snapshot)

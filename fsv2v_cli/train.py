"""fsv2v train: from a dataset to a model."""

from __future__ import annotations

import re
from typing import Any

import click

from fsv2v_cli import console
from fsv2v_cli.console_reporter import ConsoleReporter
from fsv2v_cli.options import (
    Run,
    command,
    common_options,
    device_option,
    out_option,
    overwrite_option,
    path_option,
    perceptual_option,
    seed_option,
)

METHODS = ("weights", "encoder", "concat", "adain", "spade")


class Duration(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """90s, 25m, 3h or 2h30m -> seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?", str(value))
        if not found or not any(found.groups()):
            self.fail(f"{value!r} is not a time such as 90s, 25m or 2h30m", param, ctx)
        return sum(float(part or 0) * unit for part, unit in zip(found.groups(), (3600, 60, 1), strict=True))


@command("train")
@path_option("--data", required=True, metavar="FOLDER", help="A dataset made by build-dataset.")
@click.option(
    "--preset", default="face-256", show_default=True, metavar="NAME|FILE.toml",
    help="The recipe: network, losses and schedule. face-256, pose-256, street-256, another of examples/recipes, or a file of your own.",
)  # fmt: skip
@out_option("The folder of the run. Repeat the command to resume the run.", required=True)
@click.option("--budget", type=Duration(), metavar="TIME", help="Fit the schedule into a time such as 25m or 3h on this machine.")
@click.option("--steps", "--budget-steps", "steps", type=click.IntRange(1), help="Fit the schedule into this many steps.")
@path_option(
    "--from",
    "start",
    metavar="MODEL",
    help="Start from this model (given as for synthesize --model) and skip the phases at smaller sizes.",
)
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Overrides the learning rate of the recipe.")
@click.option(
    "--max-examples",
    type=click.IntRange(1, 32),
    help="Largest number of examples; overrides the recipe. Each batch has a random number from 1 to this.",
)
@click.option(
    "--attention", type=click.Choice(["pixel", "compact"]), help="Attention to every pixel of the examples, or to a compact set of bases."
)
@click.option(
    "--method",
    type=click.Choice(METHODS),
    help="How examples condition the generator: by generated weights, or as in a baseline of the few-shot vid2vid paper.",
)
@click.option("--batch-scale", type=click.IntRange(1), default=1, show_default=True, help="Multiplies the recipe's batch size.")
@click.option(
    "--accumulate",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of parts into which each batch is split (gradient accumulation).",
)
@click.option("--checkpoint-activations", is_flag=True, help="Recompute activations in the backward pass, to save memory.")
@click.option("--compile", "compile_", is_flag=True, help="Use torch.compile: minutes of compiling, then faster steps.")
@click.option("--prefetch", type=click.IntRange(1), default=2, show_default=True, help="Number of threads that prepare batches.")
@click.option("--bfloat16/--float32", "bfloat16", default=True, show_default=True, help="Mixed precision, or full.")
@perceptual_option
@path_option("--flow-model", metavar="FILE.onnx", help="A network that supervises the optical flow, instead of DIS; see `fsv2v clip flow`.")
@click.option("--log-every", type=click.IntRange(1), default=20, show_default=True, help="Steps between rows of log.ndjson.")
@click.option("--save-every", type=click.FloatRange(0), default=240, show_default=True, help="Seconds between saved states.")
@click.option("--tensorboard", is_flag=True, help="Also write curves for TensorBoard.")
@seed_option
@device_option
@overwrite_option
@common_options
def train(
    data: str, preset: str, budget: float | None, steps: int | None, start: str | None, learning_rate: float | None,
    max_examples: int | None, attention: str | None, method: str | None, batch_scale: int, accumulate: int, checkpoint_activations: bool,
    compile_: bool, prefetch: int, bfloat16: bool, perceptual: str, flow_model: str | None, log_every: int, save_every: float,
    tensorboard: bool, seed: int, device: str, run: Run,
) -> None:  # fmt: skip
    """Train a model on a dataset of faces, bodies or streets. The preset must be for the kind of the dataset.

    The run's folder holds config.json, log.ndjson, sample sheets, snapshots for inference and states for resuming. Repeat the command to
    resume a stopped run exactly, even after kill -9. If training diverges, it returns to its last good state. On several GPUs or machines:
    `torchrun --nproc-per-node 8 -m fsv2v_cli train ...`. The path of the final snapshot is printed; with --json also each row of the log.
    """
    from dataclasses import replace
    from pathlib import Path

    from fsv2v.models import choose_perceptual, model_path
    from stages.train import ComputeSettings, LoggingSettings, TrainOptions, read_recipe
    from stages.train import train as fit

    if budget is not None and steps is not None:
        raise click.UsageError("--budget and --steps are mutually exclusive")
    recipe = read_recipe(preset) if start is None else read_recipe(preset).without_small_phases()
    chosen = {"learning_rate": learning_rate, "discriminator_rate": learning_rate, "max_examples": max_examples}
    changes: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    generator_overrides: dict[str, Any] = {
        name: value for name, value in (("attention", attention), ("method", method)) if value is not None
    }
    changes["generator"] = recipe.generator.with_values(**generator_overrides)
    changes["perceptual"] = choose_perceptual(perceptual, recipe.perceptual, ConsoleReporter())
    config = replace(recipe, bfloat16=bfloat16, seed=seed, budget=budget, **changes).with_batch_scale(batch_scale)
    if steps is not None:
        config = config.with_steps(steps)
    options = TrainOptions(
        Path(data), device, LoggingSettings(log_every, save_every), ComputeSettings(accumulate, checkpoint_activations, compile_, prefetch),
        flow_model, None if start is None else model_path(start), tensorboard,
    )  # fmt: skip
    assert run.out is not None
    with console.progress("training", config.steps, "steps") as bar:

        def on_row(row: dict[str, Any]) -> None:
            if "message" in row:
                console.warning(row["message"])
                return
            if run.json:
                console.emit(row)
            if "pictures" in row:
                rate = row["pictures"] / max(row["seconds"], 1e-9)
                values: dict[str, float] = {"frames": row["frames"], "size": row["size"], "images/s": rate, "MB": row["memory_mb"]}
                values |= {name: row[name] for name in ("l1", "perceptual") if name in row}  # a recipe may leave out one of them
                bar.move(row["step"], row["steps"], **values)

        snapshot = fit(config, options, run.out, overwrite=run.overwrite, event=on_row)
    if console.is_first_rank():
        console.emit({"model": str(snapshot), "steps": config.steps} if run.json else snapshot)

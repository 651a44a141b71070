"""Datasets and training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from fsv2v.models import model_path, perceptual
from fsv2v.reporting import Reporter
from stages.clip import Clip
from stages.runner import Report


def build_dataset(
    clips: Iterable[str | PathLike[str] | Clip],
    out: str | PathLike[str],
    *,
    subjects: Mapping[str, str] | None = None,
    overwrite: bool = False,
    **options: Any,
) -> list[Report]:
    """Crop clips and add them to the dataset in the folder `out`, split by subject. One report for each clip of the dataset.

    options: the fields of `stages.build_dataset.DatasetOptions`: size, min_frames, store, val_share, held_out, kind. A clip that cannot be
    used is reported as failed and left out. subjects: id of a clip -> its subject; a clip that is not listed is a subject of its own.
    Raises UsageError when `subjects` names an unknown clip or `held_out` an unknown subject, and while another process builds the dataset.
    """
    from stages.build_dataset import DatasetOptions, build

    paths = [fspath(clip.path if isinstance(clip, Clip) else clip) for clip in clips]
    return list(build(paths, Path(out), DatasetOptions(**options), subjects=subjects, overwrite=overwrite))


def train(
    data: str | PathLike[str],
    out: str | PathLike[str],
    *,
    preset: str = "face-256",
    steps: int | None = None,
    start: str | PathLike[str] | None = None,
    device: str = "auto",
    overwrite: bool = False,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
    reporter: Reporter | None = None,
    **changes: Any,
) -> Path:
    """Train a model on a dataset, or go on with the run in the folder `out`. Returns the path of the final snapshot.

    preset: a recipe by its name or file. steps: the length of the schedule, in place of the recipe's. start: a model whose weights the run
    begins with. changes: fields of `stages.train.TrainConfig`, for example `seed=1` or `budget=1500.0` (seconds). on_row receives the rows
    of the log. Raises what `stages.train.train` raises.
    """
    from stages.train import TrainOptions, read_recipe
    from stages.train import train as fit

    recipe = read_recipe(preset) if start is None else read_recipe(preset).without_small_phases()
    network = perceptual(changes.pop("perceptual", "auto"), recipe.perceptual, reporter or Reporter())
    config = replace(recipe, **{"perceptual": network, **changes})
    config = config if steps is None else config.with_steps(steps)
    options = TrainOptions(Path(data), device, start=None if start is None else model_path(start))
    return fit(config, options, Path(out), overwrite=overwrite, event=on_row)

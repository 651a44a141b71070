"""Build a dataset from clips, and train a model on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from fsv2v.models import choose_perceptual, model_path
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
    """Crop clips and add them to the dataset in the folder `out`, split by subject. Returns a report for each clip of the dataset.

    subjects: id of a clip -> its subject. A clip that is not listed keeps its subject in the dataset; a new clip is a subject of its own.
    options: the fields of `stages.build_dataset.DatasetOptions`: size, min_frames, store, val_share, held_out, kind.

    A clip that cannot be used is reported as failed and left out. Raises UsageError when `subjects` contains an unknown clip or `held_out`
    an unknown subject, and while another process builds the dataset; NoDetection when no clip is left.
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
    """Train a model on a dataset, or resume the run in the folder `out`. Returns the path of the final snapshot.

    preset: name or file of a recipe.
    steps: the length of the schedule; by default the recipe's.
    start: a model; the run begins with its weights.
    on_row: is called with each row of the log.
    changes: fields of `stages.train.TrainConfig`, for example `seed=1` or `budget=1500.0` (seconds).

    Raises what `stages.train.train` raises.
    """
    from stages.train import TrainOptions, read_recipe
    from stages.train import train as fit

    recipe = read_recipe(preset) if start is None else read_recipe(preset).without_small_phases()
    network = choose_perceptual(changes.pop("perceptual", "auto"), recipe.perceptual, reporter or Reporter())
    config = replace(recipe, **{"perceptual": network, **changes})
    config = config if steps is None else config.with_steps(steps)
    options = TrainOptions(Path(data), device, start=None if start is None else model_path(start))
    return fit(config, options, Path(out), overwrite=overwrite, event=on_row)

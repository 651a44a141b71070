"""Predict the label maps that follow those of a clip."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any

from fsv2v.models import load_model
from fsv2v.reporting import Reporter
from fsv2v.sources import Source, driving_clip, temporary_clips
from stages.models import Model
from stages.predict import Outcome, PredictOptions
from stages.predict import predict as write


def predict(
    source: Source,
    out: str | PathLike[str],
    *,
    frames: int,
    model: Model | str | PathLike[str],
    overwrite: bool = False,
    reporter: Reporter | None = None,
    **options: Any,
) -> Outcome:
    """Predict the `frames` label maps that follow those of a clip, and write them to the clip `out`, which can drive `synthesize`.

    source: a clip with the layer `segment`.
    model: a model that predicts label maps.
    options: the other fields of `stages.predict.PredictOptions`: observed, device.

    Raises what `stages.predict.predict` raises.
    """
    reporter = reporter or Reporter()
    with temporary_clips(reporter) as temporary:
        clip = driving_clip(source, temporary)
        loaded = model if isinstance(model, Model) else load_model(model)
        outcome = write(clip, loaded, Path(out), PredictOptions(frames, **options), overwrite=overwrite, progress=reporter.progress)
    for text in outcome.warnings:
        reporter.warning(text)
    return outcome

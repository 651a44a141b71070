"""The shipped predictor of 68 points: its compact file, and its error on people who are not in the training data."""

from __future__ import annotations

from pathlib import Path

import held_out_people
import numpy as np
import pytest
from compact_predictor import compact
from train_predictor import Recipe, clips_of, measure

from weights import registry

WEIGHTS = registry.path("face_68_fsv2v.dat")


def test_compacting_is_idempotent_and_refuses_other_files() -> None:
    data = WEIGHTS.read_bytes()
    assert compact(data) == data
    with pytest.raises(ValueError):
        compact(data[:-1] + b"\x00\x00")
    with pytest.raises(ValueError):
        compact(b"\x01\x07")


def test_the_error_on_unseen_people_is_small(shared: Path) -> None:
    clips = {video.stem: video for person, video in clips_of(shared / "data") if person in held_out_people.FACES}
    errors = [error for name in ("styletalk_clip17", "lipnetgrid_brbk7n") for error in measure(clips[name], WEIGHTS, Recipe(8))[0]]
    assert len(errors) >= 16
    assert np.median(errors) < 0.05

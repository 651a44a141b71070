"""The benchmark that measures whether a long result drifts, on a moving texture with a known loss of contrast."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SECOND = 4


@pytest.fixture(scope="module")
def drift() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import drift

        return drift


def moving_texture(contrast: list[float]) -> list[np.ndarray]:
    """Noise that moves by a pixel per frame, with a factor for the contrast of each frame."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 16)).repeat(6, 0).repeat(6, 1)
    frames = [128 + factor * (np.roll(noise, time, 1) - 128.0) for time, factor in enumerate(contrast)]
    return [frame.round().astype(np.uint8)[..., None].repeat(3, 2) for frame in frames]


def test_contrast_is_relative_to_the_truth_and_a_remainder_is_left_out(drift):
    truth, faded = moving_texture([1.0] * 9), moving_texture([1.0] * 4 + [0.5] * 5)
    found = drift.ratios(iter(faded), iter(truth), SECOND)
    assert found["contrast"] == pytest.approx([1, 0.5], abs=0.01)


def test_flicker_in_the_last_second_increases_its_warping_error(drift):
    truth, flickering = moving_texture([1.0] * 8), moving_texture([1.0] * 4 + [1.0, 0.8] * 2)
    error = drift.ratios(iter(flickering), iter(truth), SECOND)["warping error"]
    assert error[0] == pytest.approx(1) and error[1] > 2


def test_videos_of_different_lengths_are_refused(drift):
    with pytest.raises(ValueError, match="longer"):
        drift.ratios(iter(moving_texture([1.0] * 4)), iter(moving_texture([1.0] * 5)), SECOND)

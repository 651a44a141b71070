"""Scaled windows of an image."""

from __future__ import annotations

import numpy as np
import pytest

from stages.tracking.windows import cut_window


def ramp(height: int, width: int) -> np.ndarray:
    """An image with the value (x + 2 y) / 10."""
    y, x = np.mgrid[:height, :width]
    return np.repeat(((x + 2 * y) / 10).round().astype(np.uint8)[..., None], 3, -1)


@pytest.mark.parametrize("scale", [0.5, 1.0, 1.7, 2.0, 3.3, 6.0])
def test_pixels_of_a_window_are_at_the_requested_positions(scale: float) -> None:
    window = cut_window(ramp(400, 600), (50.25, 40.5), scale, (30, 20))
    y, x = np.mgrid[:20, :30] * scale
    assert window.shape == (20, 30, 3)
    assert np.abs(window[..., 0] - (x + 50.25 + 2 * (y + 40.5)) / 10).max() < 0.8


def test_fine_stripes_are_averaged_without_aliasing() -> None:
    stripes = np.zeros((320, 320, 3), np.uint8)
    stripes[:, ::2] = 200
    window = cut_window(stripes, (3, 3), 15.7, (20, 20))
    inside = window[1:-1, 1:-1]
    assert inside.std() < 5 and inside.mean() == pytest.approx(100, abs=5)


def test_pixels_outside_the_image_are_black() -> None:
    white = np.full((40, 40, 3), 255, np.uint8)
    window = cut_window(white, (-20, -20), 1, (80, 80))
    assert (window[22:58, 22:58] == 255).all() and not window[:19].any() and not window[:, 61:].any()
    assert not cut_window(white, (-500, 10), 2, (20, 20)).any()
    assert not cut_window(white, (500, 10), 1, (20, 20)).any()

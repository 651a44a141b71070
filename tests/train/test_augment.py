"""Colour augmentation: hue, contrast, brightness."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from stages.train.augment import Colours, draw_colours

NEUTRAL = np.ones(3)


@pytest.mark.parametrize("degrees", [-120.0, 30.0, 120.0])
def test_a_hue_rotation_keeps_greys_and_changes_colours(degrees):
    colours = Colours(NEUTRAL, 0.0, degrees)
    grey = np.full((4, 4, 3), 90, np.uint8)
    assert np.abs(colours(grey).astype(int) - 90).max() <= 1
    brown = np.full((4, 4, 3), (140, 100, 80), np.uint8)
    before, after = (colorsys.rgb_to_hsv(*(pixel / 255 for pixel in image[0, 0]))[0] for image in (brown, colours(brown)))
    assert (after - before) * 360 % 360 == pytest.approx(degrees % 360, abs=8)


def test_contrast_and_brightness_are_clipped():
    image = np.array([[[0, 100, 250]]], np.uint8)
    assert Colours(NEUTRAL * 1.5, 10.0)(image).tolist() == [[[10, 160, 255]]]


def test_strength_0_changes_nothing():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    assert np.array_equal(draw_colours(np.random.default_rng(1), 0.0, 180.0)(image), image)


def test_half_of_the_windows_have_another_hue():
    rng = np.random.default_rng(0)
    rotated = sum(draw_colours(rng, 1.0, 180.0).rotation is not None for _ in range(400))
    assert 160 < rotated < 240

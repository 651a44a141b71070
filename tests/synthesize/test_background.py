"""The background that a body uncovers in its photograph is taken from other images of the scene."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from walkers import walking_person

from stages.clip import Producer, create_clip, open_clip
from stages.conditions.framing import Example, examples_of
from stages.conditions.kinds import find_kind
from stages.networks.common.frame import Warped
from stages.networks.common.generator import Synthesis
from stages.synthesize.background import find_background
from stages.synthesize.placement import Photograph, Placement

HEIGHT, WIDTH, SIDE = 160, 320, 64
"""Sizes of the photographs, and the side of the model's images."""
BODY = 250
"""Grey level of the body."""
KIND = find_kind("poses")


def scene(seed: int = 0) -> np.ndarray:
    """A smooth random background, uint8 [H, W, 3], darker than the body."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 12)
    return np.asarray((noise - noise.min()) / np.ptp(noise) * 180, np.uint8)


def make_examples(folder: Path, positions: list[float], scenes: list[np.ndarray]) -> list[Example]:
    """Images of a body at the x `positions` in `scenes`, as examples."""
    pairs = enumerate(zip(positions, scenes, strict=True))
    return [example for index, (x, scene) in pairs for example in make_example(folder / f"{index}.clip", x, scene)]


def make_example(path: Path, x: float, ground: np.ndarray) -> list[Example]:
    """A clip of one image, a body at `x` in front of `ground`, as an example in a list."""
    person, mask = walking_person(1, x), np.zeros((HEIGHT, WIDTH), np.uint8)
    assert KIND.cover is not None
    KIND.cover(np.concatenate([person[0], np.zeros((42, 3), np.float32)]), mask)
    clip = create_clip(path, iter([np.where(mask[..., None] > 0, np.uint8(BODY), ground)]), storage="png")
    with clip.writing("poses", Producer("painted"), {"frames": clip.frames_digest()}) as layer:
        layer.arrays(keypoints=person[:, None], boxes=np.zeros((1, 1, 4), np.float32), track_id=np.zeros((1, 1), np.int32))
    return examples_of(open_clip(path), "poses", (SIDE, SIDE), "subject", 1)


@pytest.fixture
def examples(tmp_path) -> list[Example]:
    """Three images of one scene. Two show the background behind the body of the first."""
    return make_examples(tmp_path, [80, 150, 240], [scene()] * 3)


def test_the_background_is_composed_from_several_images(examples):
    background = find_background(examples, KIND, KIND.soft_edge)
    assert background is not None and background.known.mean() > 0.95
    assert np.abs(background.image.astype(int) - scene()).max() <= 1


def test_pixels_that_are_covered_in_all_images_stay_unknown(tmp_path):
    background = find_background(make_examples(tmp_path, [80, 84], [scene()] * 2), KIND, KIND.soft_edge)
    assert background is not None and background.known[60, 82] == 0 and background.known[60, 200] == 1


def test_images_of_different_scenes_give_no_background(tmp_path):
    assert find_background(make_examples(tmp_path, [80, 240], [scene(0), scene(1)]), KIND, KIND.soft_edge) is None


def identity_synthesis(example: Example) -> Synthesis:
    """The output of a network that returns the example unchanged."""
    image = torch.from_numpy(example.sample.required_image.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
    return Synthesis(
        image, image, Warped(image, torch.zeros(1, 2, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE)), torch.zeros(1, 1, SIDE, SIDE)
    )


@pytest.mark.parametrize("known", [True, False])
def test_the_photograph_shows_the_background_behind_the_former_position_of_the_body(examples, known):
    """The network does not remove the body. Only other images show the background behind it."""
    first = examples[0]
    background = find_background(examples, KIND, KIND.soft_edge) if known else None
    assert KIND.cover is not None
    photograph = Photograph(first.clip.frame(0), examples, Placement(SIDE, SIDE, True), KIND.cover, KIND.soft_edge, background)
    moved = first.sample.keypoints.copy()
    moved[:, 0] += 2 * SIDE  # outside the crop
    frame = photograph.frame(identity_synthesis(first), [0], moved, photograph.image)
    trunk = np.s_[40:60, 78:83]
    assert (np.abs(frame[trunk].astype(int) - scene()[trunk]).max() <= 2) == known
    assert (frame[:, 240:] == first.clip.frame(0)[:, 240:]).all(), "pixels outside the crop do not change"

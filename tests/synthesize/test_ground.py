"""What a body uncovers in its photograph is shown where another picture of the scene shows it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from walkers import walking_person

from stages.clip import Producer, create_clip, open_clip
from stages.conditions.framing import Example, examples_of
from stages.conditions.kinds import find
from stages.networks.common.frame import Warped
from stages.networks.common.generator import Synthesis
from stages.synthesize.ground import find_ground
from stages.synthesize.placement import Photograph, Placement

HEIGHT, WIDTH, SIDE = 160, 320, 64
"""Of the pictures, and of the model's images."""
BODY, KIND = 250, find("poses")
"""Grey level of the body."""


def scene(seed: int = 0) -> np.ndarray:
    """A picture without sharp edges and without anybody, uint8 [H, W, 3], darker than the body."""
    noise = cv2.GaussianBlur(np.random.default_rng(seed).random((HEIGHT, WIDTH, 3)).astype(np.float32), (0, 0), 12)
    return np.asarray((noise - noise.min()) / np.ptp(noise) * 180, np.uint8)


def pictures(folder: Path, places: list[float], scenes: list[np.ndarray]) -> list[Example]:
    """Pictures of a body that stands at `places` in `scenes`, as examples."""
    return [
        example for index, shown in enumerate(zip(places, scenes, strict=True)) for example in picture(folder / f"{index}.clip", *shown)
    ]


def picture(path: Path, place: float, ground: np.ndarray) -> list[Example]:
    person, mask = walking_person(1, place), np.zeros((HEIGHT, WIDTH), np.uint8)
    assert KIND.cover is not None
    KIND.cover(np.concatenate([person[0], np.zeros((42, 3), np.float32)]), mask)
    clip = create_clip(path, iter([np.where(mask[..., None] > 0, np.uint8(BODY), ground)]), storage="png")
    with clip.writing("poses", Producer("painted"), {"frames": clip.frames_digest()}) as layer:
        layer.arrays(keypoints=person[:, None], boxes=np.zeros((1, 1, 4), np.float32), track_id=np.zeros((1, 1), np.int32))
    return examples_of(open_clip(path), "poses", (SIDE, SIDE), "subject", 1)


@pytest.fixture
def examples(tmp_path) -> list[Example]:
    """Three pictures of one scene; where the body stands first, the others show the ground."""
    return pictures(tmp_path, [80, 150, 240], [scene()] * 3)


def test_a_scene_without_its_subject_is_put_together_from_several_pictures(examples):
    ground = find_ground(examples, KIND, KIND.soft_edge)
    assert ground is not None and ground.known.mean() > 0.95
    assert np.abs(ground.image.astype(int) - scene()).max() <= 1


def test_what_is_always_covered_stays_unknown(tmp_path):
    ground = find_ground(pictures(tmp_path, [80, 84], [scene()] * 2), KIND, KIND.soft_edge)
    assert ground is not None and ground.known[60, 82] == 0 and ground.known[60, 200] == 1


def test_pictures_of_another_scene_show_nothing_of_this_one(tmp_path):
    assert find_ground(pictures(tmp_path, [80, 240], [scene(0), scene(1)]), KIND, KIND.soft_edge) is None


def still(example: Example) -> Synthesis:
    """What a network makes that leaves everything of an example where it is."""
    image = torch.from_numpy(example.sample.required_image.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1)
    return Synthesis(
        image, image, Warped(image, torch.zeros(1, 2, SIDE, SIDE), torch.zeros(1, 1, SIDE, SIDE)), torch.zeros(1, 1, SIDE, SIDE)
    )


@pytest.mark.parametrize("known", [True, False])
def test_where_the_body_stood_the_photograph_shows_the_ground(examples, known):
    """The network leaves the body where it was, as a bad one does. Only other pictures know better."""
    first = examples[0]
    behind = find_ground(examples, KIND, KIND.soft_edge) if known else None
    assert KIND.cover is not None
    photograph = Photograph(first.clip.frame(0), examples, Placement(SIDE, SIDE, True), KIND.cover, KIND.soft_edge, behind)
    away = first.sample.keypoints.copy()
    away[:, 0] += 2 * SIDE  # out of the crop
    shown = photograph.frame(still(first), [0], away, photograph.image)
    trunk = np.s_[40:60, 78:83]
    assert (np.abs(shown[trunk].astype(int) - scene()[trunk]).max() <= 2) == known
    assert (shown[:, 240:] == first.clip.frame(0)[:, 240:]).all(), "beside the crop nothing changes"

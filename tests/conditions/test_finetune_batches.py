"""Lessons of finetuning: what is mirrored is the person, not the drawing of him."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.clip import Producer, create_clip, open_clip
from stages.conditions.finetune_batches import MAX_SHIFT, finetune_batches, shifted_view
from stages.conditions.framing import Example, examples_of
from stages.conditions.poses import COLOURS, LIMBS, NAMES

MIRROR_IMAGE = shifted_view(64, 64, np.zeros(2), mirrored=True)
RIGHT_ARM, LEFT_ARM = (COLOURS[LIMBS.index(limb)] for limb in ((3, 4), (6, 7)))


@pytest.fixture
def face(make_painted_clip, tmp_path: Path) -> Example:
    return examples_of(open_clip(make_painted_clip(tmp_path / "face.clip", 0)), "landmarks", (64, 64), "none", 1)[0]


@pytest.fixture
def body(tmp_path: Path) -> Example:
    """Somebody who shows nothing but his elbows and wrists: the right ones on the left of the picture, seen from the front."""
    keypoints = np.zeros((1, 1, len(NAMES), 3), np.float32)
    for name, place in {"right elbow": (12, 20), "right wrist": (12, 50), "left elbow": (40, 20), "left wrist": (40, 50)}.items():
        keypoints[0, 0, NAMES.index(name)] = *place, 1
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32] = 200
    clip = create_clip(tmp_path / "body.clip", iter([image]), storage="png")
    with clip.writing("poses", Producer("test"), {}) as layer:
        layer.arrays(keypoints=keypoints, boxes=np.zeros((1, 1, 4), np.float32), track_id=np.zeros((1, 1), np.int32))
    return examples_of(clip, "poses", (64, 64), "none", 1)[0]


def test_a_mirrored_face_is_drawn_as_its_sketch_mirrored(face: Example):
    mirrored = face.through(MIRROR_IMAGE)
    assert np.array_equal(mirrored.sample.required_image, face.sample.required_image[:, ::-1])
    for channel in range(7):
        assert np.abs(mirrored.sample.semantic[channel] - face.sample.semantic[channel, :, ::-1]).mean() < 0.02


def test_in_a_mirrored_body_left_and_right_are_the_persons_again(body: Example):
    mirrored = body.through(MIRROR_IMAGE)
    assert np.array_equal(mirrored.sample.required_image, body.sample.required_image[:, ::-1])
    assert colour(body, 12, 35) == RIGHT_ARM and colour(body, 40, 35) == LEFT_ARM
    assert colour(mirrored, 63 - 12, 35) == LEFT_ARM, "the arm on the right of the mirrored picture is the left one of who is seen there"
    assert colour(mirrored, 63 - 40, 35) == RIGHT_ARM


def colour(example: Example, x: int, y: int) -> tuple[int, ...]:
    return tuple(np.round(example.sample.semantic[:, y, x] * 255).astype(int))


def test_a_shifted_picture_is_mirrored_at_its_border_and_not_rolled(body: Example):
    shifted = body.through(shifted_view(64, 64, np.array([4 / 64, 0]), mirrored=False))
    assert np.array_equal(shifted.sample.required_image[:, 4:], body.sample.required_image[:, :-4])
    assert (shifted.sample.required_image[:, :4] == 200).all(), "rolled, the dark right side would come in here"
    assert colour(shifted, 12 + 4, 35) == RIGHT_ARM


def test_a_target_is_an_example_moved_by_whole_pixels_and_made_from_all_others(make_painted_clip, tmp_path: Path):
    clips = [open_clip(make_painted_clip(tmp_path / f"{person}.clip", person, num_frames=1)) for person in range(3)]
    examples = [example for clip in clips for example in examples_of(clip, "landmarks", (64, 64), "none", 1)]
    walls = torch.stack([both_sides(example)[0][:, 0, 0] for example in examples])
    for batch in itertools.islice(finetune_batches(examples, 2, 0, torch.device("cpu")), 8):
        assert batch.examples.semantic.shape == (2, 2, 7, 64, 64)
        for target, images in zip(batch.targets.required_image, batch.examples.required_image, strict=True):
            shown = [int((walls - image[:, 0, 0]).abs().sum(1).argmin()) for image in (target, *images)]
            assert sorted(shown) == [0, 1, 2]
            assert is_moved(examples[shown[0]], target)


def test_of_many_examples_a_target_is_made_from_a_few(face: Example):
    (batch,) = itertools.islice(finetune_batches([face] * 9, 1, 0, torch.device("cpu")), 1)
    assert batch.examples.required_image.shape[:2] == (1, 3)


def both_sides(example: Example) -> list[torch.Tensor]:
    image = torch.from_numpy(example.sample.required_image).movedim(-1, 0) / 127.5 - 1
    return [image, image.flip(-1)]


def is_moved(example: Example, target: torch.Tensor) -> bool:
    """Whether the target is the example or its mirror image, moved by whole pixels."""
    reach = round(64 * MAX_SHIFT)
    inner, offsets = slice(reach, -reach), list(itertools.product(range(-reach, reach + 1), repeat=2))
    within = target[:, inner, inner]
    return any(torch.equal(image.roll(o, (1, 2))[:, inner, inner], within) for image in both_sides(example) for o in offsets)


def test_the_same_seed_gives_the_same_batches(face: Example):
    one, other, third = (next(finetune_batches([face], 2, seed, torch.device("cpu"))).targets.required_image for seed in (1, 1, 2))
    assert torch.equal(one, other) and not torch.equal(one, third)

"""Batches of finetuning: shifted and mirrored examples, in which left and right of the person stay correct."""

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

MIRRORING_VIEW = shifted_view(64, 64, np.zeros(2), mirrored=True)
RIGHT_ARM, LEFT_ARM = (COLOURS[LIMBS.index(limb)] for limb in ((3, 4), (6, 7)))
"""The colours of the forearms in drawn poses."""


@pytest.fixture
def face(make_painted_clip, tmp_path: Path) -> Example:
    return examples_of(open_clip(make_painted_clip(tmp_path / "face.clip", 0)), "landmarks", (64, 64), "none", 1)[0]


@pytest.fixture
def body(tmp_path: Path) -> Example:
    """A person seen from the front with only elbows and wrists visible; the right arm is on the left of the image."""
    keypoints = np.zeros((1, 1, len(NAMES), 3), np.float32)
    for name, xy in {"right elbow": (12, 20), "right wrist": (12, 50), "left elbow": (40, 20), "left wrist": (40, 50)}.items():
        keypoints[0, 0, NAMES.index(name)] = *xy, 1
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32] = 200
    clip = create_clip(tmp_path / "body.clip", iter([image]), storage="png")
    with clip.writing("poses", Producer("test"), {}) as layer:
        layer.arrays(keypoints=keypoints, boxes=np.zeros((1, 1, 4), np.float32), track_id=np.zeros((1, 1), np.int32))
    return examples_of(clip, "poses", (64, 64), "none", 1)[0]


def test_a_mirrored_face_has_the_mirrored_sketch(face: Example):
    mirrored = face.through(MIRRORING_VIEW)
    assert np.array_equal(mirrored.sample.required_image, face.sample.required_image[:, ::-1])
    for channel in range(7):
        assert np.abs(mirrored.sample.semantic[channel] - face.sample.semantic[channel, :, ::-1]).mean() < 0.02


def test_a_mirrored_body_has_its_left_arm_in_the_colour_of_left_arms(body: Example):
    mirrored = body.through(MIRRORING_VIEW)
    assert np.array_equal(mirrored.sample.required_image, body.sample.required_image[:, ::-1])
    assert pose_colour(body, 12, 35) == RIGHT_ARM and pose_colour(body, 40, 35) == LEFT_ARM
    assert pose_colour(mirrored, 63 - 12, 35) == LEFT_ARM, "the right arm became the left arm of the mirrored person"
    assert pose_colour(mirrored, 63 - 40, 35) == RIGHT_ARM


def pose_colour(example: Example, x: int, y: int) -> tuple[int, ...]:
    return tuple(np.round(example.sample.semantic[:, y, x] * 255).astype(int))


def test_a_shifted_image_is_continued_by_reflection_and_does_not_wrap_around(body: Example):
    shifted = body.through(shifted_view(64, 64, np.array([4 / 64, 0]), mirrored=False))
    assert np.array_equal(shifted.sample.required_image[:, 4:], body.sample.required_image[:, :-4])
    assert (shifted.sample.required_image[:, :4] == 200).all(), "the dark right side does not appear here"
    assert pose_colour(shifted, 12 + 4, 35) == RIGHT_ARM


def test_a_target_is_an_example_shifted_by_whole_pixels_and_the_others_are_its_examples(make_painted_clip, tmp_path: Path):
    clips = [open_clip(make_painted_clip(tmp_path / f"{person}.clip", person, num_frames=1)) for person in range(3)]
    examples = [example for clip in clips for example in examples_of(clip, "landmarks", (64, 64), "none", 1)]
    backgrounds = torch.stack([plain_and_mirrored(example)[0][:, 0, 0] for example in examples])
    for batch in itertools.islice(finetune_batches(examples, 2, 0, torch.device("cpu")), 8):
        assert batch.examples.semantic.shape == (2, 2, 7, 64, 64)
        for target, images in zip(batch.targets.required_image, batch.examples.required_image, strict=True):
            indices = [int((backgrounds - image[:, 0, 0]).abs().sum(1).argmin()) for image in (target, *images)]
            assert sorted(indices) == [0, 1, 2]
            assert is_shifted(examples[indices[0]], target)


def test_a_target_has_at_most_three_of_many_examples(face: Example):
    (batch,) = itertools.islice(finetune_batches([face] * 9, 1, 0, torch.device("cpu")), 1)
    assert batch.examples.required_image.shape[:2] == (1, 3)


def plain_and_mirrored(example: Example) -> list[torch.Tensor]:
    """The image of the example and its mirror image, [3, H, W] in [-1, 1]."""
    image = torch.from_numpy(example.sample.required_image).movedim(-1, 0) / 127.5 - 1
    return [image, image.flip(-1)]


def is_shifted(example: Example, target: torch.Tensor) -> bool:
    """Whether the target is the example or its mirror image, shifted by whole pixels."""
    max_shift = round(64 * MAX_SHIFT)
    inner, shifts = slice(max_shift, -max_shift), list(itertools.product(range(-max_shift, max_shift + 1), repeat=2))
    cropped = target[:, inner, inner]
    return any(
        torch.equal(image.roll(shift, (1, 2))[:, inner, inner], cropped) for image in plain_and_mirrored(example) for shift in shifts
    )


def test_the_same_seed_gives_the_same_batches(face: Example):
    one, other, third = (next(finetune_batches([face], 2, seed, torch.device("cpu"))).targets.required_image for seed in (1, 1, 2))
    assert torch.equal(one, other) and not torch.equal(one, third)

"""Lessons of finetuning: what is mirrored is the person, not the drawing of him."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from stages.clip import Producer, create_clip, open_clip
from stages.conditions.framing import Example, examples_of
from stages.conditions.lessons import LARGEST_SHIFT, lessons, shifted_view
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
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, :32] = 200
    clip = create_clip(tmp_path / "body.clip", iter([picture]), storage="png")
    with clip.writing("poses", Producer("test"), {}) as layer:
        layer.arrays(keypoints=keypoints, boxes=np.zeros((1, 1, 4), np.float32), track_id=np.zeros((1, 1), np.int32))
    return examples_of(clip, "poses", (64, 64), "none", 1)[0]


def test_a_mirrored_face_is_drawn_as_its_sketch_mirrored(face: Example):
    mirrored = face.through(MIRROR_IMAGE)
    assert np.array_equal(mirrored.image, face.image[:, ::-1])
    for channel in range(7):
        assert np.abs(mirrored.semantic[channel] - face.semantic[channel, :, ::-1]).mean() < 0.02


def test_in_a_mirrored_body_left_and_right_are_the_persons_again(body: Example):
    mirrored = body.through(MIRROR_IMAGE)
    assert np.array_equal(mirrored.image, body.image[:, ::-1])
    assert colour(body, 12, 35) == RIGHT_ARM and colour(body, 40, 35) == LEFT_ARM
    assert colour(mirrored, 63 - 12, 35) == LEFT_ARM, "the arm on the right of the mirrored picture is the left one of who is seen there"
    assert colour(mirrored, 63 - 40, 35) == RIGHT_ARM


def colour(example: Example, x: int, y: int) -> tuple[int, ...]:
    return tuple(np.round(example.semantic[:, y, x] * 255).astype(int))


def test_a_shifted_picture_is_mirrored_at_its_border_and_not_rolled(body: Example):
    shifted = body.through(shifted_view(64, 64, np.array([4 / 64, 0]), mirrored=False))
    assert np.array_equal(shifted.image[:, 4:], body.image[:, :-4])
    assert (shifted.image[:, :4] == 200).all(), "rolled, the dark right side would come in here"
    assert colour(shifted, 12 + 4, 35) == RIGHT_ARM


def test_targets_are_shifted_by_whole_pixels_and_made_from_another_example(make_painted_clip, tmp_path: Path):
    examples = examples_of(open_clip(make_painted_clip(tmp_path / "face.clip", 0)), "landmarks", (64, 64), "none", 3)
    known = torch.from_numpy(np.stack([view for e in examples for view in (e.image, e.image[:, ::-1])])).movedim(-1, 1) / 127.5 - 1
    reach = round(64 * LARGEST_SHIFT)
    inner = slice(reach, -reach)
    for lesson in itertools.islice(lessons(examples, 2, 0, torch.device("cpu")), 8):
        for target, images in zip(lesson.targets, lesson.example_images, strict=True):
            offsets = list(itertools.product(range(-reach, reach + 1), repeat=2))
            within = target[:, inner, inner]
            fits = {i for i, k in enumerate(known) if any(torch.equal(k.roll(o, (1, 2))[:, inner, inner], within) for o in offsets)}
            assert len(fits) == 1
            assert not any(torch.equal(image, known[next(iter(fits))]) for image in images)


def test_the_same_seed_gives_the_same_lessons(face: Example):
    one, other, third = (next(lessons([face], 2, seed, torch.device("cpu"))).targets for seed in (1, 1, 2))
    assert torch.equal(one, other) and not torch.equal(one, third)

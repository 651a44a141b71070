"""Instances over time: pieces of label maps that move, hide, split, meet and appear; and numbers that jump."""

from __future__ import annotations

import numpy as np
import pytest

from stages.conditions.identities import REMEMBERED, InstanceTracker, require_stable_numbers
from stages.conditions.labels import VOID
from stages.conditions.regions import keys_of
from stages.errors import InputError

ROAD, CAR = 0, 2
Box = tuple[int, int, int, int]


def street(*cars: Box, label: int = CAR) -> np.ndarray:
    """Cars as (left, top, width, height) before a road, uint8 [60, 100]."""
    labels = np.full((60, 100), ROAD, np.uint8)
    for left, top, width, height in cars:
        labels[top : top + height, left : left + width] = label
    return labels


def followed(*frames: np.ndarray, flows: tuple[np.ndarray | None, ...] = ()) -> list[np.ndarray]:
    follow = InstanceTracker()
    return [follow(frame, flow) for frame, flow in zip(frames, (flows or (None,) * len(frames)), strict=True)]


def at(identities: np.ndarray, x: int, y: int) -> int:
    return int(identities[y, x])


def test_cars_that_pass_each_other_keep_their_numbers_and_their_label():
    first, second = followed(street((10, 10, 20, 10), (40, 10, 20, 10)), street((16, 10, 20, 10), (38, 14, 20, 10)))
    a, b = at(first, 15, 15), at(first, 50, 15)
    assert a != b and {a % 256, b % 256} == {CAR}
    assert (at(second, 20, 15), at(second, 45, 18)) == (a, b) and at(second, 5, 5) == at(first, 5, 5)
    assert len(np.unique(second)) == 3, "a piece has one number"


def test_a_car_that_is_hidden_for_a_moment_is_the_same_afterwards():
    seen, gone = street((10, 10, 20, 10)), street()
    shown = followed(seen, *[gone] * REMEMBERED, seen)
    assert at(shown[-1], 15, 15) == at(shown[0], 15, 15)
    for_long = followed(seen, *[gone] * (REMEMBERED + 1), seen)
    assert at(for_long[-1], 15, 15) != at(for_long[0], 15, 15)


def test_a_piece_that_is_divided_stays_one_instance_and_a_hidden_part_is_known_again():
    whole = street((10, 10, 60, 10))
    divided = whole.copy()
    divided[:, 55:58] = 1  # a pole before it
    first, second, third = followed(whole, divided, whole)
    assert at(second, 20, 15) == at(second, 65, 15) == at(first, 20, 15) == at(third, 60, 15)


def test_cars_that_meet_are_told_apart_again():
    apart, together = street((10, 10, 20, 10), (40, 10, 30, 10)), street((14, 10, 20, 10), (34, 10, 30, 10))
    frames = followed(apart, together, apart)
    assert at(frames[1], 15, 15) == at(frames[1], 60, 15), "one piece"
    assert at(frames[2], 15, 15) == at(frames[0], 15, 15) != at(frames[2], 60, 15) == at(frames[0], 60, 15)


def test_a_label_that_changes_is_another_instance():
    first, second = followed(street((10, 10, 20, 10)), street((10, 10, 20, 10), label=1))
    assert at(second, 15, 15) % 256 == 1 and at(second, 15, 15) // 256 != at(first, 15, 15) // 256


def test_a_fast_car_is_followed_by_its_flow():
    frames = street((5, 10, 20, 10), (60, 40, 20, 10)), street((45, 10, 20, 10), (60, 40, 20, 10))
    flow = np.zeros((60, 100, 2), np.float32)
    flow[10:20, 5:25, 0] = 40.2
    alone, moved = followed(*frames), followed(*frames, flows=(None, flow))
    assert at(alone[1], 50, 15) != at(alone[0], 10, 15)
    assert at(moved[1], 50, 15) == at(moved[0], 10, 15) and at(moved[1], 65, 45) == at(moved[0], 65, 45)


def test_specks_belong_to_the_largest_piece_of_their_label_and_void_to_none():
    (frame,) = followed(street((10, 10, 20, 10), (50, 30, 1, 2), (70, 30, 6, 6)))
    assert at(frame, 50, 30) == at(frame, 15, 15) != at(frame, 72, 32)
    (empty,) = followed(np.full((60, 100), VOID, np.uint8))
    assert np.unique(empty).tolist() == [VOID]


# numbers of the clip


def numbered(*cars: tuple[int, Box]) -> np.ndarray:
    labels, numbers = street(*(box for _, box in cars)), np.zeros((60, 100), np.uint8)
    for number, (left, top, width, height) in cars:
        numbers[top : top + height, left : left + width] = number
    return keys_of(labels, numbers)


THINGS = np.arange(256) > 0
LEFT, RIGHT = (10, 10, 20, 10), (60, 10, 20, 10)


@pytest.mark.parametrize(
    "after",
    [numbered((2, LEFT), (1, RIGHT)), numbered((5, (12, 10, 20, 10)), (2, RIGHT)), numbered((2, (12, 10, 20, 10)))],
    ids=["exchanged", "renamed", "taken over"],
)
def test_numbers_that_jump_are_refused(after):
    with pytest.raises(InputError, match=r"jump: instance \d of frame 3 is instance \d in frame 4"):
        require_stable_numbers(numbered((1, LEFT), (2, RIGHT)), after, THINGS, 4)


@pytest.mark.parametrize(
    "after",
    [
        numbered((1, (14, 10, 20, 10)), (2, (55, 10, 20, 10))),
        numbered((2, RIGHT)),
        numbered((1, (30, 10, 20, 10)), (2, (80, 10, 20, 10))),
        numbered((1, (24, 10, 20, 10)), (2, (32, 10, 20, 10))),
        numbered((1, LEFT), (2, RIGHT), (3, (40, 40, 20, 10))),
    ],
    ids=["driving", "one leaves", "fast", "close", "one comes"],
)
def test_instances_that_move_come_and_go_do_not_jump(after):
    require_stable_numbers(numbered((1, LEFT), (2, RIGHT)), after, THINGS, 1)


def test_only_things_can_jump():
    ids_of_labels = np.zeros(256, bool)
    require_stable_numbers(numbered((1, LEFT), (2, RIGHT)), numbered((2, LEFT), (1, RIGHT)), ids_of_labels, 1)

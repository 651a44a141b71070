"""Identities over time: pieces of label maps that move, are hidden, split, meet and appear; and instance ids that jump."""

from __future__ import annotations

import numpy as np
import pytest

from stages.conditions.identities import MAX_HIDDEN_FRAMES, InstanceTracker, require_stable_numbers
from stages.conditions.labels import VOID
from stages.conditions.regions import keys_of
from stages.errors import InputError

ROAD, CAR = 0, 2
Box = tuple[int, int, int, int]


def street(*cars: Box, label: int = CAR) -> np.ndarray:
    """A label map with cars (left, top, width, height) on a road, uint8 [60, 100]."""
    labels = np.full((60, 100), ROAD, np.uint8)
    for left, top, width, height in cars:
        labels[top : top + height, left : left + width] = label
    return labels


def follow(*frames: np.ndarray, flows: tuple[np.ndarray | None, ...] = ()) -> list[np.ndarray]:
    """The identities of each frame, [60, 100]. flows: from the previous frame to each frame."""
    follower = InstanceTracker()
    return [follower(frame, flow) for frame, flow in zip(frames, (flows or (None,) * len(frames)), strict=True)]


def identity_at(identities: np.ndarray, x: int, y: int) -> int:
    return int(identities[y, x])


def test_moving_cars_keep_their_identities_and_their_label():
    first, second = follow(street((10, 10, 20, 10), (40, 10, 20, 10)), street((16, 10, 20, 10), (38, 14, 20, 10)))
    a, b = identity_at(first, 15, 15), identity_at(first, 50, 15)
    assert a != b and {a % 256, b % 256} == {CAR}
    assert (identity_at(second, 20, 15), identity_at(second, 45, 18)) == (a, b) and identity_at(second, 5, 5) == identity_at(first, 5, 5)
    assert len(np.unique(second)) == 3, "a piece has one identity"


def test_a_car_that_was_hidden_for_some_frames_keeps_its_identity():
    visible, hidden = street((10, 10, 20, 10)), street()
    frames = follow(visible, *[hidden] * MAX_HIDDEN_FRAMES, visible)
    assert identity_at(frames[-1], 15, 15) == identity_at(frames[0], 15, 15)
    frames = follow(visible, *[hidden] * (MAX_HIDDEN_FRAMES + 1), visible)
    assert identity_at(frames[-1], 15, 15) != identity_at(frames[0], 15, 15)


def test_both_parts_of_a_split_piece_keep_its_identity():
    whole = street((10, 10, 60, 10))
    split = whole.copy()
    split[:, 55:58] = 1  # a pole in front of it
    first, second, third = follow(whole, split, whole)
    assert identity_at(second, 20, 15) == identity_at(second, 65, 15) == identity_at(first, 20, 15) == identity_at(third, 60, 15)


def test_cars_that_met_get_their_identities_back():
    apart, together = street((10, 10, 20, 10), (40, 10, 30, 10)), street((14, 10, 20, 10), (34, 10, 30, 10))
    frames = follow(apart, together, apart)
    assert identity_at(frames[1], 15, 15) == identity_at(frames[1], 60, 15), "one connected piece"
    assert (
        identity_at(frames[2], 15, 15) == identity_at(frames[0], 15, 15) != identity_at(frames[2], 60, 15) == identity_at(frames[0], 60, 15)
    )


def test_a_piece_with_another_label_is_another_instance():
    first, second = follow(street((10, 10, 20, 10)), street((10, 10, 20, 10), label=1))
    assert identity_at(second, 15, 15) % 256 == 1 and identity_at(second, 15, 15) // 256 != identity_at(first, 15, 15) // 256


def test_a_fast_car_is_followed_by_its_flow():
    frames = street((5, 10, 20, 10), (60, 40, 20, 10)), street((45, 10, 20, 10), (60, 40, 20, 10))
    flow = np.zeros((60, 100, 2), np.float32)
    flow[10:20, 5:25, 0] = 40.2
    without, with_flow = follow(*frames), follow(*frames, flows=(None, flow))
    assert identity_at(without[1], 50, 15) != identity_at(without[0], 10, 15)
    for x, y, x_before in ((50, 15, 10), (65, 45, 65)):
        assert identity_at(with_flow[1], x, y) == identity_at(with_flow[0], x_before, y)


def test_specks_belong_to_the_largest_piece_of_their_label_and_void_to_none():
    (identities,) = follow(street((10, 10, 20, 10), (50, 30, 1, 2), (70, 30, 6, 6)))
    assert identity_at(identities, 50, 30) == identity_at(identities, 15, 15) != identity_at(identities, 72, 32)
    (empty,) = follow(np.full((60, 100), VOID, np.uint8))
    assert np.unique(empty).tolist() == [VOID]


# Instance ids of a clip


def keys_of_cars(*cars: tuple[int, Box]) -> np.ndarray:
    """Keys of label and instance id, [60, 100], of cars (instance id, box)."""
    labels, instances = street(*(box for _, box in cars)), np.zeros((60, 100), np.uint8)
    for instance, (left, top, width, height) in cars:
        instances[top : top + height, left : left + width] = instance
    return keys_of(labels, instances)


IS_INSTANCE = np.arange(256) > 0
"""Which ids of the layer `instances` are instances."""
LEFT, RIGHT = (10, 10, 20, 10), (60, 10, 20, 10)


@pytest.mark.parametrize(
    "after",
    [keys_of_cars((2, LEFT), (1, RIGHT)), keys_of_cars((5, (12, 10, 20, 10)), (2, RIGHT)), keys_of_cars((2, (12, 10, 20, 10)))],
    ids=["exchanged", "renamed", "taken over"],
)
def test_instance_ids_that_jump_are_refused(after):
    with pytest.raises(InputError, match=r"jump: instance \d of frame 3 is instance \d in frame 4"):
        require_stable_numbers(keys_of_cars((1, LEFT), (2, RIGHT)), after, IS_INSTANCE, 4)


@pytest.mark.parametrize(
    "after",
    [
        keys_of_cars((1, (14, 10, 20, 10)), (2, (55, 10, 20, 10))),
        keys_of_cars((2, RIGHT)),
        keys_of_cars((1, (30, 10, 20, 10)), (2, (80, 10, 20, 10))),
        keys_of_cars((1, (24, 10, 20, 10)), (2, (32, 10, 20, 10))),
        keys_of_cars((1, LEFT), (2, RIGHT), (3, (40, 40, 20, 10))),
    ],
    ids=["driving", "one leaves", "fast", "close", "one comes"],
)
def test_instances_that_move_come_and_go_do_not_jump(after):
    require_stable_numbers(keys_of_cars((1, LEFT), (2, RIGHT)), after, IS_INSTANCE, 1)


@pytest.mark.parametrize("step", [(6, 0), (-6, 1)])
def test_walkers_in_a_row_who_each_step_to_the_place_of_the_next_do_not_jump(step):
    row = [(number, (40 + 6 * number, 20, 6, 18)) for number in (1, 2, 3)]
    moved = [(number, (left + step[0], top + step[1], width, height)) for number, (left, top, width, height) in row]
    require_stable_numbers(keys_of_cars(*row), keys_of_cars(*moved), IS_INSTANCE, 1)


def test_the_next_of_a_row_may_take_the_place_of_a_car_that_leaves_the_image():
    before = keys_of_cars((1, (0, 20, 12, 10)), (2, (13, 20, 12, 10)), (3, (26, 20, 12, 10)))
    after = keys_of_cars((2, (0, 20, 12, 10)), (3, (13, 20, 12, 10)))
    require_stable_numbers(before, after, IS_INSTANCE, 1)
    far_jump = keys_of_cars((3, (0, 20, 12, 10)), (2, (13, 20, 12, 10)))
    with pytest.raises(InputError, match="instance 1 of frame 0 is instance 3"):
        require_stable_numbers(before, far_jump, IS_INSTANCE, 1)


def test_ids_that_are_labels_are_not_checked():
    no_instances = np.zeros(256, bool)
    require_stable_numbers(keys_of_cars((1, LEFT), (2, RIGHT)), keys_of_cars((2, LEFT), (1, RIGHT)), no_instances, 1)

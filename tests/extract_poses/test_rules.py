"""The rules of --drop, which exclude people from a data set."""

from __future__ import annotations

import numpy as np
import pytest

from stages.conditions.poses import NAMES
from stages.extract_poses import rules
from stages.tracking.tracker import box_of_points


def person(x: float = 200, top: float = 20, height: float = 200) -> np.ndarray:
    """Keypoints [25, 3] of five visible points, from the nose at (x, top) to an ankle `height` pixels below."""
    body = np.zeros((25, 3), np.float32)
    for name, (right, down) in {
        "nose": (0, 0),
        "neck": (0, 0.15),
        "right wrist": (-0.2, 0.4),
        "mid hip": (0, 0.5),
        "left ankle": (0.1, 1),
    }.items():
        body[NAMES.index(name)] = x + right * height, top + down * height, 1
    return body


def apply_rules(bodies: np.ndarray, *names: str, others: list[list[np.ndarray]] | None = None) -> tuple[list[bool], dict[str, int]]:
    """(whether the person is dropped in each frame, number of dropped frames per rule). others: further people in each frame."""
    people = [[body, *more] for body, more in zip(bodies, others or [[]] * len(bodies), strict=True)]
    boxes = [np.stack([box_of_points(body[body[:, 2] > 0]) for body in in_frame]) for in_frame in people]
    dropped, counts = rules.apply(names, rules.ClipPoses(bodies[:, None], boxes, 10.0, 400))
    return dropped[:, 0].tolist(), counts


def test_a_person_of_less_than_a_quarter_of_the_image_is_small() -> None:
    bodies = np.stack([person(height=99), person(height=101)])
    assert apply_rules(bodies, "small") == ([True, False], {"small": 1})


def test_a_person_without_head_or_feet_is_truncated() -> None:
    whole, headless, footless = person(), person(), person()
    headless[NAMES.index("nose")] = 0
    footless[NAMES.index("left ankle")] = 0
    assert apply_rules(np.stack([whole, headless, footless]), "truncated") == ([False, True, True], {"truncated": 2})


def test_people_whose_boxes_share_a_part_of_the_width_overlap() -> None:
    bodies = np.stack([person(), person(), person()])
    others = [[], [person(x=230)], [person(x=300)]]
    assert apply_rules(bodies, "overlapping", others=others) == ([False, True, False], {"overlapping": 1})


def test_a_person_who_does_not_move_for_half_a_second_is_static() -> None:
    bodies = np.stack([person()] * 8 + [person(x=200 + 10 * t) for t in range(1, 8)])
    frames, counts = apply_rules(bodies, "static")
    assert frames == [True] * 8 + [False] * 7 and counts == {"static": 8}


def test_each_rule_counts_its_own_frames() -> None:
    bodies = np.stack([person(height=80)])
    bodies[0, NAMES.index("nose")] = 0
    assert apply_rules(bodies, "small", "truncated") == ([True], {"small": 1, "truncated": 1})


def test_frames_without_a_person_are_not_counted() -> None:
    bodies = np.zeros((1, 25, 3), np.float32)
    assert apply_rules(bodies, *rules.RULES) == ([False], dict.fromkeys(rules.RULES, 0))


@pytest.mark.parametrize("name", rules.RULES)
def test_every_rule_can_be_applied(name: str) -> None:
    assert apply_rules(np.stack([person()] * 2), name)[1].keys() == {name}


def test_a_person_who_is_detected_twice_does_not_overlap() -> None:
    assert apply_rules(np.stack([person()]), "overlapping", others=[[person(x=203)]]) == ([False], {"overlapping": 0})


def test_a_person_without_a_box_overlaps_with_other_people() -> None:
    """Frames in which a short gap was filled have no detected box."""
    body, other = person(), person(x=240)
    box = box_of_points(other[other[:, 2] > 0])[None]
    dropped, _ = rules.apply(["overlapping"], rules.ClipPoses(body[None, None], [box], 10.0, 400))
    assert dropped.all()

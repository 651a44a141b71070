"""Whom --drop takes out of a data set."""

from __future__ import annotations

import numpy as np
import pytest

from stages.conditions.poses import NAMES
from stages.extract_poses import rules
from stages.tracking.tracker import box_of_points


def person(x: float = 200, top: float = 20, height: float = 200) -> np.ndarray:
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


def dropped(bodies: np.ndarray, *names: str, others: list[list[np.ndarray]] | None = None) -> tuple[list[bool], dict[str, int]]:
    """For each frame whether the one person is taken out, and the counts."""
    everybody = [[body, *more] for body, more in zip(bodies, others or [[]] * len(bodies), strict=True)]
    boxes = [np.stack([box_of_points(one[one[:, 2] > 0]) for one in people]) for people in everybody]
    out, counts = rules.apply(names, rules.ClipPoses(bodies[:, None], boxes, 10.0, 400))
    return out[:, 0].tolist(), counts


def test_small_is_less_than_a_quarter_of_the_picture() -> None:
    bodies = np.stack([person(height=99), person(height=101)])
    assert dropped(bodies, "small") == ([True, False], {"small": 1})


def test_truncated_lacks_head_or_feet() -> None:
    whole, headless, footless = person(), person(), person()
    headless[NAMES.index("nose")] = 0
    footless[NAMES.index("left ankle")] = 0
    assert dropped(np.stack([whole, headless, footless]), "truncated") == ([False, True, True], {"truncated": 2})


def test_overlapping_shares_a_part_of_his_width() -> None:
    bodies = np.stack([person(), person(), person()])
    others = [[], [person(x=230)], [person(x=300)]]
    assert dropped(bodies, "overlapping", others=others) == ([False, True, False], {"overlapping": 1})


def test_static_stands_still_for_half_a_second() -> None:
    bodies = np.stack([person()] * 8 + [person(x=200 + 10 * t) for t in range(1, 8)])
    found, counts = dropped(bodies, "static")
    assert found == [True] * 8 + [False] * 7 and counts == {"static": 8}


def test_several_rules_count_each_for_itself() -> None:
    bodies = np.stack([person(height=80)])
    bodies[0, NAMES.index("nose")] = 0
    assert dropped(bodies, "small", "truncated") == ([True], {"small": 1, "truncated": 1})


def test_frames_without_anybody_are_nobodys_fault() -> None:
    bodies = np.zeros((1, 25, 3), np.float32)
    assert dropped(bodies, *rules.RULES) == ([False], dict.fromkeys(rules.RULES, 0))


@pytest.mark.parametrize("name", rules.RULES)
def test_every_rule_of_the_command_is_known(name: str) -> None:
    assert dropped(np.stack([person()] * 2), name)[1].keys() == {name}


def test_who_is_detected_twice_does_not_overlap_with_himself() -> None:
    assert dropped(np.stack([person()]), "overlapping", others=[[person(x=203)]]) == ([False], {"overlapping": 0})


def test_whose_own_box_is_missing_overlaps_with_the_other_one() -> None:
    """As in a frame in which a short gap was filled."""
    body, other = person(), person(x=240)
    box = box_of_points(other[other[:, 2] > 0])[None]
    out, _ = rules.apply(["overlapping"], rules.ClipPoses(body[None, None], [box], 10.0, 400))
    assert out.all()

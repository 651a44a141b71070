"""Whom a clip is about: chosen once, then followed through gaps but not over cuts."""

from __future__ import annotations

import numpy as np
import pytest

from stages.errors import UsageProblem
from stages.following import Seen, Subject, follow, parse_choice


def someone(x: float, size: float = 40.0, y: float = 100.0) -> Subject:
    """A square subject with one point at its centre."""
    box = np.array([x - size / 2, y - size / 2, x + size / 2, y + size / 2], np.float32)
    return Subject(box, np.array([[x, y, 1]], np.float32))


def followed(frames: list[list[Subject]], choice: str | int, cuts: tuple[int, ...] = (), fps: float = 4) -> list[list[float | None]]:
    """Per frame and slot the x of who is there."""
    seen = (Seen(subjects, index in cuts, None) for index, subjects in enumerate(frames))
    tracks = follow(seen, choice, 1, fps, 400, 200)
    return [[float(x) if there else None for x, there in zip(t.points[:, 0, 0], t.points[:, 0, 2], strict=True)] for t in tracks]


def test_the_largest_is_kept_when_another_grows_larger_later() -> None:
    frames = [[someone(50, 60), someone(300, 40)]] * 4 + [[someone(50, 60), someone(300, 90)]] * 3
    assert followed(frames, "largest") == [[50]] * 7


def test_a_false_alarm_in_the_first_frame_is_not_followed() -> None:
    frames = [[someone(300, 30)]] + [[someone(50, 60)]] * 5
    assert followed(frames, "largest") == [[None]] + [[50]] * 5


def test_a_short_gap_is_waited_out_although_another_is_there() -> None:
    both, other = [someone(50, 60), someone(300, 40)], [someone(300, 40)]
    assert followed([both, both, other, other, both], "largest") == [[50], [50], [None], [None], [50]]


def test_after_a_second_or_a_cut_somebody_else_is_chosen() -> None:
    both, other = [someone(50, 60), someone(300, 40)], [someone(300, 40)]
    assert followed([both] + [other] * 6, "largest", fps=4)[-1] == [300]
    assert followed([both, other], "largest", cuts=(1,)) == [[50], [300]]


def test_center_and_numbers() -> None:
    frames = [[someone(350, 80), someone(190, 30), someone(60, 50)]] * 2
    assert followed(frames, "center") == [[190]] * 2
    assert followed(frames, 0) == [[60]] * 2
    assert followed(frames, "2") == [[350]] * 2
    assert followed(frames, 3) == [[None]] * 2


def test_all_keep_their_slots_while_they_move_and_while_one_is_missing() -> None:
    frames = [[someone(50 + 5 * t), someone(300 - 5 * t)] for t in range(3)] + [[someone(280)]] + [[someone(70), someone(275)]]
    assert followed(frames, "all") == [[50, 300], [55, 295], [60, 290], [None, 280], [70, 275]]


def test_the_same_face_found_twice_counts_once() -> None:
    assert followed([[someone(50, 60), someone(52, 58)]], "all") == [[50]]


def test_a_choice_of_nobody() -> None:
    assert parse_choice("3") == 3
    for wrong in ("tallest", "-1", -1):
        with pytest.raises(UsageProblem, match="chooses nobody"):
            parse_choice(wrong)

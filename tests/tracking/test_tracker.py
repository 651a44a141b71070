"""Whom a clip is about: chosen once, then followed through gaps but not over cuts."""

from __future__ import annotations

import numpy as np
import pytest

from stages.errors import UsageError
from stages.tracking.tracker import Detections, Subject, follow, parse_choice


def someone(x: float, size: float = 40.0, y: float = 100.0) -> Subject:
    """A square subject with one point at its centre."""
    box = np.array([x - size / 2, y - size / 2, x + size / 2, y + size / 2], np.float32)
    return Subject(box, np.array([[x, y, 1]], np.float32))


def followed(frames: list[list[Subject]], choice: str | int, cuts: tuple[int, ...] = (), fps: float = 4) -> list[list[float | None]]:
    """Per frame and slot the x of who is there."""
    seen = (Detections(subjects, index in cuts, None) for index, subjects in enumerate(frames))
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
        with pytest.raises(UsageError, match="not a choice of subjects"):
            parse_choice(wrong)


def walker(x: float, y: float = 100.0, height: float = 80.0, phase: float = 0.0) -> Subject:
    """A person of five points whose legs swing."""
    swing = 0.2 * height * np.sin(phase)
    points = np.array([(0, -0.5), (0, 0), (0.2, -0.1), (swing / height, 0.5), (-swing / height, 0.5)], np.float32) * height
    points = np.concatenate([points + (x, y), np.ones((5, 1))], axis=1).astype(np.float32)
    return Subject(np.array([x - 20, y - height / 2, x + 20, y + height / 2], np.float32), points)


def paths(frames: list[list[Subject]]) -> list[set[float]]:
    """For each slot the heights on the picture at which it was: one if it has kept to one person."""
    seen = (Detections(subjects, False, None) for subjects in frames)
    heights: dict[int, set[float]] = {}
    for track in follow(seen, "all", 5, 25, 1000, 400):
        for slot, (points, identity) in enumerate(zip(track.points, track.identity, strict=True)):
            if identity >= 0:
                heights.setdefault(slot, set()).add(round(float(points[1, 1])))
    return list(heights.values())


def test_two_who_cross_keep_their_identities() -> None:
    frames = [[walker(100 + 8 * t, 100, phase=t / 2), walker(500 - 8 * t, 112, phase=t / 3)] for t in range(50)]
    assert paths(frames) == [{100}, {112}]


def test_two_who_cross_keep_their_identities_though_one_hides_the_other_meanwhile() -> None:
    frames = [[walker(100 + 8 * t, 100, phase=t / 2), walker(500 - 8 * t, 112, phase=t / 3)] for t in range(50)]
    for t in range(20, 31):
        del frames[t][1]
    assert paths(frames) == [{100}, {112}]


def test_ten_who_cross() -> None:
    random = np.random.default_rng(1)
    starts, speeds = random.uniform(50, 900, 10), random.choice([-6.0, -4.0, 4.0, 6.0], 10)
    walks = list(enumerate(zip(starts, speeds, strict=True)))
    frames = [[walker(start + speed * t, 80 + 14 * who, phase=t / 3 + who) for who, (start, speed) in walks] for t in range(40)]
    for subjects in frames:
        random.shuffle(subjects)
    assert sorted(map(sorted, paths(frames))) == [[80 + 14 * who] for who in range(10)]


def test_two_whose_boxes_lie_over_one_another_are_two() -> None:
    assert len(paths([[walker(100), walker(112, phase=1.5)]])) == 2
